"""A standing person's joints for tests: seen from the front, in shares of the picture, y down."""

from __future__ import annotations

import numpy as np

from magicanimate.body.track import JOINT_SETS

_RIGHT = {
    "eye": (0.485, 0.135), "ear": (0.465, 0.145), "shoulder": (0.42, 0.26), "elbow": (0.38, 0.40),
    "wrist": (0.37, 0.52), "hip": (0.455, 0.52), "knee": (0.45, 0.71), "ankle": (0.45, 0.90), "heel": (0.455, 0.92),
    "toe": (0.44, 0.94), "small_toe": (0.425, 0.94),
}  # fmt: skip
_MIDDLE = {"nose": (0.5, 0.15), "neck": (0.5, 0.25), "mid_hip": (0.5, 0.52)}


def standing(names: tuple[str, ...], shift: float = 0.0) -> np.ndarray:
    """[J, 3] x, y in shares of the picture, confidence; the person's right is on the left. Unknown joints: 0."""
    joints = np.zeros((len(names), 3), np.float32)
    for index, name in enumerate(names):
        side, _, part = name.partition("_")
        if name in _MIDDLE:
            joints[index] = (*_MIDDLE[name], 1)
        elif part in _RIGHT and side in ("left", "right"):
            x, y = _RIGHT[part]
            joints[index] = (x if side == "right" else 1 - x, y, 1)
    joints[:, 0] += shift * (joints[:, 2] > 0)
    return joints


def openpose_person(count: int, width: int, height: int, shift: float = 0.0) -> dict[str, list[float]]:
    """One entry of OpenPose's `people`."""
    points = standing(JOINT_SETS[f"openpose{count}"], shift) * (width, height, 1)
    return {"pose_keypoints_2d": points.reshape(-1).tolist()}


def faces_the_viewer(parts_HW: np.ndarray) -> bool:
    """Head on top, torso seen from the front, the right arm and leg on the left."""
    rows, columns = (np.indices(parts_HW.shape)[i] for i in (0, 1))

    def middle(of: np.ndarray, *parts: int) -> float:
        return float(of[np.isin(parts_HW, parts)].mean())

    upright = middle(rows, 23, 24) < middle(rows, 2) < middle(rows, 13, 14)
    sides = middle(columns, 16, 18) < middle(columns, 15, 17) and middle(columns, 9) < middle(columns, 10)
    return bool(upright and sides and (parts_HW == 2).sum() > 5 * (parts_HW == 1).sum())
