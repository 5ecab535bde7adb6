"""The stored rig, its surface, and what a person's proportions do to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from magicanimate.body.bones import BONE_INDEX, Proportions, stretches
from magicanimate.body.kinematics import (
    POSE_NUMBERS,
    TURN,
    angles,
    joint_frames,
    limits,
    points,
    rotation_from_turn,
    rotation_from_vector,
    turn_from_rotation,
)
from magicanimate.body.rig import JOINT_INDEX, POINT_INDEX, POINT_NAMES, RIG_FILE, body_shape, rig
from magicanimate.body.template import REGION_PARTS, template


def posed(changes: dict[str, float] | None = None, shape: Proportions | None = None) -> dict[str, np.ndarray]:
    """Points of a body that faces the camera at the origin, with some angles set."""
    shape = shape or Proportions.usual()
    pose = torch.zeros(1, POSE_NUMBERS)
    pose[0, [0, 4]] = 1
    names = [angle.name for angle in angles()]
    for name, value in (changes or {}).items():
        pose[0, TURN + names.index(name)] = value
    stretch = stretches(torch.from_numpy(shape.lengths), shape.rest)
    frames = joint_frames(pose, torch.zeros(1, 3), shape.rest, stretch)
    at = points(*frames, shape.rest, stretch)[0].numpy()
    return dict(zip(POINT_NAMES, at, strict=True))


def test_the_rig_is_small_and_whole():
    assert RIG_FILE.stat().st_size < 1.6e6
    stored = rig()
    assert np.allclose(stored.joint_weights.sum(1), 1, atol=1e-5)
    assert np.allclose(stored.region_weights.sum(1), 1, atol=1e-5)
    assert stored.quads.max() == len(stored.eyeball) - 1
    assert stored.eyeball.sum() == 144  # two eyeballs


def test_left_and_right_mirror_each_other():
    shape = body_shape({"gender": 0.8, "weight": 0.3})
    for name in POINT_NAMES:
        other = name.replace(".L", ".X").replace(".R", ".L").replace(".X", ".R")
        assert np.allclose(shape.point(name), shape.point(other) * [-1, 1, 1], atol=2e-3), name
    assert shape.point("hand.L")[0] > 0.2  # x is the person's left


@pytest.mark.parametrize("slider", ["gender", "age", "muscle", "weight", "height", "proportions"])
def test_sliders_change_the_shape_and_stop_at_their_ends(slider):
    low, middle, high, beyond = (body_shape({slider: v}).vertices for v in (0.4, 0.5, 1.0, 3.0))
    assert np.abs(high - middle).max() > 2e-3
    assert np.abs(low - middle).max() > 5e-4
    assert np.array_equal(high, beyond)


def test_front_and_back_and_sides_have_their_parts():
    body, shape = template(), body_shape({})
    torso = body.region_weights.argmax(1) == 0
    assert (body.split[torso & (shape.normals[:, 1] < -0.9), 0] > 0).mean() > 0.95
    assert (body.split[torso & (shape.normals[:, 1] > 0.9), 0] < 0).mean() > 0.95
    assert REGION_PARTS["foot.L"] == (5, 5)  # feet are left first, hands right first
    assert REGION_PARTS["hand.R"] == (3, 3)


def test_no_angles_is_the_rest_pose():
    shape = Proportions.usual()
    rest = shape.rest.points - shape.rest.point("pelvis")
    assert np.allclose(np.stack(list(posed().values())), rest, atol=1e-5)
    assert not np.allclose(np.stack(list(posed({"elbow.L": 0.5}).values())), rest, atol=1e-2)


@pytest.mark.parametrize(
    ("angle", "point", "axis", "sign"),
    [
        ("raise.L", "hand.L", 2, 1), ("raise.R", "hand.R", 2, 1),
        ("elbow.L", "hand.L", 1, -1), ("elbow.R", "hand.R", 1, -1),
        ("lift.L", "shin.L", 1, -1), ("lift.R", "shin.R", 1, -1),
        ("knee.L", "foot.L", 1, 1), ("knee.R", "foot.R", 1, 1),
        ("open.L", "foot.L", 0, 1), ("open.R", "foot.R", 0, -1),
        ("bend", "nose", 1, -1), ("nod", "nose", 2, -1), ("look", "nose", 0, 1),
    ],
)  # fmt: skip
def test_angles_move_joints_the_way_their_names_say(angle, point, axis, sign):
    moved = posed({angle: 0.4})[point] - posed()[point]
    assert sign * moved[axis] > 0.01


def test_angles_turn_about_their_axes_and_have_room():
    bounds = limits()
    assert len(angles()) + TURN == POSE_NUMBERS
    assert bool((bounds["low"] < bounds["usual"]).all())
    assert bool((bounds["usual"] < bounds["high"]).all())
    for angle in angles():
        assert np.linalg.norm(angle.axis) == pytest.approx(1, abs=1e-5), angle.name


def test_rotations_are_rotations():
    rng = np.random.default_rng(0)
    some = rotation_from_vector(torch.from_numpy(rng.normal(size=(20, 3)).astype(np.float32)))
    assert torch.allclose(some @ some.mT, torch.eye(3).expand(20, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(some), torch.ones(20), atol=1e-5)
    again = rotation_from_turn(torch.from_numpy(turn_from_rotation(some.numpy())))
    assert torch.allclose(again, some, atol=1e-5)
    assert torch.allclose(rotation_from_vector(torch.zeros(1, 3))[0], torch.eye(3))


def test_lengths_reach_the_joints_and_girths_do_not():
    usual = Proportions.usual()
    lengths, girths = usual.lengths.copy(), usual.girths.copy()
    lengths[BONE_INDEX["shins"]] = 1.2
    girths[BONE_INDEX["shins"]] = 1.2
    plain, long, thick = (
        posed(shape=s) for s in (usual, replace(usual, lengths=lengths), replace(usual, girths=girths))
    )

    def shin(at: dict[str, np.ndarray]) -> float:
        return float(np.linalg.norm(at["foot.L"] - at["shin.L"]))

    assert shin(long) == pytest.approx(1.2 * shin(plain), rel=1e-5)
    assert shin(thick) == shin(plain)
    skin = stretches(torch.from_numpy(usual.lengths), usual.rest, torch.from_numpy(girths))[JOINT_INDEX["shin.L"]]
    along = usual.rest.point("foot.L") - usual.rest.point("shin.L")
    assert np.allclose(skin.numpy() @ along, along, atol=1e-6)
    assert np.linalg.det(skin.numpy()) == pytest.approx(1.2**2, rel=1e-5)
    assert POINT_INDEX["pelvis"] == 0
