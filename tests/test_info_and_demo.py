"""`magicanimate info` and `magicanimate demo`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magicanimate import __version__
from magicanimate.cli import info
from magicanimate.cli.main import app
from magicanimate.media import open_clip

RUNNER = CliRunner()
WITHOUT_POSIX = """
import builtins
import sys

usual = builtins.__import__

def without_posix(name, globals=None, *others, **named):
    ours = globals is not None and globals.get("__name__", "").startswith("magicanimate")
    if ours and name in ("fcntl", "resource", "pwd", "grp", "termios"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return usual(name, globals, *others, **named)

builtins.__import__ = without_posix
from magicanimate.cli.main import main
main()
"""


def test_info_for_people_and_programs():
    shown = RUNNER.invoke(app, ["info"])
    assert shown.exit_code == 0, shown.output
    assert f"magicanimate: {__version__}" in shown.stdout
    facts = json.loads(RUNNER.invoke(app, ["info", "--json"]).stdout)
    assert facts["packages"]["numpy"].count(".") >= 1
    assert "float32" in facts["devices"]["cpu"]
    assert "tiny" in facts["models"]
    assert all(said == "installed" or said.startswith("without ") for said in facts["extras"].values())


def test_extras_come_from_the_metadata(monkeypatch):
    lines = ["numpy>=1", 'gradio<7,>=6; extra == "serve"', "fastapi; extra == 'serve'", 'ray; extra == "scale"']
    monkeypatch.setattr(info, "requires", lambda name: lines)
    assert info.extras() == {"serve": ["gradio", "fastapi"], "scale": ["ray"]}


def test_what_is_absent_is_named(monkeypatch):
    monkeypatch.setattr(info, "requires", lambda name: ['no-such-package; extra == "dreams"', 'numpy; extra == "sums"'])
    assert info.installation()["extras"] == {"dreams": "without no-such-package", "sums": "installed"}


def test_the_users_name_is_not_shown():
    assert info.without_home(Path.home() / ".cache" / "m") == str(Path("~/.cache/m"))
    assert info.without_home(Path("/srv/models")) == str(Path("/srv/models"))


@pytest.mark.slow
def test_demo_runs_without_what_windows_lacks(tmp_path):
    video = tmp_path / "outputs" / "demo.mp4"
    video.parent.mkdir()
    video.write_bytes(b"of another run")
    command = [sys.executable, "-c", WITHOUT_POSIX, "demo"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == f"The video is at {video.resolve()}"
    assert len(list(open_clip(video))) > 10


def test_demo_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    refused = RUNNER.invoke(app, ["demo", "--out", str(tmp_path / "file" / "demo.mp4")])
    assert refused.exit_code == 2
    assert "cannot be made" in refused.stderr
