"""Types of the package as a checker sees them in a project that has it installed as a wheel."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from magicanimate.animation.arguments import AccelerationArguments, SettingArguments
from magicanimate.animation.settings import AnimateSettings, ModelOptions

ROOT = Path(__file__).resolve().parent.parent
NOT_FOLLOWED = [f"{name}.*" for name in ("torch", "diffusers", "scipy", "einops", "httpx", "rich")]  # large
PROJECT = """
from magicanimate import AnimateSettings, InputError, MagicAnimatePipeline
from magicanimate.client import Client

pipe = MagicAnimatePipeline.from_pretrained("tiny", device="cpu")
reveal_type(pipe)
reveal_type(pipe("picture.png", "motion.mp4", seed=1))
reveal_type(pipe("picture.png", "motion.mp4", stream=True))
reveal_type(AnimateSettings().steps)
pipe("picture.png", "motion.mp4", sede=1)
pipe("picture.png", "motion.mp4", fit="squeeze")
pipe(3, "motion.mp4")
"""


def test_keyword_arguments_are_the_settings():
    assert set(SettingArguments.__annotations__) == set(AnimateSettings.model_fields)
    others = {"model", "control", "device", "dtype"}
    assert set(AccelerationArguments.__annotations__) == set(ModelOptions.model_fields) - others


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """An environment that has the wheel, and the packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    build = "from hatchling.builders.wheel import WheelBuilder; print(*WheelBuilder('.').build(directory={!r}))"
    command = [sys.executable, "-c", build.format(str(folder / "dist"))]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(next((folder / "dist").glob("*.whl"))) as wheel:
        wheel.extractall(site)
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hatchling") is None or find_spec("mypy") is None, reason="needs hatchling and mypy")
def test_real_types_are_inferred_from_an_installed_wheel(python, tmp_path):
    (tmp_path / "project.py").write_text(PROJECT)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        python,
        "--cache-dir",
        tmp_path / "cache",
        "project.py",
    ]
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n[mypy-{','.join(NOT_FOLLOWED)}]\nfollow_imports = skip\n")
    result = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    revealed = [
        line.partition("Revealed type is ")[2].strip('"') for line in result.stdout.splitlines() if "Reveal" in line
    ]
    assert revealed == [
        "magicanimate.animation.pipeline.MagicAnimatePipeline",
        "magicanimate.media.video.Video",
        "magicanimate.media.video.VideoStream",
        "int | None",
    ], result.stdout + result.stderr
    errors = [line for line in result.stdout.splitlines() if ": error:" in line]
    assert {line.split(":")[1] for line in errors} == {"10", "11", "12"}, result.stdout
    assert any('Unexpected keyword argument "sede"' in line for line in errors)
