"""The warp: pixels follow their part."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.parts.densepose import LOOSE, with_loose
from magicanimate.train.limbs import measure_areas, sources_of
from magicanimate.train.part_warp import KNOWN, STAND_IN, UNKNOWN, PartWarp, fill_background

SIZE = 64


def person(shift: int = 0, arm: int = 19) -> np.ndarray:
    """A trunk, a head above it, and an arm to its right at a height of its own."""
    parts = np.zeros((SIZE, SIZE), np.uint8)
    parts[24:46, 22:36] = 2
    parts[10:22, 24:34] = 23
    parts[26 + shift : 32 + shift, 38:58] = arm
    return parts


def picture(parts: np.ndarray, seed: int = 0) -> np.ndarray:
    """Paint each part in a color of its own, before a gray background."""
    colors = np.random.default_rng(seed).integers(0, 255, (25, 3)).astype(np.uint8)
    colors[0] = 128
    return colors[parts]


def test_the_same_pose_gives_the_same_picture():
    parts = person()
    reference = picture(parts)
    out = PartWarp(reference, parts)(parts)
    assert (out.picture_HWC == reference).all()
    assert (out.known_HW[parts > 0] == KNOWN).all()
    assert (PartWarp(picture(parts, 1), parts)(parts).picture_HWC != reference).any()


def test_a_moved_part_takes_its_color_along_and_leaves_background():
    before, after = person(), person(shift=12)
    out = PartWarp(picture(before), before)(after).picture_HWC
    assert (out[after == 19] == picture(before)[before == 19][0]).all()
    assert (out[(before == 19) & (after == 0)] == 128).all()


def test_texture_is_turned_with_the_part():
    """An arm that is light at its far end stays so when it hangs down instead."""
    before = np.zeros((SIZE, SIZE), np.uint8)
    before[24:46, 22:36], before[26:32, 38:58] = 2, 19
    reference = picture(before)
    reference[26:32, 38:48], reference[26:32, 48:58] = 0, 255
    after = np.zeros_like(before)
    after[24:40, 22:36], after[40:60, 38:44] = 2, 19
    out = PartWarp(reference, before)(after).picture_HWC.astype(int)
    assert out[40:46, 38:44].mean() < 60
    assert out[54:60, 38:44].mean() > 195


def hanging(forearm: slice | None) -> np.ndarray:
    """A trunk, and beside it an upper arm whose center is a little above the trunk's, with a forearm or without."""
    parts = np.zeros((SIZE, SIZE), np.uint8)
    parts[14:46, 22:36], parts[12:44, 38:44] = 2, 16
    if forearm:
        parts[forearm, 38:44] = 20
    return parts


@pytest.mark.parametrize(
    ("forearm", "right"), [(slice(44, 60), True), (slice(2, 12), False), (slice(9, 12), False), (None, False)]
)
def test_an_arm_lies_along_its_limb_and_not_away_from_the_trunk(forearm, right):
    """A sleeve is at the shoulder when the arm hangs down, too, if a forearm is seen below it."""
    before = np.zeros((SIZE, SIZE), np.uint8)
    before[14:46, 22:36], before[16:22, 38:54], before[16:22, 54:64] = 2, 16, 20
    reference = picture(before)
    reference[16:22, 38:46], reference[16:22, 46:54] = 255, 0  # sleeve, and bare arm
    after = hanging(forearm)
    out = PartWarp(reference, before)(after).picture_HWC
    assert (out[14:24, 38:44] == 255).all() == right
    assert (out[32:42, 38:44] == 0).all() == right


def test_stray_pixels_of_a_limb_say_nothing_about_its_direction():
    arm = hanging(slice(44, 60))
    stray = arm.copy()
    stray[44:60, 38:44], stray[44:47, 38:43] = 0, 20  # below, where the forearm was: 15 pixels beside 192
    alone = hanging(None)
    axes = [measure_areas(parts).axes_P22[16, :, 0] for parts in (arm, stray, alone)]
    np.testing.assert_allclose(axes[0], [0, 1], atol=1e-6)
    np.testing.assert_allclose(axes[1], axes[2])
    np.testing.assert_allclose(axes[1], [0, -1], atol=1e-6)


def test_a_hidden_part_takes_the_other_side_of_its_limb():
    before, after = person(arm=19), person(arm=21)
    out, known = PartWarp(picture(before), before)(after)
    assert (out[after == 21] == picture(before)[before == 19][0]).all()
    assert (known[after == 21] == STAND_IN).all()
    assert (known[after == 2] == KNOWN).all()
    other_arm = person(arm=20)
    out, known = PartWarp(picture(before), before)(other_arm)
    assert (out[other_arm == 20] == picture(before)[before == 19][0]).all()
    assert (known[other_arm == 20] == STAND_IN).all()
    assert sources_of(19) == [19, 20]
    assert sources_of(2) == [2, 1]


def test_a_head_that_turns_keeps_its_face_in_one_piece():
    """Two halves, of which the left one shrinks: a line across stays a line, and a mark on the middle moves."""
    before, after = person(), person()
    before[10:22, 29:34], after[10:22, 27:34] = 24, 24
    reference = picture(before)
    reference[14:16, 24:34] = 255
    reference[17:20, 28:30] = 99
    out, known = PartWarp(reference, before)(after)
    assert (out[14:16, 24:34] == 255).all()
    marked = np.flatnonzero((out[18, 24:34] == 99).all(-1)) + 24
    assert 27 in marked
    assert 29 not in marked, "the mark has moved along"
    still = PartWarp(reference, before)(before)[0]
    assert (still[18, 28:30] == 99).all()  # negative control: the same seam, the same place
    assert (known[12:20, 31:34] == KNOWN).all()


def test_a_head_from_behind_is_a_guess():
    """Unless the trunk is seen from the front: then the halves of the map have each other's names."""
    before, mirrored = person(), person()
    before[10:22, 29:34] = 24
    mirrored[10:22, 24:29], mirrored[10:22, 29:34] = 24, 23
    behind = np.where(mirrored == 2, 1, mirrored)
    warp = PartWarp(picture(before), before)
    middle = slice(12, 20), slice(27, 31)
    assert (warp(behind).known_HW[middle] == UNKNOWN).mean() > 0.5
    assert (warp(before).known_HW[middle] == KNOWN).all()
    assert (warp(mirrored).known_HW[middle] == STAND_IN).all()


def test_a_trunk_stays_upright_whichever_side_is_longer():
    before = np.zeros((SIZE, SIZE), np.uint8)
    before[10:20, 26:36], before[22:46, 24:38] = 23, 2
    reference = picture(before)
    reference[22:30, 24:38] = 255  # the chest
    after = np.zeros_like(before)
    after[20:30, 26:36], after[32:44, 18:44] = 23, 2  # wider than high: cut off at the waist
    out = PartWarp(reference, before)(after).picture_HWC
    assert (out[32:35, 20:42] == 255).all()
    assert (out[41:44, 20:42] != 255).all()


def test_an_arm_before_the_trunk_does_not_move_what_is_on_it():
    before, after = person(), person()
    reference = picture(before)
    reference[40:46, 22:36] = 255  # a belt
    after[26:36, 26:31] = 4  # a hand on the chest, with trunk all around it
    alone, covered = (PartWarp(reference, before)(parts).picture_HWC for parts in (before, after))
    assert (covered[after == 2] == alone[after == 2]).all()
    after[after == 4] = 0  # a hole is no hand
    assert (PartWarp(reference, before)(after).picture_HWC[after == 2] != alone[after == 2]).any()


@pytest.mark.parametrize(("soft", "left"), [(0, False), (1, False), (3, True)])
def test_an_arm_leaves_none_of_its_edge_on_the_trunk(soft, left):
    """An arm's colors reach farther than its part. What reaches farther than edges do stays."""
    before, after = person(), person(shift=12)
    before[26:32, 38:58], before[30:36, 26:40] = 0, 19
    reference = picture(before)
    arm, trunk = reference[32, 30].copy(), reference[45, 30].copy()
    reference[30 - soft : 36 + soft, 26:36] = arm
    out = PartWarp(reference, before)(after).picture_HWC
    assert (out[after == 2] == arm).all(-1).any() == left
    assert (out[after == 2] == trunk).all(-1).mean() > 0.6
    assert (out[after == 19] == arm).all(-1).all()


def test_heads_and_what_arms_cover_nearly_are_taken_up_to_the_arm():
    before = person()
    before[26:32, 38:58], before[14:18, 28:34] = 0, 4  # a hand before the face
    reference = picture(before)
    reference[13, 28:34] = 200
    out = PartWarp(reference, before)(before).picture_HWC
    assert (out[13, 28:34] == 200).all()
    thin = person()
    thin[24:46, 23:36] = 19  # a trunk of one column, beside an arm
    assert (PartWarp(picture(thin), thin)(thin).picture_HWC == picture(thin)).all()


def test_only_what_belongs_to_somebody_is_filled():
    parts = person()
    seen = parts > 0
    seen[32:35, 38:58] = True  # a sleeve below the arm
    reference = picture(parts)
    reference[32:35, 38:58] = 255
    own = with_loose(parts, seen)
    assert set(np.unique(own)) == {0, 2, 19, 23, LOOSE}
    assert (fill_background(reference, own).picture_HWC == 128).all()
    assert (fill_background(reference, parts).picture_HWC != 128).any(), "a sleeve that is not known stays"
    assert not with_loose(parts, np.zeros_like(seen)).any(), "no parts where nobody is seen"


def test_background_is_filled_from_outside_the_person():
    parts = person()
    filled, known = fill_background(picture(parts), parts)
    assert (filled == 128).all()
    assert set(np.unique(known)) == {UNKNOWN, KNOWN}
    assert (known[parts > 0] == UNKNOWN).all()
    two_sided = picture(parts)
    two_sided[:, :32] = 0
    soft = fill_background(two_sided, (np.arange(SIZE) // 16 % 3 > 0) * np.ones((SIZE, 1), np.uint8)).picture_HWC
    assert np.abs(np.diff(soft[:, 16:48].astype(int), axis=1)).max() < 100, "no seam where two sides meet"
    nobody = np.zeros_like(parts)
    assert (fill_background(picture(parts), nobody).picture_HWC == picture(parts)).all()


def test_small_areas_have_no_direction():
    parts = np.zeros((SIZE, SIZE), np.uint8)
    parts[0, :3], parts[20:22, 10:40] = 5, 6
    areas = measure_areas(parts)
    assert not areas.present_P[5]
    assert areas.present_P[6]
    assert abs(areas.axes_P22[6, 0, 0]) > 0.99


def test_nobody_at_either_end():
    parts, nobody = person(), np.zeros((SIZE, SIZE), np.uint8)
    assert (PartWarp(picture(parts), parts)(nobody).picture_HWC == 128).all()
    out = PartWarp(picture(parts), nobody)(parts)
    assert (out.picture_HWC == picture(parts)).all(), "nothing to take: the picture stays"
