"""Clips of every kind, whole and damaged."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from figures import walking_parts
from magicanimate.errors import InputError
from magicanimate.media import open_clip
from magicanimate.media.video import save_frames
from magicanimate.parts.densepose import render_parts

FRAMES = render_parts(walking_parts(12))


def cut(path, target, share: float):
    target.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return target


def test_a_video_is_read_twice(motion_path):
    clip = open_clip(motion_path)
    assert (clip.fps, clip.size, clip.count) == (25, (64, 64), 12)
    first, second = list(clip), list(clip)
    assert len(first) == 12
    assert np.array_equal(first, second)
    assert clip.warnings == []


def test_a_folder_of_pictures_is_read_in_order_of_numbers(tmp_path):
    for index in (0, 1, 2, 10):
        Image.fromarray(np.full((20, 30, 3), index, np.uint8)).save(tmp_path / f"f{index}.png")
    clip = open_clip(tmp_path)
    assert [int(frame[0, 0, 0]) for frame in clip] == [0, 1, 2, 10]
    assert (clip.size, clip.count, clip.fps) == ((20, 30), 4, 25)


def test_a_folder_with_two_sizes_is_refused(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "1.png")
    Image.new("RGB", (20, 30)).save(tmp_path / "2.png")
    with pytest.raises(InputError, match=r"2\.png is 20x30"):
        list(open_clip(tmp_path))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        open_clip(tmp_path)


def test_a_single_picture_is_a_clip_of_one_frame(tmp_path):
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.fromarray(FRAMES[0]).save(tmp_path / name)
        assert len(list(open_clip(tmp_path / name))) == 1


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
def test_a_truncated_mp4_says_where(tmp_path, share):
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    whole = save_frames(iter(noise), tmp_path / "whole.mp4", 25, {})
    with pytest.raises(InputError, match="damaged"):
        list(open_clip(cut(whole, tmp_path / "cut.mp4", share)))
    assert len(list(open_clip(whole))) == 30


def test_frames_before_the_damage_can_be_used(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    whole = save_frames(iter(noise), tmp_path / "whole.mp4", 25, {})
    clip = iter(open_clip(cut(whole, tmp_path / "cut.mp4", 0.8)))
    assert next(clip).shape == (64, 64, 3)


def test_a_truncated_webm_is_used_as_far_as_it_goes_and_says_so(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    whole = save_frames(iter(noise), tmp_path / "whole.webm", 25, {})
    clip = open_clip(cut(whole, tmp_path / "cut.webm", 0.6))
    assert 0 < len(list(clip)) < 28
    assert "breaks off" in clip.warnings[0]
    list(clip)
    assert len(clip.warnings) == 1


def test_stopping_early_is_no_damage(motion_path):
    clip = open_clip(motion_path)
    next(iter(clip))
    assert clip.warnings == []


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.mp4", "empty"),
        (b"hello world", "a.mp4", "not a video"),
        (b"hello world", "a.gif", "not a video"),
        (b"hello world", "a.png", "damaged"),
        (b"GIF89a hello world", "a.mp4", "damaged"),
    ],
)
def test_what_is_no_clip(tmp_path, content, name, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_clip(tmp_path / name)


def test_a_sound_file_has_no_video(tmp_path):
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no video in it"):
        open_clip(path)
