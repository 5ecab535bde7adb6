"""Direction of heads, and the places of their pixels in a picture that shows them from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.train.head_turn import TAKEN, Ellipse, Turn, facing

UPRIGHT = np.array([[0.0, 1.0], [-1.0, 0.0]])  # up, then across, as columns


def disc() -> tuple[np.ndarray, np.ndarray]:
    """Places of a head's pixels, across and up, in units of its half extents."""
    y, x = np.mgrid[-1:1:60j, -1:1:60j]
    inside = x**2 + y**2 < 1
    return x[inside], y[inside]


def head(center=(50.0, 40.0), halves=(20.0, 15.0)) -> Ellipse:
    return Ellipse(np.array(center), UPRIGHT, np.array(halves))


@pytest.mark.parametrize("degrees", [-70, -30, 0, 20, 60])
def test_the_seam_tells_the_angle(degrees):
    across, _ = disc()
    ahead = across > np.sin(np.radians(degrees))
    assert facing(across, ahead) == pytest.approx(np.radians(degrees), abs=0.05)
    behind = facing(across, ~ahead)
    assert behind == pytest.approx(np.pi + np.radians(degrees), abs=0.05)
    named = np.radians(degrees) if abs(degrees) < 45 else behind
    assert facing(across, ~ahead, from_front=True) == pytest.approx(named, abs=0.05), "halves with each other's names"


def test_one_half_is_a_side_and_few_pixels_say_nothing():
    across, _ = disc()
    assert facing(across, np.zeros(len(across), bool)) == pytest.approx(np.pi / 2)
    assert facing(across, np.ones(len(across), bool)) == pytest.approx(-np.pi / 2)
    assert facing(across[:5], across[:5] > 0) is None
    assert Turn.between(head(), head(), None, 0.0) is None


def test_the_same_angle_moves_nothing():
    across, up = disc()
    x, y = 50 + 15 * across, 40 - 20 * up
    turn = Turn.between(head(), head(), 0.3, 0.3)
    moves, hidden = turn.moves(x, y)
    assert np.abs(moves).max() < 0.7  # the rim is flat
    assert not hidden.any()


def test_the_middle_of_a_turned_face_is_found_at_the_middle():
    """Angles are taken in part; by that part, the longitude of a pixel is the same in both pictures."""
    looks, looked = np.radians(40), np.radians(-10)
    source = head((20.0, 90.0), (10.0, 8.0))
    turn = Turn.between(head(), source, looks, looked)
    x = np.array([50 + 15 * np.sin(TAKEN * (looks - looked))])
    moves, hidden = turn.moves(x, np.array([40.0]))
    affine = 20 + (x - 50) * 8 / 15
    assert affine + moves[:, 0] == pytest.approx(20.0, abs=1e-9)
    assert not hidden.any()
    assert abs(affine - 20.0) > 3  # negative control: sliding, it would be found elsewhere


def test_what_the_picture_does_not_show_is_said():
    across, up = disc()
    x, y = 50 + 15 * across, 40 - 20 * up
    far = Turn.between(head(), head(), np.pi, 0.0).moves(x, y)[1]
    near = Turn.between(head(), head(), np.radians(30), 0.0).moves(x, y)[1]
    assert far.mean() > 0.5 > 0.2 > near.mean() > 0
    assert across[near].max() < 0, "the side that was turned away"
