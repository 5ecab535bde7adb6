"""Tracks: where the joints of one person are in each frame of a video, whatever found them.

Shape legend: F frames, J joints of the track, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from magicanimate.body.smoothing import runs

_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_PAIRS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def _both(*names: str) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for name in names for side in ("left", "right"))


def _arms_and_legs(*names: str) -> tuple[str, ...]:
    """OpenPose's order: a whole limb of the right side, then of the left."""
    return tuple(f"{side}_{name}" for side in ("right", "left") for name in names)


JOINT_SETS: dict[str, tuple[str, ...]] = {
    "mediapipe33": (
        "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
        "left_ear", "right_ear", *_both("mouth", "shoulder", "elbow", "wrist", "pinky", "index", "thumb", "hip",
                                        "knee", "ankle", "heel", "foot_index"),
    ),
    "coco17": (*_FACE, *_both(*_PAIRS)),
    "halpe26": (
        *_FACE, *_both(*_PAIRS), "crown", "neck", "mid_hip", *_both("big_toe", "small_toe", "heel"),
    ),
    "openpose18": (
        "nose", "neck", *_arms_and_legs("shoulder", "elbow", "wrist"), *_arms_and_legs("hip", "knee", "ankle"),
        "right_eye", "left_eye", "right_ear", "left_ear",
    ),
    "openpose25": (
        "nose", "neck", *_arms_and_legs("shoulder", "elbow", "wrist"), "mid_hip",
        *_arms_and_legs("hip", "knee", "ankle"), "right_eye", "left_eye", "right_ear", "left_ear",
        "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    ),
}  # fmt: skip
"""Joint names in the order of the usual formats. Left and right are the person's. The first 17 of COCO-WholeBody are
coco17; its feet follow as left_big_toe, left_small_toe, left_heel and the same for right."""

# name in a track -> point of the rig (body/rig.py POINT_NAMES); other names are carried along and not fitted
RIG_POINTS: dict[str, str] = {
    "nose": "nose", "neck": "neck", "head": "head", "chest": "chest", "spine": "spine", "mid_hip": "pelvis",
    **{
        f"{side}_{name}": f"{point}.{s}"
        for side, s in (("left", "L"), ("right", "R"))
        for name, point in (
            ("eye", "eye"), ("ear", "ear"), ("shoulder", "shoulder"), ("elbow", "lower_arm"), ("wrist", "hand"),
            ("pinky", "pinky"), ("index", "index"), ("thumb", "thumb"), ("hip", "thigh"), ("knee", "shin"),
            ("ankle", "ankle"), ("heel", "heel"), ("toe", "toe"), ("big_toe", "toe"), ("foot_index", "toe"),
        )
    },
}  # fmt: skip


@dataclass
class Track:
    """One person's joints over time."""

    points_FJ3: np.ndarray
    """[F, J, 3] float32: x, y in pixels of `size`, and the confidence 0..1; 0 everywhere where nobody was seen."""
    names: tuple[str, ...]
    """[J] joint names; those of RIG_POINTS are used by the fit. See JOINT_SETS."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    fps: float
    world_FJ3: np.ndarray | None = None
    """[F, J, 3] float32 meters, x to the right, y away from the camera, z up; any origin. None: only the picture."""
    masks: Callable[[int], np.ndarray | None] | None = field(default=None, repr=False)
    """Frame index -> [H, W] bool, the person; None where there is none. H W may be smaller than `size`."""

    cuts: tuple[int, ...] = ()
    """Frames that begin a new shot: nothing moves from the frame before to them."""

    def __len__(self) -> int:
        return len(self.points_FJ3)

    @property
    def shots(self) -> list[slice]:
        """The stretches between cuts."""
        edges = [0, *self.cuts, len(self)]
        return [slice(begin, end) for begin, end in pairwise(edges)]

    @property
    def runs(self) -> list[slice]:
        """The stretches of consecutive frames with a person, within a shot."""
        seen_F = self.seen_F
        return [
            slice(shot.start + run.start, shot.start + run.stop) for shot in self.shots for run in runs(seen_F[shot])
        ]

    @property
    def seen_F(self) -> np.ndarray:
        """[F] bool: frames with a person."""
        return np.any(self.points_FJ3[..., 2] > 0, axis=1)
