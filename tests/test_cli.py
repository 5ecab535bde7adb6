"""The command line: what it writes, says and returns when all is well."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import children
from magicanimate import __version__
from magicanimate.animation import settings, shown
from magicanimate.cli.main import app
from magicanimate.media import open_clip

RUNNER = CliRunner()


def animate(*options: object):
    return RUNNER.invoke(app, ["animate", *map(str, options)])


@pytest.fixture
def inputs(picture_path, motion_path, model_folder) -> list[object]:
    return ["--image", picture_path, "--motion", motion_path, "--model", model_folder, "--device", "cpu"]


def test_a_video_and_its_settings(inputs, tmp_path):
    result = animate(*inputs, "-o", tmp_path / "out.mp4", "--seed", 3, "--steps", 1, "--size", "48x64")
    assert result.exit_code == 0, result.stderr
    clip = open_clip(tmp_path / "out.mp4")
    assert (len(list(clip)), clip.fps, clip.size) == (12, 25, (64, 48))
    about = json.loads((tmp_path / "out.mp4.json").read_text())
    assert about["settings"]["seed"] == 3
    assert about["settings"]["steps"] == 1
    assert about["model"]["name"] == "random-parts"
    assert about["size"] == [64, 48]
    assert about["motion_report"]["people"] == 1
    assert "Wrote" in result.stderr
    assert "peak memory" in result.stderr


def test_compare_shows_picture_motion_and_result(inputs, tmp_path):
    result = animate(*inputs, "-o", tmp_path / "frames", "--steps", 1, "--max-frames", 2, "--compare")
    assert result.exit_code == 0, result.stderr
    frames = list(open_clip(tmp_path / "frames"))
    assert len(frames) == 2
    assert frames[0].shape == (64, 3 * 64 + 8, 3)
    assert (frames[0][2, 70] == (68, 1, 84)).all()
    assert np.array_equal(frames[0][:, :64], frames[1][:, :64])


def test_a_dry_run_writes_nothing(inputs, tmp_path):
    result = animate(*inputs, "-o", tmp_path / "out.mp4", "--dry-run")
    assert result.exit_code == 0
    assert "12 frames of 64x64 at 25 fps" in result.stderr
    assert "Nothing was written" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_overwrite(inputs, tmp_path):
    (tmp_path / "out.gif").write_text("old")
    options = [*inputs, "-o", tmp_path / "out.gif", "--steps", 1, "--max-frames", 1]
    assert animate(*options).exit_code == 2
    assert (tmp_path / "out.gif").read_text() == "old"
    assert animate(*options, "--overwrite").exit_code == 0
    assert len(list(open_clip(tmp_path / "out.gif"))) == 1


def test_the_default_output_is_named_after_the_inputs(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert animate(*inputs, "--steps", 1, "--max-frames", 1).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"person_walk.mp4", "person_walk.mp4.json"}


def test_every_option_reaches_the_settings(inputs, tmp_path):
    result = animate(
        *inputs, "-o", tmp_path / "o.webm", "--preset", "fast", "--steps", 2, "--guidance", 1.5, "--seed", 9,
        "--size", "64x48", "--fps", 12.5, "--max-frames", 3, "--align", "none", "--loop", "--scheduler", "dpm++",
        "--fusion", "triangular", "--noise", "independent", "--window", 6, "--overlap", 2, "--fit", "contain",
        "--dtype", "float32",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    about = json.loads((tmp_path / "o.webm.json").read_text())
    expected = {
        "preset": "fast", "steps": 2, "guidance": 1.5, "seed": 9, "size": [48, 64], "fps": 12.5, "max_frames": 3,
        "align": "none", "loop": True, "scheduler": "dpm++", "fusion": "triangular", "noise": "independent",
        "window": 6, "overlap": 2, "fit": "contain",
    }  # fmt: skip
    assert {name: about["settings"][name] for name in expected} == expected


@pytest.mark.parametrize("arguments", [["--help"], ["animate", "--help"]])
def test_help_names_every_command_and_loads_nothing_heavy(arguments):
    command = [sys.executable, "-X", "importtime", "-m", "magicanimate", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    for word in ("animate", "models", "synth", "train") if len(arguments) == 1 else ("--image", "--motion", "--preset"):
        assert word in result.stdout
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not loaded & {"torch", "diffusers", "transformers", "scipy", "av", "numba", "ai_edge_litert"}
    assert "typer" in loaded  # negative control: what is loaded is seen


def test_version():
    assert RUNNER.invoke(app, ["--version"]).stdout.strip() == f"magicanimate {__version__}"


def test_an_interrupt_ends_with_3_and_leaves_nothing(inputs, tmp_path):
    log, folder = tmp_path / "printed.txt", tmp_path / "results"
    folder.mkdir()
    process = children.start(["animate", *map(str, inputs), "--steps", "900", "-o", str(folder / "out.mp4")], log)
    while not log.exists() or "Denoising" not in log.read_text():
        assert process.is_alive(), log.read_text()
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    try:
        assert children.codes([process], 120) == [3], log.read_text()
    finally:
        process.kill()
    assert "Interrupted" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert list(folder.iterdir()) == []


@pytest.mark.real
def test_real_inputs(real_inputs, model_folder, tmp_path):
    result = animate(
        "--image", real_inputs / "source_image" / "demo4.png", "--motion", real_inputs / "densepose" / "demo4.mp4",
        "--model", model_folder, "--max-frames", 10, "--steps", 1, "-o", tmp_path / "out.mp4", "--compare",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "Warning" not in result.stderr
    assert len(list(open_clip(tmp_path / "out.mp4"))) == 10


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
TAKES_MEMORY = """
import sys
from magicanimate.cli.main import main
sys.argv = ["magicanimate", "--version"]
try:
    main()
except SystemExit:
    pass
import torch
held = torch.ones(2**25)
print([line for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages")][0].split()[1])
"""


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text(), reason="nobody can ask for huge pages here"
)
def test_huge_pages_are_asked_for_unless_they_are_not_wanted():
    held = {}
    for wanted in ("", "0"):
        environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
        environment |= {"THP_MEM_ALLOC_ENABLE": wanted} if wanted else {}
        made = subprocess.run(
            [sys.executable, "-c", TAKES_MEMORY], env=environment, capture_output=True, text=True, check=True
        )
        held[wanted] = int(made.stdout.splitlines()[-1])  # KB
    assert held[""] > held["0"] + 32 * 1024  # of 128 MB: how many there are depends on the rest of the machine


def test_picture_and_motion_by_place(picture_path, motion_path, model_folder, tmp_path):
    options = ["--model", model_folder, "--device", "cpu", "--dry-run", "-o", tmp_path / "out.mp4"]
    result = animate(picture_path, motion_path, *options)
    assert result.exit_code == 0, result.stderr
    twice = animate(picture_path, motion_path, "--motion", motion_path, *options)
    assert (twice.exit_code, "given twice" in twice.stderr) == (2, True)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--scheduler", "wrong", "scheduler: "),
        ("--steps", "1001", "steps"),
        ("--cache-layers", "50", "Cached steps compute"),
        ("--guidance-interval", "0.9-0.1", "must rise"),
    ],
)
def test_a_dry_run_refuses_what_a_run_refuses(inputs, tmp_path, option, value, sentence):
    """All of these are found before anything is computed."""
    extra = ["--cache", 2] if option == "--cache-layers" else []
    dry, real = (
        animate(*inputs, "-o", tmp_path / "out.mp4", option, value, *extra, *more) for more in (["--dry-run"], [])
    )
    assert dry.exit_code == real.exit_code == 2
    assert sentence in dry.stderr
    assert dry.stderr.splitlines()[-1] == real.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", ["animate", "check", "motion", "batch", "synth", "evaluate", "serve", "models", "train"]
)
def test_help_shows_every_option_with_its_default_and_no_type_of_flags(command):
    text = RUNNER.invoke(app, [command, "-h"], env={"COLUMNS": "200"}).stdout
    assert "<bool>" not in text
    if command == "animate":
        for name, about, note in shown.shown(settings.AnimateSettings):
            assert f"--{name.replace('_', '-')}" in text, name
            assert note.group in text
            assert note.default in text
            assert about.description
    assert "completion" not in text
    assert ("--max-frames" in text) == (command in ("animate", "check", "motion"))
    assert ("--overlap" in text) == (command == "animate")
