"""Hands before the body, on drawn pictures: a shirt, a face, and a hand that is beside its place in the map."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.person.hands import correct_hands

FACE, TRUNK, HAND = 23, 2, 3
SKIN, SHIRT, WALL = (205, 160, 140), (60, 90, 160), (225, 220, 215)


def picture(shirt: tuple[int, int, int] = SHIRT, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture [128,128,3] with some noise, its true map, and one whose hand is 5 pixels too low."""
    true_HW = np.zeros((128, 128), np.uint8)
    true_HW[8:38, 50:78] = FACE
    true_HW[40:120, 40:90] = TRUNK
    low_HW = true_HW.copy()
    true_HW[70:84, 56:72] = HAND
    low_HW[75:89, 56:72] = HAND
    colours = np.zeros((25, 3))
    colours[[0, FACE, TRUNK, HAND]] = WALL, SKIN, shirt, SKIN
    noise = np.random.default_rng(seed).normal(0, 4, (*true_HW.shape, 3))
    return (colours[true_HW] + noise).clip(0, 255).round().astype(np.uint8), true_HW, low_HW


def test_a_hand_beside_its_place_is_put_right():
    shown, true_HW, low_HW = picture()
    corrected_HW = correct_hands(shown, low_HW)
    wrong = [int((each != true_HW).sum()) for each in (low_HW, corrected_HW)]
    assert wrong[0] == 2 * 5 * 16
    assert wrong[1] < wrong[0] / 4
    changed_HW = corrected_HW != low_HW
    assert set(np.unique(low_HW[changed_HW])) == {TRUNK, HAND}
    np.testing.assert_array_equal(correct_hands(shown, low_HW), corrected_HW)


def test_a_map_that_is_right_stays_nearly_what_it_is():
    shown, true_HW, _ = picture()
    assert (correct_hands(shown, true_HW) != true_HW).sum() < 0.1 * (true_HW == HAND).sum()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda shown, own: (picture(shirt=SKIN)[0], own), id="a shirt like skin"),
        pytest.param(lambda shown, own: (shown, np.where(own == FACE, 0, own)), id="no face"),
        pytest.param(lambda shown, own: (shown, np.where(own == HAND, TRUNK, own)), id="no hand"),
        pytest.param(lambda shown, own: (shown, np.where(own == TRUNK, 0, own)), id="nothing behind it"),
    ],
)
def test_where_nothing_can_be_told_nothing_changes(change):
    shown, _, low_HW = picture()
    shown, own_HW = change(shown, low_HW)
    np.testing.assert_array_equal(correct_hands(shown, own_HW), own_HW)
