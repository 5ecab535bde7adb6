"""Bodies as OpenPose's key points: a folder with one JSON file per frame, 25 body points in pixels.

Shape legend: F frames, J joints.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import POINT_INDEX
from magicanimate.body.track import JOINT_SETS, RIG_POINTS
from magicanimate.files import atomic_path

_NAMES = JOINT_SETS["openpose25"]


def openpose_joints(body: BodyMotion) -> np.ndarray:
    """Return [F, 25, 3] float64: x, y in pixels and 1; 0 for what the rig does not have, or nobody."""
    projected_FS2 = body.project(body.points())
    joints_FJ3 = np.zeros((len(body), len(_NAMES), 3))
    for index, name in enumerate(_NAMES):
        point = RIG_POINTS.get(name)
        if point is not None:
            joints_FJ3[:, index, :2], joints_FJ3[:, index, 2] = projected_FS2[:, POINT_INDEX[point]], 1
    return joints_FJ3 * body.present_F[:, None, None]


def write_openpose(body: BodyMotion, folder: Path) -> None:
    """Write `NAME_000000000000_keypoints.json` and so on, complete or not at all; a folder is replaced."""
    height, width = body.size
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for frame, joints_J3 in enumerate(np.round(openpose_joints(body), 3)):
            person = {"person_id": [-1], "pose_keypoints_2d": joints_J3.ravel().tolist()}
            content = {
                "version": 1.3, "canvas_width": width, "canvas_height": height,
                "people": [person] if body.present_F[frame] else [],
            }  # fmt: skip
            path = temporary / f"{folder.stem}_{frame:012d}_keypoints.json"
            path.write_text(json.dumps(content) + "\n", encoding="utf-8")
