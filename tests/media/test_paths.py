"""Paths as people write them: home folders, addresses, wildcards, standard output."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magicanimate.errors import InputError
from magicanimate.media import load_picture, open_clip
from magicanimate.media.paths import output_path
from magicanimate.media.video import save_frames
from magicanimate.motion.open import open_motion

IMAGE = np.full((20, 30, 3), 90, np.uint8)


@pytest.mark.parametrize("read", [load_picture, open_clip, open_motion])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("https://example.org/a.mp4", "is an address; download it first"), ("-", "standard input"),
        ("frames/*.png", "wildcards stand for nothing"), ("a\0b", "no path"), ("x" * 5000, "no path"),
        ("~nobody-of-that-name/a.png", "no path"), ("missing.png", "does not exist; check the path"),
    ],
)  # fmt: skip
def test_what_is_no_input_says_what_to_do(read, path, said):
    with pytest.raises(InputError, match=said):
        read(path)


def test_a_home_folder_and_a_name_with_an_asterisk(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(IMAGE).save(tmp_path / "a*.png")
    assert np.array_equal(load_picture("~/a*.png"), IMAGE)
    save_frames(iter([IMAGE] * 3), "~/b.mp4", 25, {})
    assert len(list(open_clip("~/b.mp4"))) == 3
    assert (tmp_path / "b.mp4").exists()


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for read in (load_picture, open_clip, open_motion):
        with pytest.raises(InputError, match="neither a file nor a folder"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("path", "said"),
    [("-", "standard output"), ("s3://bucket/a.mp4", "is an address"), (Path("~nobody-of-that-name/a.mp4"), "home")],
)
def test_what_is_no_output_says_what_to_do(path, said):
    with pytest.raises(InputError, match=said):
        output_path(path)
    with pytest.raises(InputError, match=said):
        save_frames(iter([IMAGE]), path, 25, {})
