"""Convert pose numbers to joint transforms: angles of a body, their limits, and forward kinematics.

A pose is P numbers: six for the turn of the pelvis (the first two columns of its rotation matrix), then one angle in
radians for each of `angles()`. Shape legend: F frames, J joints, P pose numbers, A angles, S points of the rig.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from magicanimate.body.rig import CARRIERS, JOINT_INDEX, JOINT_NAMES, PARENTS, BodyShape, body_shape

TURN = 6


@dataclass(frozen=True)
class Angle:
    """One angle: rotation of joints about an axis of the rest pose."""

    name: str
    joints: tuple[tuple[str, float], ...]  # joint, its share of the angle
    axis: tuple[float, float, float]
    low: float
    high: float
    spread: float  # how far from rest (or from `usual`) a body usually goes
    usual: float = 0.0


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _arm_axes(shape: BodyShape, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the axes along the upper arm, of the elbow's hinge (bent a little at rest), and along the lower arm."""
    upper = _unit(shape.point(f"lower_arm.{side}") - shape.point(f"upper_arm.{side}"))
    lower = _unit(shape.point(f"hand.{side}") - shape.point(f"lower_arm.{side}"))
    return upper, _unit(np.cross(upper, lower)), lower


def _limb_angles(shape: BodyShape, side: str) -> list[Angle]:
    s = 1.0 if side == "L" else -1.0
    upper, hinge, lower = (tuple(axis) for axis in _arm_axes(shape, side))
    across = tuple(_unit(np.cross(hinge, lower)))
    arm, elbow, hand = f"upper_arm.{side}", f"lower_arm.{side}", f"hand.{side}"
    thigh, shin, foot = f"thigh.{side}", f"shin.{side}", f"foot.{side}"
    x, y, z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    first = tuple(_unit(np.cross(upper, y)))  # with y and the arm itself, a frame of the shoulder
    return [
        Angle(f"shrug.{side}", ((f"clavicle.{side}", 1.0),), (0.0, -s, 0.0), -0.2, 0.6, 0.15),
        Angle(f"reach.{side}", ((f"clavicle.{side}", 1.0),), (0.0, 0.0, -s), -0.3, 0.5, 0.15),
        Angle(f"raise.{side}", ((arm, 1.0),), (0.0, -s, 0.0), -1.2, 2.4, 0.9),
        Angle(f"swing.{side}", ((arm, 1.0),), first, -2.6, 2.6, 0.9),
        Angle(f"turn_arm.{side}", ((arm, 1.0),), upper, -1.8, 1.8, 0.5),
        Angle(f"elbow.{side}", ((elbow, 1.0),), hinge, -0.8, 2.0, 1.0),
        Angle(f"turn_hand.{side}", ((elbow, 0.4), (hand, 0.6)), lower, -1.5, 1.5, 0.5),
        Angle(f"wrist.{side}", ((hand, 1.0),), hinge, -1.0, 1.0, 0.3),
        Angle(f"wrist_across.{side}", ((hand, 1.0),), across, -0.6, 0.6, 0.2),
        Angle(f"lift.{side}", ((thigh, 1.0),), (-1.0, 0.0, 0.0), -0.7, 2.3, 0.7),
        Angle(f"open.{side}", ((thigh, 1.0),), (0.0, -s, 0.0), -0.6, 1.2, 0.3),
        Angle(f"turn_leg.{side}", ((thigh, 1.0),), (0.0, 0.0, s), -0.7, 1.0, 0.25),
        Angle(f"knee.{side}", ((shin, 1.0),), x, -0.15, 2.5, 0.8),
        Angle(f"ankle.{side}", ((foot, 1.0),), x, -0.6, 0.9, 0.25),
        Angle(f"turn_foot.{side}", ((foot, 1.0),), z, -0.5, 0.5, 0.15),
    ]


@lru_cache(maxsize=1)
def angles() -> tuple[Angle, ...]:
    """Return all angles, in the order of the pose numbers after the turn."""
    trunk, head = (("spine", 0.5), ("chest", 0.5)), (("neck", 0.5), ("head", 0.5))
    x, y, z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    shape = body_shape({})
    return (
        Angle("bend", trunk, x, -0.6, 1.4, 0.25),
        Angle("side", trunk, y, -0.6, 0.6, 0.2),
        Angle("twist", trunk, z, -0.8, 0.8, 0.25),
        Angle("nod", head, x, -0.9, 0.9, 0.25),
        Angle("tilt", head, y, -0.7, 0.7, 0.2),
        Angle("look", head, z, -1.4, 1.4, 0.4),
        *_limb_angles(shape, "L"),
        *_limb_angles(shape, "R"),
    )


POSE_NUMBERS = TURN + 6 + 2 * 15


@lru_cache(maxsize=1)
@torch.inference_mode(False)  # what is kept may be differentiated later
def angle_map() -> Tensor:
    """Return [A, J, 3]: what each angle adds to the joints' rotation vectors."""
    out = torch.zeros(len(angles()), len(JOINT_NAMES), 3)
    for i, angle in enumerate(angles()):
        for joint, share in angle.joints:
            out[i, JOINT_INDEX[joint]] = share * torch.tensor(angle.axis, dtype=torch.float32)
    return out


@lru_cache(maxsize=1)
@torch.inference_mode(False)  # what is kept may be differentiated later
def limits() -> dict[str, Tensor]:
    """low, high, spread, usual: [A] each."""
    return {
        key: torch.tensor([getattr(angle, key) for angle in angles()]) for key in ("low", "high", "spread", "usual")
    }


def rotation_from_vector(v: Tensor) -> Tensor:
    """Convert rotation vectors [..., 3] to matrices [..., 3, 3] (Rodrigues)."""
    angle = (v.square().sum(-1) + 1e-12).sqrt()[..., None, None]
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3) + angle.sin() / angle * k + (1 - angle.cos()) / angle.square() * (k @ k)


def rotation_from_turn(turn_F6: Tensor) -> Tensor:
    """The rotation whose first two columns are closest to six numbers (Zhou et al. 2019). [F,6] -> [F,3,3]."""
    a = torch.nn.functional.normalize(turn_F6[:, :3], dim=-1)
    b = turn_F6[:, 3:] - (a * turn_F6[:, 3:]).sum(-1, keepdim=True) * a
    b = torch.nn.functional.normalize(b, dim=-1)
    return torch.stack([a, b, torch.linalg.cross(a, b)], -1)


def turn_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Take the first two columns of rotations [..., 3, 3] as [..., 6]."""
    return np.concatenate([rotation[..., :, 0], rotation[..., :, 1]], -1)


def joint_frames(pose_FP: Tensor, position_F3: Tensor, shape: BodyShape, stretch_J33: Tensor) -> tuple[Tensor, Tensor]:
    """Compute forward kinematics.

    Args:
        pose_FP: see the module.
        position_F3: where the pelvis is.
        shape: the rest pose.
        stretch_J33: see bones.stretches.

    Returns:
        rotations [F, J, 3, 3] and joint positions [F, J, 3].
    """
    vectors = torch.einsum("fa,ajk->fjk", pose_FP[:, TURN:], angle_map())
    local = rotation_from_vector(vectors)
    rest = torch.from_numpy(shape.joints)
    parents_J, generations, order_J = _tree()
    steps_J31 = stretch_J33[parents_J] @ (rest - rest[parents_J])[:, :, None]
    rotations, places = [rotation_from_turn(pose_FP[:, :TURN])[:, None]], [position_F3[:, None]]
    for joints, parents in generations:
        turned = rotations[-1].index_select(1, parents)
        places.append(places[-1].index_select(1, parents) + (turned @ steps_J31[joints]).squeeze(-1))
        rotations.append(turned @ local.index_select(1, joints))
    return torch.cat(rotations, 1).index_select(1, order_J), torch.cat(places, 1).index_select(1, order_J)


@lru_cache(maxsize=1)
@torch.inference_mode(False)  # what is kept may be differentiated later
def _tree() -> tuple[Tensor, list[tuple[Tensor, Tensor]], Tensor]:
    """Return the tree of joints, generation by generation.

    Returns:
        Each joint's parent [J], where the pelvis is its own; for every generation after the pelvis its joints, and the
        places of their parents in the one before; the place of each joint when generation follows generation [J].
    """
    parents = [JOINT_INDEX[PARENTS[name] or name] for name in JOINT_NAMES]
    generations = [[0]]
    while children := [j for j in range(1, len(parents)) if parents[j] in generations[-1]]:
        generations.append(children)
    found = [
        (torch.tensor(own), torch.tensor([before.index(parents[j]) for j in own]))
        for before, own in pairwise(generations)
    ]
    return torch.tensor(parents), found, torch.tensor([j for own in generations for j in own]).argsort()


@lru_cache(maxsize=1)
def _carriers() -> list[int]:
    return [JOINT_INDEX[joint] for joint in CARRIERS.values()]


def points(rotations_FJ33: Tensor, places_FJ3: Tensor, shape: BodyShape, stretch_J33: Tensor) -> Tensor:
    """Positions of POINT_NAMES. -> [F, S, 3]."""
    carriers = _carriers()
    rest = torch.from_numpy(shape.points)
    offsets = stretch_J33[carriers] @ (rest[len(JOINT_NAMES) :] - rest[carriers])[:, :, None]
    carried = (rotations_FJ33[:, carriers] @ offsets).squeeze(-1) + places_FJ3[:, carriers]
    return torch.cat([places_FJ3, carried], 1)


def skin_transforms(rotations_FJ33: Tensor, places_FJ3: Tensor, shape: BodyShape, stretch_J33: Tensor) -> Tensor:
    """Return the transforms of rest vertices to posed ones: [F, J, 3, 4]."""
    rest = torch.from_numpy(shape.joints)
    linear = rotations_FJ33 @ stretch_J33
    offset = places_FJ3 - (linear @ rest[:, :, None]).squeeze(-1)
    return torch.cat([linear, offset[..., None]], -1)
