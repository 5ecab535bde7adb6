"""Cutting, cropping and measuring, on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from magicanimate.data.prepare.cutting import find_cuts, plan_windows, stretches
from magicanimate.data.prepare.measures import agreement, box_of, movement, sharpness, square_around


def test_a_sudden_change_is_a_cut_and_steady_change_is_not():
    calm = np.full(20, 3.0)
    cut = calm.copy()
    cut[7] = 60
    assert find_cuts(cut, 24) == [7]
    assert find_cuts(cut, 70) == []
    assert find_cuts(np.full(20, 60.0), 24) == []  # a shaking camera
    assert find_cuts(calm, 24) == []


@given(st.integers(1, 60), st.lists(st.integers(1, 59), unique=True), st.integers(1, 20))
def test_stretches_cover_everything_and_cross_no_cut(count, cuts, longest):
    cuts = sorted(cut for cut in cuts if cut < count)
    found = list(stretches(count, cuts, longest))
    assert [frame for stretch in found for frame in stretch] == list(range(count))
    assert max(map(len, found)) <= longest
    assert all(stretch.start >= cut or stretch.stop <= cut for stretch in found for cut in cuts)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 12), st.integers(0, 20), st.integers(0, 9))
def test_windows_are_disjoint_runs_with_a_reference_outside_that_shows_the_person(seen, length, gap, seed):
    seen_F = np.array(seen)
    windows = plan_windows(seen_F, length, gap, np.random.default_rng(seed))
    taken = [frame for window in windows for frame in window.run]
    assert len(set(taken)) == len(taken) == length * len(windows)
    assert all(0 <= frame < len(seen) for frame in taken)
    assert bool(windows) == (len(seen) > length)
    for window in windows:
        outside = [f for f in range(len(seen)) if seen[f] and f not in window.run]
        if window.reference is None:
            assert not outside
            continue
        assert window.reference in outside

        def away(f, run=window.run):
            return max(run.start - f, f - run[-1])

        assert away(window.reference) >= min(gap, max(map(away, outside)))


def test_the_reference_keeps_its_distance_where_there_is_room():
    windows = plan_windows(np.ones(40, bool), 8, 12, np.random.default_rng(0))
    assert len(windows) == 5
    assert all(max(w.start - w.reference, w.reference - w.run[-1]) >= 12 for w in windows)


boxes = st.tuples(st.integers(0, 90), st.integers(0, 50), st.integers(1, 60), st.integers(1, 60)).map(
    lambda b: (b[0], b[1], min(b[0] + b[2], 100), min(b[1] + b[3], 60))
)


@given(st.lists(boxes, min_size=1, max_size=5))
def test_one_square_holds_everybody_and_stays_inside_if_it_can(found):
    crop = square_around(np.array(found, float), (60, 100))
    for left, top, right, bottom in found:
        assert crop.left <= left
        assert crop.top <= top
        assert crop.left + crop.side >= right
        assert crop.top + crop.side >= bottom
    assert (crop.padding((60, 100)) == 0) == (crop.side <= 60)


@pytest.mark.parametrize("box", [(20, 10, 44, 40), (2, 1, 98, 59)])
def test_picture_and_control_are_cropped_alike(box):
    """The second square is larger than the frame, so that both have margins."""
    frame = (60, 100)
    parts_HW = np.zeros(frame, np.uint8)
    parts_HW[box[1] : box[3], box[0] : box[2]] = 7
    parts_HW[box[1] : (box[1] + box[3]) // 2, box[0] : (box[0] + box[2]) // 2] = 0  # an L, unlike its mirror image
    picture_HWC = np.where(parts_HW[..., None] > 0, 250, 10).repeat(3, -1).astype(np.uint8)
    crop = square_around(np.array([box], float), frame)
    picture, control = crop.picture(picture_HWC, 64)[..., 0] > 130, crop.control(parts_HW, frame, 64) > 0
    assert control.sum() > 500
    assert (picture != control).mean() < 0.06 * control.mean() + 0.02
    assert (picture != control[:, ::-1]).mean() > 0.1
    shown = crop.control(np.stack([parts_HW] * 3, -1), frame, 64)
    assert (shown[..., 1] == crop.control(parts_HW, frame, 64)).all()


def test_padding_is_what_lies_outside():
    crop = square_around(np.array([[0.0, 0.0, 100.0, 60.0]]), (60, 100))
    assert crop.padding((60, 100)) == pytest.approx(1 - 60 * 100 / crop.side**2)
    control = crop.control(np.full((60, 100), 9, np.uint8), (60, 100), 50)
    assert (control == 0).mean() == pytest.approx(crop.padding((60, 100)), abs=0.05)


def test_blur_lowers_sharpness_and_light_does_not():
    rng = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(rng.integers(0, 200, (32, 32, 3), np.uint8)).resize((96, 96)))
    person = np.zeros((96, 96), bool)
    person[20:70, 30:60] = True
    values = [
        sharpness(np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(r))), person) for r in (0, 1, 2, 4)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[2]
    assert sharpness(image // 2, person) == pytest.approx(values[0], rel=0.05)
    assert sharpness(np.full_like(image, 9), person) == 0
    assert sharpness(image, np.zeros_like(person)) == 0


def test_movement_counts_changing_parts():
    parts = np.zeros((3, 20, 20), np.uint8)
    parts[:, 5:15, 5:15] = 2
    assert movement(parts, 10) == 0
    parts[1, 5:15, 5:10] = 3  # half of the person, there and back again
    assert movement(parts, 10) == pytest.approx(5)
    assert movement(parts[:1], 10) == 0


def test_agreement_and_boxes():
    parts = np.zeros((40, 40), np.uint8)
    parts[10:30, 10:20] = 5
    outline = np.zeros((20, 20), bool)
    outline[5:15, 5:10] = True
    assert agreement(parts, outline) == 1
    assert agreement(parts, outline[:, ::-1]) == 0
    assert box_of(outline, (40, 40)).tolist() == [10, 10, 20, 30]
    assert box_of(np.zeros((4, 4), bool), (40, 40)) is None
