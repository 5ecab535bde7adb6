"""Compressed frames read like the array they were."""

from __future__ import annotations

import numpy as np
import pytest

from figures import walking_parts
from magicanimate.parts.frame_store import PackedFrames, remembered

PARTS = walking_parts(6)
COLORS = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("frames", [PARTS, COLORS], ids=["parts", "colors"])
def test_what_goes_in_comes_out(frames):
    packed = PackedFrames(frames)
    assert len(packed) == len(frames)
    assert np.array_equal(packed[1], frames[1])
    assert np.array_equal(packed[1:], frames[1:])
    assert np.array_equal(packed[[2, 0]], frames[[2, 0]])
    assert np.array_equal(np.stack(list(packed)), frames)


def test_the_last_frame_repeated():
    padded = PackedFrames(PARTS).padded(2)
    assert np.array_equal(padded[:], np.concatenate([PARTS, PARTS[-1:], PARTS[-1:]]))
    assert len(PackedFrames(PARTS)) == 6


def test_part_maps_need_little_and_the_same_frames_the_same_bytes():
    large = walking_parts(4, 256, 256)
    assert len(PackedFrames(large).tobytes()) < large.nbytes / 50
    assert PackedFrames(large).tobytes() == PackedFrames(large.copy()).tobytes()
    assert PackedFrames(large).tobytes() != PackedFrames(large[::-1]).tobytes()


def test_frames_are_made_once_if_they_were_read_to_the_end():
    made = []

    def start():
        for parts_HW in PARTS:
            made.append(parts_HW)
            yield parts_HW

    read = remembered(start)
    assert np.array_equal(next(read()), PARTS[0])  # given up after one frame: nothing is kept
    for _ in range(3):
        assert np.array_equal(np.stack(list(read())), PARTS)
    assert len(made) == 1 + len(PARTS)
