"""A person whom the picture cuts off is continued beyond its frame."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.media import load_picture
from magicanimate.person.find import Person, find_person
from magicanimate.person.matte import Matte, find_matte
from magicanimate.person.outpainting import continue_person
from magicanimate.serve.page.examples import SHELF


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return load_picture(SHELF["hills"].picture)


@pytest.fixture(scope="module")
def found(picture) -> Person:
    person = find_person(picture)
    assert person is not None
    return person


def cut(picture: np.ndarray, found: Person, top: int, bottom: int) -> tuple[np.ndarray, Matte, Person]:
    """Rows of the picture, and the person's matte and body in them; as many rows are cut above as below."""
    matte = find_matte(picture).only(found.parts_HW > 0)
    rows = slice(top, bottom)
    body = found.body.moved(size=(bottom - top, picture.shape[1]))
    return picture[rows], Matte(matte.alpha_HW[rows], matte.foreground_HWC[rows]), body


def test_legs_go_on_below_the_frame_with_their_own_colors(picture, found):
    legs = np.flatnonzero((found.parts_HW > 0).any(1))[-1] - picture.shape[0] // 5
    top = picture.shape[0] - legs
    rows, matte, body = cut(picture, found, top, legs)
    continued = continue_person(rows, matte, body)
    below = slice(continued.frame[0].stop, None)
    true_HW = find_matte(picture).only(found.parts_HW > 0).mask_HW[legs:]
    made_HW = continued.matte.mask_HW[below][: len(true_HW)]
    true_HW = true_HW[: len(made_HW)]
    assert (made_HW & true_HW).sum() > 0.5 * (made_HW | true_HW).sum()
    own = matte.foreground_HWC[-8:][matte.mask_HW[-8:]].astype(float)
    made = continued.picture_HWC[below][continued.matte.mask_HW[below]]
    nearest = np.abs(made[:, None] - own[None, :: max(1, len(own) // 50)]).max(2).min(1)
    assert np.median(nearest) < 30
    assert (continued.picture_HWC[continued.frame] == rows).all()


def test_a_whole_person_is_left_alone(picture, found):
    matte = find_matte(picture).only(found.parts_HW > 0)
    continued = continue_person(picture, matte, found.body)
    assert continued.picture_HWC.shape == picture.shape
    assert (continued.matte.alpha_HW == matte.alpha_HW).all()


def test_a_head_is_not_made_up(picture, found):
    head = np.flatnonzero(np.isin(found.parts_HW, (23, 24)).any(1))
    top = int(head.mean())
    rows, matte, body = cut(picture, found, top, picture.shape[0] - top)
    continued = continue_person(rows, matte, body)
    above = slice(0, continued.frame[0].start)
    assert continued.frame[0].start > 0
    assert not continued.matte.mask_HW[above].any()
