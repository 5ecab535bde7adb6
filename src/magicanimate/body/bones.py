"""Differences of one person's body from the rest shape: sliders, lengths of bones, girths around them.

J joints, B bones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from magicanimate.body.rig import JOINT_INDEX, JOINT_NAMES, BodyShape, body_shape

_X, _Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Bone:
    """Joints that change alike. An axis is a direction of the rest shape or the joint at the bone's other end."""

    joints: tuple[str, ...]
    length: tuple[float, float, float] | str | None
    """Axis along which the bone is lengthened; None: in all directions alike."""
    girth: tuple[float, float, float] | str | None = None
    """Axis around which it grows thicker; None: not."""


def _both(*joints: str) -> tuple[str, ...]:
    return tuple(f"{joint}.{s}" for joint in joints for s in "LR")


BONES: dict[str, Bone] = {
    "hips": Bone(("pelvis",), _X, _Z),
    "trunk": Bone(("spine", "chest"), _Z, _Z),
    "shoulders": Bone(_both("clavicle"), _X),
    "neck": Bone(("neck",), _Z),
    "head": Bone(("head",), None),
    "upper_arms": Bone(_both("upper_arm"), "lower_arm", "lower_arm"),
    "lower_arms": Bone(_both("lower_arm"), "hand", "hand"),
    "hands": Bone(_both("hand", "fingers"), None),
    "thighs": Bone(_both("thigh"), "shin", "shin"),
    "shins": Bone(_both("shin"), "foot", "foot"),
    "feet": Bone(_both("foot"), None),
}
BONE_INDEX = {name: i for i, name in enumerate(BONES)}


@dataclass(frozen=True)
class Proportions:
    """Proportions of one person's body."""

    sliders: Mapping[str, float]
    """rig.SLIDERS."""
    lengths: np.ndarray
    """[B] float32, factors on the lengths of BONES."""
    girths: np.ndarray
    """[B] float32, factors on their thickness."""

    @cached_property
    def rest(self) -> BodyShape:
        """The rest shape before lengths and girths."""
        return body_shape(self.sliders)

    @classmethod
    def usual(cls) -> Proportions:
        """A body of middle shape."""
        return cls({"age": 2 / 3}, np.ones(len(BONES), np.float32), np.ones(len(BONES), np.float32))


def _outer(axis: tuple[float, float, float] | str, joint: str, rest: BodyShape) -> Tensor:
    """Return the projection onto an axis. [3,3]."""
    if isinstance(axis, str):
        toward = rest.point(f"{axis}.{joint[-1]}") - rest.point(joint)
        unit = torch.from_numpy(toward / np.linalg.norm(toward))
    else:
        unit = torch.tensor(axis)
    return unit[:, None] * unit[None]


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept may be differentiated later
def _axes(rest: BodyShape) -> tuple[Tensor, Tensor, Tensor]:
    """Return the bone of each joint [J], what lengthening adds to its map, and what growing thicker adds. [J,3,3]."""
    bones = [0] * len(JOINT_NAMES)
    along, around = torch.zeros(2, len(JOINT_NAMES), 3, 3)
    for i, bone in enumerate(BONES.values()):
        for joint in bone.joints:
            j = JOINT_INDEX[joint]
            bones[j] = i
            along[j] = torch.eye(3) if bone.length is None else _outer(bone.length, joint, rest)
            if bone.girth is not None:
                around[j] = torch.eye(3) - _outer(bone.girth, joint, rest)
    return torch.tensor(bones), along, around


def stretches(lengths_B: Tensor, rest: BodyShape, girths_B: Tensor | None = None) -> Tensor:
    """Linear maps of the joints' surroundings in the rest frame. -> [J,3,3].

    Without girths, as joints and points need it; with girths, for the skin.
    """
    bone_J, along_J33, around_J33 = _axes(rest)
    longer_J33 = torch.eye(3) + (lengths_B[bone_J] - 1)[:, None, None] * along_J33
    if girths_B is None:
        return longer_J33
    return longer_J33 @ (torch.eye(3) + (girths_B[bone_J] - 1)[:, None, None] * around_J33)
