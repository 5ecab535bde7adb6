"""A body that is slightly off is pulled back onto the outlines of its part maps, or of a mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magicanimate.body.bones import BONE_INDEX, Proportions
from magicanimate.body.draw import draw_motion
from magicanimate.body.kinematics import POSE_NUMBERS, TURN, limits
from magicanimate.body.motion import BodyMotion
from magicanimate.body.outline import refine_to_masks, refine_to_parts_outlines
from magicanimate.body.track import JOINT_SETS, Track

SIZE, FRAMES = (192, 144), 3


@pytest.fixture(scope="module")
def truth() -> BodyMotion:
    """Somebody with a thick trunk who stands before the camera, arms a little away from it."""
    pose = np.zeros((FRAMES, POSE_NUMBERS), np.float32)
    pose[:, [0, 4]] = 1
    pose[:, TURN:] = limits()["usual"].numpy()
    girths = Proportions.usual().girths.copy()
    girths[[BONE_INDEX["trunk"], BONE_INDEX["hips"]]] = 1.4
    shape = replace(Proportions.usual(), girths=girths)
    position = np.tile(np.float32([0, 4.2, 0]), (FRAMES, 1))
    return BodyMotion(shape, pose, position, 1.6 * SIZE[0], SIZE, 25.0, np.ones(FRAMES, bool))


@pytest.fixture(scope="module")
def maps(truth) -> list[np.ndarray]:
    return [drawn["parts"] for drawn in draw_motion(truth)]


def off(truth: BodyMotion) -> BodyMotion:
    """The same, thinner and a little aside."""
    position = truth.position_F3 + np.float32([0.03, 0, 0.02])
    return replace(truth, shape=Proportions.usual(), position_F3=position)


def overlap(body: BodyMotion, maps: list[np.ndarray]) -> float:
    """Mean intersection over union of whole bodies."""
    both = [(drawn["parts"] > 0, parts_HW > 0) for drawn, parts_HW in zip(draw_motion(body), maps, strict=True)]
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in both]))


def test_part_maps_pull_a_body_onto_their_outlines(truth, maps):
    start = off(truth)
    refined = refine_to_parts_outlines(start, maps)
    assert overlap(start, maps) < 0.86
    assert overlap(refined, maps) > 0.95
    assert refined.shape.girths[BONE_INDEX["trunk"]] > 1.1


def test_a_mask_does_too_and_joints_stay(truth, maps):
    start = replace(off(truth), position_F3=truth.position_F3)
    masks = [parts_HW > 0 for parts_HW in maps]
    points = np.zeros((FRAMES, 33, 3), np.float32)
    track = Track(points, JOINT_SETS["mediapipe33"], SIZE, 25.0, masks=lambda frame: masks[frame])
    refined = refine_to_masks(start, track)
    assert overlap(refined, maps) > overlap(start, maps) + 0.03
    away = np.abs(refined.project(refined.points()) - truth.project(truth.points()))
    assert np.median(away) < 0.01 * SIZE[0]
    without = Track(points, JOINT_SETS["mediapipe33"], SIZE, 25.0)
    assert refine_to_masks(start, without) is start
