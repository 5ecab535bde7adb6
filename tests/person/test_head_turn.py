"""Heads turn freely near the picture's own direction, less beyond it, and follow a back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from magicanimate.body.bones import Proportions
from magicanimate.body.kinematics import POSE_NUMBERS, TURN, limits
from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import JOINT_INDEX
from magicanimate.person.head_turn import calm_heads


def standing(turns: list[float]) -> BodyMotion:
    """One frame for each turn of the whole body about the vertical, degrees."""
    pose = np.zeros((len(turns), POSE_NUMBERS), np.float32)
    matrices = Rotation.from_rotvec(np.outer(np.radians(turns), [0, 0, 1])).as_matrix()
    pose[:, :TURN] = matrices[:, :, :2].swapaxes(1, 2).reshape(-1, TURN)
    pose[:, TURN:] = limits()["usual"].numpy()
    position = np.tile(np.float32([0, 4, 0]), (len(turns), 1))
    return BodyMotion(Proportions.usual(), pose, position, 400.0, (256, 256), 25.0, np.ones(len(turns), bool))


def turned(transforms_FJ34: np.ndarray, picture: BodyMotion) -> np.ndarray:
    """Turns of the head against the picture's, degrees. [F]."""
    head = JOINT_INDEX["head"]
    own = picture.transforms()[0, head, :, :3]
    return np.degrees(Rotation.from_matrix(transforms_FJ34[:, head, :, :3] @ np.linalg.inv(own)).magnitude())


def test_heads_turn_less_beyond_what_the_picture_shows():
    motion, picture = standing([0, 20, 75, 180]), standing([0])
    calmed = turned(calm_heads(motion, picture), picture)
    assert turned(motion.transforms(), picture) == pytest.approx([0, 20, 75, 180], abs=0.5)
    assert calmed == pytest.approx([0, 20, 42, 180], abs=0.5)


def test_the_head_stays_on_its_neck_and_all_else_where_it_is():
    motion, picture = standing([75]), standing([0])
    before, after = motion.transforms()[0], calm_heads(motion, picture)[0]
    head = JOINT_INDEX["head"]
    joint = np.append(motion.shape.rest.point("head"), 1)
    assert before[head] @ joint == pytest.approx(after[head] @ joint, abs=1e-4)
    others = np.arange(len(before)) != head
    assert np.array_equal(before[others], after[others])
    assert not np.allclose(before[head], after[head], atol=0.05)
