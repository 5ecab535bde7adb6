"""A part of a finished video is made anew, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from magicanimate.animation.redo import Part, redone
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.media import open_clip

FPS = 25


@pytest.fixture
def animate(picture_path, motion_path, model_folder, tmp_path):
    """Animates 12 frames into a folder of PNG, and returns them."""

    def run(name: str, *more: str, code: int = 0) -> np.ndarray | str:
        given = [
            "animate", str(picture_path), str(motion_path), "--model", str(model_folder), "--device", "cpu",
            "--steps", "1", "-o", str(tmp_path / name), *more,
        ]  # fmt: skip
        result = CliRunner().invoke(app, given)
        assert result.exit_code == code, result.output
        return result.output if code else np.stack(list(open_clip(tmp_path / name)))

    return run


def test_a_part_is_new_and_the_rest_stays(animate, tmp_path):
    old, other = animate("video"), animate("other", "--seed", "2")
    new = animate("video", "--redo", f"{2 / FPS}-1", "--seed", "2")
    assert np.array_equal(new[:2], old[:2])
    assert np.array_equal(new[6:], other[6:])  # faded in within four frames, and not out: the video ends there
    assert not np.array_equal(old[6:], other[6:])
    mixed = np.abs(new[3].astype(float) - (0.6 * old[3] + 0.4 * other[3]))
    assert mixed.max() <= 0.5
    about = json.loads((tmp_path / "video.json").read_text())
    assert about["settings"]["seed"] == 1
    assert [(part["start"], part["settings"]["seed"]) for part in about["redone"]] == [(0.08, 2)]


def test_what_cannot_be_redone_leaves_the_video(animate, tmp_path):
    old = animate("video", "--max-frames", "8")
    for more, sentence in (
        (["--redo", "0-0.2"], "does not have 12 frames of"),
        (["--max-frames", "8", "--redo", "5-6"], "the video ends after 0.3 s"),
        (["--max-frames", "8", "--redo", "2-1"], "ends before it begins"),
        (["--max-frames", "8", "--redo", "now"], "is no part of a video"),
        (["--max-frames", "8", "--redo", "0-1", "--compare"], "are not possible with it"),
        (["--max-frames", "8", "--redo", "0-1", "-o", str(tmp_path / "none")], "make the whole video first"),
    ):
        assert sentence in animate("video", *more, code=2)
    assert np.array_equal(np.stack(list(open_clip(tmp_path / "video"))), old)


def test_a_video_that_is_longer_than_the_new_one(tmp_path, animate):
    animate("video")
    with pytest.raises(InputError, match="does not have 3 frames of"):
        list(redone(iter(np.zeros((3, 64, 64, 3), np.uint8)), Path(tmp_path / "video"), Part(0, 1), FPS, 3))


def test_parts_are_times():
    assert Part.parse("1:05-1:10.5") == Part(65, 70.5)
