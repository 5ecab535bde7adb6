"""The motion is moved onto the person only where both are plainly seen."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.media.pictures import Placement, fit_parts, place
from magicanimate.motion.align import align, aligned_placement, figure_of_mask, find_in_motion, find_in_picture

SIZE = (128, 128)
PERSON = (slice(30, 100), slice(70, 95))  # rows, columns of a standing figure


def figure_picture(rows: slice = PERSON[0], columns: slice = PERSON[1]) -> np.ndarray:
    """A striped figure before a wall that is lit from one side."""
    y, x = np.mgrid[0:128, 0:128]
    image = np.stack([120 + x // 4, 130 + y // 8, 140 + x // 8], -1).astype(np.uint8)
    stripes = np.where((y // 4) % 2, 20, 240).astype(np.uint8)[..., None]
    image[rows, columns] = stripes[rows, columns]
    return image


def standing_motion(rows: slice, columns: slice, frames: int = 9) -> np.ndarray:
    parts = np.zeros((frames, *SIZE), np.uint8)
    parts[:, rows, columns] = 2
    parts[:, rows.start : rows.start + 8, columns] = 23
    return parts


def test_a_figure_before_a_shaded_wall_is_found():
    found = find_in_picture(figure_picture())
    assert found is not None
    assert (found.top, found.bottom, found.centre) == pytest.approx((30 / 128, 100 / 128, 82.5 / 128), abs=0.03)


@pytest.mark.parametrize(
    "image",
    [
        figure_picture(columns=slice(0, 0)),  # nobody
        figure_picture(rows=slice(30, 128)),  # cut off
        figure_picture(columns=slice(10, 110)),  # as wide as high
        np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8),  # no plain background
    ],
)
def test_doubtful_pictures_are_left_alone(image):
    assert find_in_picture(image) is None


def test_driver_is_measured_by_head_and_feet():
    found = find_in_motion(standing_motion(slice(10, 120), slice(40, 80)))
    assert found is not None
    assert (found.top, found.bottom, found.centre) == pytest.approx((10 / 128, 120 / 128, 60 / 128), abs=0.01)


def test_cut_off_and_several_drivers_are_left_alone():
    assert find_in_motion(standing_motion(slice(10, 128), slice(40, 80))) is None
    two = standing_motion(slice(10, 120), slice(10, 40)) + standing_motion(slice(10, 120), slice(80, 110))
    assert find_in_motion(two) is None


def test_the_driver_lands_on_the_person():
    parts = standing_motion(slice(10, 120), slice(20, 60))
    placement, note = aligned_placement(place(SIZE, SIZE), SIZE, parts, figure_picture())
    assert note is not None
    assert "scaled by 0.6" in note
    landed = figure_of_mask(fit_parts(parts[0], placement) > 0)
    person = find_in_picture(figure_picture())
    assert landed is not None
    assert person is not None
    assert (landed.top, landed.bottom, landed.centre) == pytest.approx(
        (person.top, person.bottom, person.centre), abs=0.02
    )  # fmt: skip


def test_small_and_absurd_differences_change_nothing():
    person = find_in_picture(figure_picture())
    assert person is not None
    same = place(SIZE, SIZE)
    assert align(same, SIZE, person, person) is None
    tiny = find_in_motion(standing_motion(slice(60, 80), slice(60, 70)))
    assert tiny is not None
    assert align(same, SIZE, person, tiny) is None


def test_without_a_figure_the_clip_is_not_even_read():
    def unread():
        raise AssertionError
        yield

    placement, note = aligned_placement(place(SIZE, SIZE), SIZE, unread(), figure_picture(columns=slice(0, 0)))
    assert (placement, note) == (place(SIZE, SIZE), None)


def test_what_lies_outside_the_clip_is_background():
    parts = np.full((10, 10), 7, np.uint8)
    shifted = fit_parts(parts, Placement((-5, 0, 5, 10), (0, 0, 10, 10), (10, 10)))
    assert (shifted[:, :5] == 0).all()
    assert (shifted[:, 5:] == 7).all()
