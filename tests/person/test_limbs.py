"""Limbs that a mask misses are found where the body says that they are, if they look like the person."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.person.limbs import add_limbs

SIZE = 160
SKIN, SHIRT, GRASS = (205, 150, 120), (40, 60, 150), (70, 130, 60)


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture, a mask without the right arm, and the body's parts with both arms."""
    rng = np.random.default_rng(0)
    picture = np.tile(np.uint8(GRASS), (SIZE, SIZE, 1))
    parts = np.zeros((SIZE, SIZE), np.uint8)
    for part, rows, columns, color in (
        (2, slice(40, 120), slice(60, 100), SHIRT),
        (21, slice(50, 62), slice(104, 150), SKIN),  # left arm, on the right of the picture
        (22, slice(50, 62), slice(10, 56), SKIN),
    ):
        picture[rows, columns], parts[rows, columns] = color, part
    picture = np.clip(picture + rng.integers(-8, 9, picture.shape), 0, 255).astype(np.uint8)
    mask = ((parts > 0) & (parts != 22)).astype(np.float32)
    return picture, mask, parts


def test_a_missed_arm_is_added_along_its_outline(scene):
    picture, mask, parts = scene
    found = add_limbs(picture, mask, np.roll(parts, 2, 0))  # the body is off by some pixels
    arm, beside = found[50:62, 14:52] > 0.5, found[70:, 14:52] > 0.5
    assert arm.mean() > 0.9
    assert not beside.any()
    assert (found >= mask).all()


def test_what_does_not_look_like_the_person_is_not_added(scene):
    picture, mask, parts = scene
    picture[50:62, 10:56] = picture[100:112, 10:56]  # the arm is somewhere else
    assert np.array_equal(add_limbs(picture, mask, parts), mask)


def test_a_complete_mask_stays(scene):
    picture, _, parts = scene
    mask = (parts > 0).astype(np.float32)
    assert np.array_equal(add_limbs(picture, mask, parts), mask)
