"""Make a smooth track of joints found frame by frame.

Shape legend: F frames, J joints.
"""

from __future__ import annotations

import numpy as np

from magicanimate.body.smoothing import bridge_gaps, runs, smooth
from magicanimate.body.track import JOINT_SETS, Track

LONGEST_GAP = 0.5
"""Seconds without a person that are bridged."""
_SMOOTHING = 0.1  # seconds, half window

_HAND = {0: "", 2: "thumb", 5: "index", 17: "pinky"}  # the joints of a hand's 21 that a body knows; 0 is the wrist
_FEET = tuple(f"{side}_{name}" for side in ("left", "right") for name in ("toe", "small_toe", "heel"))


FACE = tuple(f"face_{i}" for i in range(68))


def hand_names(side: str) -> tuple[str, ...]:
    """Return [21] names of a hand's joints; thumb, index and pinky are those that a body knows."""
    return tuple(f"{side}_{_HAND.get(i) or f'hand_{i}'}" for i in range(21))


WHOLEBODY: tuple[str, ...] = (
    *JOINT_SETS["coco17"], *_FEET, *FACE, *hand_names("left"), *hand_names("right"),
)  # fmt: skip
"""[133] COCO-WholeBody's joints in order."""


def make_track(points_FJ3: np.ndarray, names: tuple[str, ...], size: tuple[int, int], fps: float) -> Track:
    """Bridge short gaps and smooth: [F, J, 3] (x, y, confidence; 0: not seen) -> a track."""
    seen_F = np.any(points_FJ3[..., 2] > 0, axis=1)
    bridged, now_F = bridge_gaps(points_FJ3.astype(np.float32), seen_F, round(LONGEST_GAP * fps))
    for run in runs(now_F):
        bridged[run, :, :2] = smooth(bridged[run, :, :2], bridged[run, :, 2], round(_SMOOTHING * fps))
    bridged[~now_F] = 0
    return Track(bridged, names, size, fps)
