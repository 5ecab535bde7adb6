"""People in a picture: large ones first, small ones too, each once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from magicanimate.media import load_picture
from magicanimate.parts.skeleton import JOINT
from magicanimate.person.find import count_people, find_people, find_person
from magicanimate.serve.page.examples import SHELF

SKY = np.linspace(0, 255, 240).astype(np.uint8)[:, None, None].repeat(320, 1).repeat(3, 2)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [load_picture(SHELF[name].picture) for name in ("studio", "hills")]


def scaled(picture: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def middle(person) -> np.ndarray:
    """x and y of a person's parts."""
    return np.array([axis.mean() for axis in np.nonzero(person.parts_HW)])[::-1]


def test_two_people_are_found_once_each_the_larger_one_first(pictures):
    left, right = scaled(pictures[0], 256), scaled(pictures[1], 400)
    both = np.concatenate([np.pad(left, ((144, 0), (0, 0), (0, 0)), mode="edge"), right], 1)
    assert count_people(both) == 2
    found = find_people(both, 5)
    assert len(found) == 2
    assert middle(found[0])[0] > 256 > middle(found[1])[0]
    assert all(person.agreement > 0.5 for person in found)
    assert not ((found[0].parts_HW > 0) & (found[1].parts_HW > 0)).any()
    alone = find_person(both)
    assert (alone.parts_HW == found[0].parts_HW).all()


def test_a_person_who_is_a_fifth_of_the_picture_is_found_where_they_are(pictures):
    small = scaled(pictures[0], 150)
    color = small[:, :1].mean((0, 1)).astype(np.uint8)
    wide = np.tile(color, (600, 1000, 1))
    wide[400:550, 700:850] = small
    found = find_person(wide)
    assert found is not None
    whole = find_person(pictures[0])
    scale = 150 / len(pictures[0])
    expected = scale * whole.joints_J2[[JOINT["neck"], JOINT["pelvis"]]] + (700, 400)
    assert np.abs(found.joints_J2[[JOINT["neck"], JOINT["pelvis"]]] - expected).max() < 6
    assert found.lengths_L[:2] == pytest.approx(scale * whole.lengths_L[:2], rel=0.15)
    assert found.agreement > 0.5


def test_nobody_is_found_in_a_sky():
    assert find_person(SKY) is None
    assert find_people(SKY, 3) == []
    assert count_people(SKY) == 0
    assert find_person(np.zeros((1, 1, 3), np.uint8)) is None
