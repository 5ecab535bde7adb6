"""Animating with the shipped model where no graphics library and no OpenCV can be loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import magicanimate
from magicanimate.media import load_picture
from magicanimate.media.reading import open_clip
from magicanimate.media.video import save_frames

EXAMPLES = Path(magicanimate.__file__).parent / "assets" / "examples"
HIDING = """
import ctypes, ctypes.util, importlib.abc, sys
HIDDEN = ("libGL", "libEGL", "libOSMesa", "libglib", "libgthread")
def hidden(name): return name is not None and any(part in str(name) for part in HIDDEN)
find, load = ctypes.util.find_library, ctypes.CDLL.__init__
ctypes.util.find_library = lambda name: None if hidden("lib" + name) else find(name)
def refuse(self, name=None, *args, **kwargs):
    if hidden(name):
        raise OSError(f"{name}: cannot open shared object file")
    load(self, name, *args, **kwargs)
ctypes.CDLL.__init__ = refuse
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cv2", "moderngl", "glcontext", "mediapipe"):
            raise ImportError(f"{name}: libGL.so.1: cannot open shared object file: No such file or directory")
sys.meta_path.insert(0, Missing())
"""


def run(*words: object) -> subprocess.CompletedProcess[str]:
    words = ("magicanimate", *map(str, words))
    code = f"{HIDING}\nfrom magicanimate.cli.main import main\nsys.argv = {list(words)!r}\nmain()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dance(tmp_path_factory) -> Path:
    """An ordinary video: a person who sways before a wall."""
    picture = load_picture(EXAMPLES / "hills" / "picture.png")
    frames = [np.roll(picture, round(8 * np.sin(i / 2)), 1) for i in range(6)]
    return save_frames(iter(frames), tmp_path_factory.mktemp("dance") / "dance.mp4", 12.5, {})


@pytest.mark.slow
def test_a_photograph_is_animated_by_an_ordinary_video(tmp_path, dance):
    out = tmp_path / "out.mp4"
    ended = run(
        "animate", "--image", EXAMPLES / "studio" / "picture.png", "--motion", dance, "-o", out, "--size", "128x128",
        "--steps", 2, "--seed", 1,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(list(open_clip(out))) == 6
    assert "No person was recognized" not in ended.stderr, "the person in the picture was measured"


def test_the_libraries_are_hidden():
    """The negative control: what needs them fails here, in one sentence that names library and package."""
    ended = run("synth", "sheet.png", "--sheet", "--clips", 1)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "that needs the system library libGL.so.1; on Debian or Ubuntu: apt-get install libgl1." in ended.stderr
    code = f"{HIDING}\nimport ctypes\nctypes.CDLL('libEGL.so.1')"
    assert "cannot open" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
