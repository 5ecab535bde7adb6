"""Palette, flips, decoding by nearest colour, nearest resizing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from figures import walking_parts
from magicanimate.media import open_clip
from magicanimate.media.video import save_frames
from magicanimate.motion import densepose
from magicanimate.motion.densepose import (
    FLIP_PAIRS,
    FLIP_TABLE,
    PALETTE_25,
    PART_NAMES,
    decode_frame,
    flip_parts,
    render_parts,
    resize_parts,
)

PARTS = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 24))


def brute_force(frame_HWC: np.ndarray) -> np.ndarray:
    """The slow twin: distance to each palette colour and to black, which is background."""
    known = np.concatenate([PALETTE_25, np.zeros((1, 3))]).astype(np.float64)
    distance = np.linalg.norm(frame_HWC[..., None, :].astype(np.float64) - known, axis=-1)
    return distance.argmin(-1) % 25


def test_palette_is_viridis_with_a_purple_background():
    assert PALETTE_25.shape == (25, 3)
    assert tuple(PALETTE_25[0]) == (68, 1, 84)
    assert tuple(PALETTE_25[24]) == (253, 231, 37)
    assert len(PART_NAMES) == len({tuple(colour) for colour in PALETTE_25}) == 25


@settings(deadline=None)
@given(PARTS)
def test_rendering_and_decoding_are_inverse(parts_HW):
    decoded, codes = decode_frame(render_parts(parts_HW))
    assert np.array_equal(decoded, parts_HW)
    assert (codes < 25).all()


@settings(deadline=None)
@given(PARTS, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_levels_lost_in_compression_do_not_matter(parts_HW, red, green, blue):
    shifted = np.clip(render_parts(parts_HW).astype(int) - (red, green, blue), 0, 255).astype(np.uint8)
    expected = brute_force(shifted)
    assert np.array_equal(decode_frame(shifted)[0], expected)
    if max(red, green, blue) <= 2:
        assert np.array_equal(expected, parts_HW)


@settings(deadline=None, max_examples=20)
@given(arrays(np.uint8, (6, 6, 3)))
def test_lookup_table_equals_brute_force(frame_HWC):
    codes = densepose.colour_codes(frame_HWC) & 0x7F
    known = np.concatenate([PALETTE_25, np.zeros((1, 3), np.uint8)]).astype(int)
    picked = ((frame_HWC.astype(int) - known[codes]) ** 2).sum(-1)
    best = ((frame_HWC[..., None, :].astype(int) - known) ** 2).sum(-1).min(-1)
    assert np.array_equal(picked, best)


def test_a_mixed_contour_takes_a_neighbour_label():
    # Between background (purple) and head (yellow) the mixture is nearest to some limb's green.
    parts = np.zeros((8, 9), np.uint8)
    parts[:, 5:] = 24
    frame = render_parts(parts)
    frame[:, 4] = (frame[:, 3].astype(int) + frame[:, 5]) // 2
    assert not set(np.unique(brute_force(frame))) <= {0, 24}  # the negative control
    assert set(np.unique(decode_frame(frame)[0])) == {0, 24}


def test_flip_table_matches_the_pairs_and_the_names():
    assert tuple((i, i + 1) for i in range(3, 25, 2)) == FLIP_PAIRS
    for left, right in FLIP_PAIRS:
        assert (FLIP_TABLE[left], FLIP_TABLE[right]) == (right, left)
        swapped = PART_NAMES[left].replace("left", "*").replace("right", "left").replace("*", "right")
        assert swapped == PART_NAMES[right]
    assert [i for i in range(25) if FLIP_TABLE[i] == i] == [0, 1, 2]


@given(PARTS)
def test_flipping_twice_changes_nothing(parts_HW):
    assert np.array_equal(flip_parts(flip_parts(parts_HW)), parts_HW)
    assert np.array_equal(flip_parts(parts_HW)[:, ::-1], FLIP_TABLE[parts_HW])


@given(PARTS, st.integers(1, 20), st.integers(1, 20))
def test_resizing_invents_no_part(parts_HW, height, width):
    resized = resize_parts(parts_HW, (height, width))
    assert resized.shape == (height, width)
    assert set(np.unique(resized)) <= set(np.unique(parts_HW))
    assert np.array_equal(resize_parts(parts_HW, parts_HW.shape), parts_HW)
    doubled = resize_parts(parts_HW, (2 * parts_HW.shape[0], 2 * parts_HW.shape[1]))
    assert np.array_equal(doubled[::2, ::2], parts_HW)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_palette_through_a_real_codec(tmp_path, suffix):
    parts_FHW = walking_parts(6, 128, 128)
    path = save_frames(iter(render_parts(parts_FHW)), tmp_path / f"map{suffix}", 25, {})
    frames = np.stack(list(open_clip(path)))
    decoded = np.stack([decode_frame(frame)[0] for frame in frames])
    assert not np.array_equal(frames, render_parts(parts_FHW))  # compression did change colours
    assert (decoded == parts_FHW).mean() > 0.98


def test_decoding_is_fast():
    frame = render_parts(walking_parts(1, 512, 512)[0])
    decode_frame(frame)
    started = time.process_time()
    for _ in range(5):
        decode_frame(frame)
    assert (time.process_time() - started) / 5 < 0.2
