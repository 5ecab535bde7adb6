"""Part maps with other proportions: joined, steady, and unchanged where nothing differs."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.motion.placing.align import SAME
from magicanimate.motion.placing.retarget import Similarity, retarget
from magicanimate.parts.fit import fit_parts
from magicanimate.parts.skeleton import GROUP_OF_PART, JOINT, LENGTHS, find_joints, measure_skeleton
from mannequin import SIZE, dancing, mannequin

HERE = Similarity(1.0, (0.0, 0.0))


def changed(parts_HW, base=HERE, on_feet=False, **ratios):
    names = {name.replace("_", " "): ratio for name, ratio in ratios.items()}
    return retarget(parts_HW, find_joints(parts_HW)[0], base, SAME | names, SIZE, on_feet)


def length(parts_HW, name: str) -> float:
    return float(find_joints(parts_HW)[1][LENGTHS.index(name)])


def test_without_a_difference_maps_are_placed_and_nothing_else():
    figure = mannequin()
    base = Similarity(0.8, (12.5, 20.25))
    assert np.array_equal(changed(figure), figure)
    assert np.array_equal(changed(figure, base), fit_parts(figure, base.placement(SIZE)))
    assert not np.array_equal(changed(figure, base), figure)


@pytest.mark.parametrize("ratio", [0.75, 0.9, 1.2, 1.3])
@pytest.mark.parametrize("name", ["upper arm", "lower arm", "upper leg", "lower leg", "torso", "head"])
def test_a_length_changes_by_its_ratio_and_the_others_stay(name, ratio):
    figure = mannequin(0.7, 0.4, 0.15, scale=0.7)
    moved = changed(figure, **{name.replace(" ", "_"): ratio})
    assert length(moved, name) == pytest.approx(ratio * length(figure, name), rel=0.06, abs=2.8)
    for other in ("head", "torso", "upper arm", "lower arm", "upper leg", "lower leg"):
        if other != name:
            assert length(moved, other) == pytest.approx(length(figure, other), rel=0.06, abs=2.8)


@pytest.mark.parametrize(
    "ratios", [{"upper_leg": 0.8, "lower_leg": 1.2}, {"torso": 1.25, "upper_arm": 0.75}, {"width": 1.3}]
)
def test_no_gap_opens_at_the_joints_and_no_label_is_lost(ratios):
    for figure in dancing(5, scale=0.7):
        moved = changed(figure, **ratios)
        assert set(np.unique(moved)) == set(np.unique(figure))
        assert pieces(moved > 0) <= pieces(figure > 0)


def pieces(mask_HW) -> int:
    """Connected regions larger than a few pixels."""
    count, left = 0, mask_HW.copy()
    while left.any():
        region = np.zeros_like(left)
        region.flat[np.argmax(left)] = True
        size = 0
        while region.sum() > size:
            size = region.sum()
            grown = np.pad(region, 1)
            region = (grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | region) & left
        count += size > 4
        left &= ~region
    return count


def test_pieces_are_counted():
    two = np.zeros((20, 20), bool)
    two[2:6, 2:6] = two[10:14, 10:14] = True
    assert pieces(two) == 2


def test_standing_figures_keep_their_feet_and_others_their_neck():
    figure = mannequin()
    feet = np.flatnonzero(np.isin(figure, (5, 6)).any(1)).max()
    stands, hangs = (changed(figure, on_feet=on_feet, upper_leg=0.8, lower_leg=0.8) for on_feet in (True, False))
    assert abs(np.flatnonzero(np.isin(stands, (5, 6)).any(1)).max() - feet) <= 2
    assert abs(np.flatnonzero(np.isin(hangs, (5, 6)).any(1)).max() - feet) > 5
    neck = find_joints(figure)[0][JOINT["neck"], 1]
    assert find_joints(hangs)[0][JOINT["neck"], 1] == pytest.approx(neck, abs=1)


def test_what_moves_evenly_still_moves_evenly():
    original = dancing(24, scale=0.7)
    skeleton = measure_skeleton(original)
    ratios = SAME | {"upper leg": 0.85, "lower leg": 0.85, "torso": 1.15}
    moved = [retarget(p, j, HERE, ratios, SIZE, True) for p, j in zip(original, skeleton.joints_FJ2, strict=True)]

    def flicker(maps) -> float:
        a, b, c = np.stack(maps)[:-2], np.stack(maps)[1:-1], np.stack(maps)[2:]
        return float(((a == c) & (a != b)).sum() / (b > 0).sum())

    assert flicker(moved) < 1.5 * flicker(original) + 0.005


def test_hidden_limbs_and_empty_maps_do_no_harm():
    figure = mannequin()
    for hidden in ((15, 17), (10,), (2,), (23,)):
        partly = np.where(np.isin(figure, hidden), 0, figure).astype(np.uint8)
        moved = changed(partly, upper_arm=0.8, torso=1.2, upper_leg=1.2)
        assert set(np.unique(moved)) == set(np.unique(partly))
    assert not changed(np.zeros(SIZE, np.uint8), torso=1.2).any()


def test_every_part_belongs_to_a_group():
    assert GROUP_OF_PART[0] == -1
    assert (GROUP_OF_PART[1:] >= 0).all()
