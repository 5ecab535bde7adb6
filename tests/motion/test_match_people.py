"""Who in the picture is who in the motion."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.media import load_picture
from magicanimate.motion.open import open_motion
from magicanimate.parts.frame_store import PackedFrames
from magicanimate.person.find import find_people, find_person
from magicanimate.person.match_people import find_cast, matched
from magicanimate.person.warp import LOOSE
from magicanimate.serve.page.examples import SHELF


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [load_picture(SHELF[key].picture) for key in ("studio", "stripes")]


@pytest.fixture(scope="module")
def side_by_side(pictures) -> np.ndarray:
    return np.concatenate(pictures, 1)


def test_people_are_matched_in_order_and_as_near_as_that_allows():
    assert matched([10, 200], [30, 90]) == [0, 1]
    assert matched([150], [30, 160, 300]) == [1]
    assert matched([40, 150], [30, 160, 300]) == [0, 1]
    assert matched([150, 160], [10, 155]) == [0, 1]
    assert matched([], [10]) == []


def test_everybody_in_a_picture_is_found_once(pictures, side_by_side):
    found = find_people(side_by_side, 3)
    assert len(found) == 2
    assert (found[0].own_HW == find_person(side_by_side).own_HW).all()
    assert len(find_people(side_by_side, 1)) == 1
    assert len(find_people(pictures[0], 2)) == 1
    assert find_people(np.full((64, 64, 3), 128, np.uint8), 2) == []


def test_two_people_of_a_picture_are_those_of_the_motion_from_left_to_right(pictures, side_by_side):
    width = pictures[0].shape[1]
    motion = next(iter(open_motion(SHELF["studio"].motion)))
    parts_FHW = PackedFrames([np.concatenate([motion, motion], 1)])
    notes: list[str] = []
    cast = find_cast(side_by_side, parts_FHW, 2, notes)
    assert notes == []
    own_HW, people_HW = cast.own_HW, cast.people_HW
    assert ((own_HW > 0) == (people_HW > 0)).all()
    for number, half in ((1, slice(0, width)), (2, slice(width, None))):
        # the right person's hand is cut off where the pictures meet, and its end guessed beyond
        assert np.isin(people_HW[:, half], (0, number)).mean() > 0.99
        alone = find_person(pictures[number - 1]).own_HW
        same = (own_HW[:, half] > 0) & (alone > 0)
        assert same.sum() > 0.8 * ((own_HW[:, half] > 0) | (alone > 0)).sum()
        assert (own_HW[:, half] == LOOSE).any()
    moving_HW = cast.moving_FHW[0]
    middle = motion.shape[1]
    assert (moving_HW[:, :middle] == (motion > 0)).all()
    assert (moving_HW[:, middle:] == 2 * (motion > 0)).all()


def test_who_is_missing_is_said(pictures):
    motion = next(iter(open_motion(SHELF["studio"].motion)))
    parts_FHW = PackedFrames([np.concatenate([motion, motion], 1)])
    plain = np.full_like(pictures[0], pictures[0][0, 0])
    notes: list[str] = []
    cast = find_cast(np.concatenate([plain, pictures[0]], 1), parts_FHW, 2, notes)
    assert set(np.unique(cast.people_HW)) == {0, 2}, "the one on the right is nearest"
    assert len(notes) == 1
    assert "shows 1" in notes[0]
    assert find_cast(pictures[0], PackedFrames([motion]), 1, notes).people_HW is None
    assert len(notes) == 1
    assert find_cast(plain, parts_FHW, 2, notes).own_HW is None
    assert "not known" in notes[1]
