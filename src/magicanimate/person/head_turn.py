"""Keeps heads from turning much farther than the picture shows them: the far side of a face is only guessed.

Shape legend: F frames, J joints.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import JOINT_INDEX

_TURNS = np.radians([0, 30, 75, 115, 180])
_KEPT = np.radians([0, 30, 42, 115, 180])
"""Turns of a head against the picture, and how far it is turned instead; a back is followed."""


def calm_heads(motion: BodyMotion, picture: BodyMotion) -> np.ndarray:
    """Return transforms of a motion's joints with heads that turn less far from where the picture shows them.

    Args:
        motion: of the same shape of body as `picture`.
        picture: one frame.

    Returns:
        [F, J, 3, 4] float32, see BodyMotion.transforms.
    """
    transforms_FJ34 = motion.transforms().copy()
    head = JOINT_INDEX["head"]
    own_34 = picture.transforms()[0, head]
    present = np.flatnonzero(motion.present_F)
    away = Rotation.from_matrix(transforms_FJ34[present, head, :, :3] @ np.linalg.inv(own_34[:, :3]))
    turn_N3 = away.as_rotvec()
    angle_N = np.linalg.norm(turn_N3, axis=1)
    kept_N = np.interp(angle_N, _TURNS, _KEPT)
    less_N33 = Rotation.from_rotvec(turn_N3 * ((kept_N - angle_N) / np.maximum(angle_N, 1e-6))[:, None]).as_matrix()
    joint_3 = motion.shape.rest.point("head")
    before_N34 = transforms_FJ34[present, head]
    pivot_N3 = before_N34[:, :, :3] @ joint_3 + before_N34[:, :, 3]
    rotated_N34 = less_N33 @ before_N34
    rotated_N34[:, :, 3] += pivot_N3 - (less_N33 @ pivot_N3[..., None])[..., 0]
    transforms_FJ34[present, head] = rotated_N34
    return transforms_FJ34
