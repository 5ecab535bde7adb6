"""The motion lands on the person in the picture, where both are seen, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magicanimate.media import clip_of_frames
from magicanimate.motion.open import open_motion
from magicanimate.motion.placing import align as module
from magicanimate.motion.placing.align import align
from magicanimate.motion.placing.edges import Extension
from magicanimate.motion.placing.outline import figure_of_mask, find_in_motion, find_in_picture
from magicanimate.parts.densepose import render_parts
from magicanimate.parts.skeleton import JOINT, LENGTHS, find_joints, measure_skeleton
from magicanimate.person.find import Person
from mannequin import dancing, mannequin

SIZE = (128, 128)
PERSON = (slice(30, 100), slice(70, 95))  # rows, columns of a standing figure
PICTURE = np.zeros((*SIZE, 3), np.uint8)


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


def motion_of(parts_FHW: np.ndarray):
    return open_motion(clip_of_frames(render_parts(parts_FHW), 25))


def person_of(parts_HW: np.ndarray) -> Person:
    """The person that a picture shows whose parts are these."""
    joints, lengths = find_joints(parts_HW)
    return Person(
        None, parts_HW, joints, lengths, (~np.isnan(lengths)).astype(float), float(np.isin(parts_HW, (5, 6)).any()),
        parts_HW,
    )  # fmt: skip


@pytest.fixture
def seen(monkeypatch):
    """Says who is in the picture, so that no extractor is needed."""
    return lambda found: monkeypatch.setattr(module, "find_person", found)


def test_a_figure_before_a_shaded_wall_is_found():
    found = find_in_picture(figure_picture())
    assert found is not None
    assert (found.top, found.bottom, found.center) == pytest.approx((30 / 128, 100 / 128, 82.5 / 128), abs=0.03)


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
    assert (found.top, found.bottom, found.center) == pytest.approx((10 / 128, 120 / 128, 60 / 128), abs=0.01)


def test_cut_off_and_several_drivers_are_left_alone():
    assert find_in_motion(standing_motion(slice(10, 128), slice(40, 80))) is None
    two = standing_motion(slice(10, 120), slice(10, 40)) + standing_motion(slice(10, 120), slice(80, 110))
    assert find_in_motion(two) is None


def test_where_nobody_is_recognized_outlines_are_used_and_it_is_said(seen):
    seen(lambda *_: None)
    motion = replace(
        motion_of(dancing(4)), start=lambda: iter(standing_motion(slice(10, 120), slice(20, 60))), size=SIZE
    )
    aligned = align(motion, SIZE, "cover", figure_picture())
    assert "No person was recognized" in aligned.notes[0]
    assert "scaled by 0.6" in aligned.notes[1]
    landed, person = figure_of_mask(next(iter(aligned)) > 0), find_in_picture(figure_picture())
    assert (landed.top, landed.bottom, landed.center) == pytest.approx(
        (person.top, person.bottom, person.center), abs=0.02
    )  # fmt: skip


@pytest.mark.parametrize("fit", ["cover", "contain"])
@pytest.mark.parametrize("scale", [0.6, 0.8, 1.3])
def test_a_scaled_and_moved_driver_comes_back_within_two_percent(seen, scale, fit):
    original = dancing(12)
    person = person_of(original[0])
    person = replace(person, lengths_L=measure_skeleton(original).lengths_L)
    seen(lambda *_: person)
    driver = dancing(12, scale=0.8 * scale, shift=(20, 12))
    assert (driver != original).mean() > 0.02  # negative control
    aligned = align(motion_of(driver), original.shape[1:], fit, PICTURE)
    assert aligned.needed == pytest.approx(1 / scale, rel=0.02)
    assert "proportions" not in aligned.notes[-1]
    landed = measure_skeleton(aligned)
    height = np.ptp(np.flatnonzero((original[0] > 0).any(1)))
    for joint in ("neck", "pelvis", "elbow.L", "knee.R", "ankle.L"):
        difference = landed.joints_FJ2[:, JOINT[joint]] - measure_skeleton(original).joints_FJ2[:, JOINT[joint]]
        assert np.abs(difference).max() < 0.02 * height


def test_the_same_figure_is_left_unchanged(seen):
    original = dancing(8)
    seen(lambda *_: replace(person_of(original[0]), lengths_L=measure_skeleton(original).lengths_L))
    aligned = align(motion_of(original), original.shape[1:], "cover", PICTURE)
    assert np.array_equal(np.stack(list(aligned)), original)
    assert aligned.notes == []
    assert aligned.needed == pytest.approx(1, abs=0.01)


def test_legs_a_fifth_longer_become_as_long_as_the_reference(seen):
    original, driver = dancing(12), dancing(12, legs=1.2)
    target = measure_skeleton(original).lengths_L
    seen(lambda *_: replace(person_of(original[0]), lengths_L=target))
    aligned = align(motion_of(driver), original.shape[1:], "cover", PICTURE)
    legs = [LENGTHS.index("upper leg"), LENGTHS.index("lower leg")]
    before, after = measure_skeleton(driver).lengths_L[legs].sum(), measure_skeleton(aligned).lengths_L[legs].sum()
    assert before == pytest.approx(1.2 * target[legs].sum(), rel=0.03)
    assert after == pytest.approx(target[legs].sum(), rel=0.04)
    assert "upper leg 0.8" in aligned.notes[-1]


def test_nobody_two_people_and_absurd_sizes_change_nothing(seen):
    original = dancing(6)
    plain = [
        np.array_equal(a, b)
        for a, b in zip(align(motion_of(original), original.shape[1:], "cover", None), original, strict=True)
    ]
    assert all(plain)
    seen(lambda *_: None)
    aligned = align(motion_of(original), original.shape[1:], "cover", PICTURE)
    assert "No person was recognized" in aligned.notes[0]
    assert np.array_equal(np.stack(list(aligned)), original)
    person = person_of(original[0])
    two = np.maximum(original, np.roll(original, 80, axis=2))
    for driver, found, message in (
        (two, person, "2 people move"),
        (original, replace(person, lengths_L=person.lengths_L * 5), "too much to believe"),
        (original, replace(person, lengths_L=person.lengths_L * np.nan), "no common parts"),
    ):
        seen(lambda *_, found=found: found)
        aligned = align(motion_of(driver), driver.shape[1:], "cover", PICTURE)
        assert message in aligned.notes[-1]
        assert np.array_equal(np.stack(list(aligned)), driver)


def test_a_motion_cut_off_at_the_knees_is_not_left_hanging(seen):
    whole = dancing(6)
    cut = whole[:, :150]
    person = replace(person_of(whole[0]), lengths_L=measure_skeleton(whole).lengths_L * 0.9)
    seen(lambda *_: person)
    aligned = align(motion_of(cut), (cut.shape[1], cut.shape[2]), "cover", PICTURE)
    assert all(parts_HW[-1].any() for parts_HW in aligned)
    seen(lambda *_: replace(person, lengths_L=person.lengths_L * 0.5))
    assert "shows less of the body" in align(motion_of(cut), cut.shape[1:], "cover", PICTURE).notes[-1]


def test_a_head_cut_off_by_the_edge_is_completed():
    whole = mannequin()
    rows = np.flatnonzero(np.isin(whole, (23, 24)).any(1))
    cut = whole[rows[0] + len(rows) // 2 :]
    longer = Extension(top=40, bottom=5)(cut)
    assert longer.shape[0] == cut.shape[0] + 45
    assert np.isin(longer[:40], (23, 24)).any()
    assert not longer[:5].any()
    assert np.array_equal(longer[-5:], np.repeat(cut[-1:], 5, 0))
    assert np.array_equal(longer[40:-5], cut)
    assert not Extension(top=40)(whole)[:40].any()  # nothing is added to a head that is whole
