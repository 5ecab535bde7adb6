"""Palette, left and right parts, nearest resizing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from magicanimate.parts.densepose import FLIP_PAIRS, FLIP_TABLE, PALETTE_25, PART_NAMES, resize_parts

PARTS = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 24))


def test_palette_is_viridis_with_a_purple_background():
    assert PALETTE_25.shape == (25, 3)
    assert tuple(PALETTE_25[0]) == (68, 1, 84)
    assert tuple(PALETTE_25[24]) == (253, 231, 37)
    assert len(PART_NAMES) == len({tuple(color) for color in PALETTE_25}) == 25


def test_flip_table_matches_the_pairs_and_the_names():
    assert tuple((i, i + 1) for i in range(3, 25, 2)) == FLIP_PAIRS
    for left, right in FLIP_PAIRS:
        assert (FLIP_TABLE[left], FLIP_TABLE[right]) == (right, left)
        swapped = PART_NAMES[left].replace("left", "*").replace("right", "left").replace("*", "right")
        assert swapped == PART_NAMES[right]
    assert [i for i in range(25) if FLIP_TABLE[i] == i] == [0, 1, 2]


@given(PARTS, st.integers(1, 20), st.integers(1, 20))
def test_resizing_invents_no_part(parts_HW, height, width):
    resized = resize_parts(parts_HW, (height, width))
    assert resized.shape == (height, width)
    assert set(np.unique(resized)) <= set(np.unique(parts_HW))
    assert np.array_equal(resize_parts(parts_HW, parts_HW.shape), parts_HW)
    doubled = resize_parts(parts_HW, (2 * parts_HW.shape[0], 2 * parts_HW.shape[1]))
    assert np.array_equal(doubled[::2, ::2], parts_HW)
