"""Fits a body to part maps, so that a DensePose clip moves a person as a video does.

Shape legend: F frames, H W pixels, J joints.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from magicanimate.body.fit import fit_track
from magicanimate.body.motion import BodyMotion
from magicanimate.body.outline import refine_to_parts_outlines
from magicanimate.body.refine import refine_to_parts
from magicanimate.body.track import JOINT_SETS, Track
from magicanimate.files import sha256
from magicanimate.parts.densepose import HEAD
from magicanimate.parts.skeleton import JOINT, find_joints

_NAMES = (*JOINT_SETS["coco17"], "neck")
_LIMB_JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_TRUST, _NOSE_TRUST = 0.9, 0.5
_COMPARED = 16  # frames
_SHOWN = 0.0015  # of the frame
_COARSE = np.array([0, 1, 1, 2, 2, 3, 3, *[3] * 8, *[2] * 8, 4, 4])
"""Nothing, torso, arms with hands, legs with feet, head: of each part."""
_HEAD_PIXELS, _MIDLINE_PIXELS = 20, 5
_MOST_KEPT = 8
_KEPT: OrderedDict[str, BodyMotion] = OrderedDict()


def fit_parts(frames: Iterable[np.ndarray], fps: float) -> BodyMotion:
    """Fit a body to one person's part maps [H, W] uint8.

    Raises:
        InputError: no frame shows joints.
    """
    maps = list(frames)
    track = Track(np.stack([_joints(parts_HW) for parts_HW in maps]), _NAMES, maps[0].shape[:2], fps)
    body = refine_to_parts(fit_track(track), maps)
    return refine_to_parts_outlines(body, maps)


def fit_parts_once(frames: Iterable[np.ndarray], fps: float) -> BodyMotion:
    """Fit as `fit_parts` does. The last few bodies are kept: a check, a preview and a video follow each other.

    Raises:
        InputError: no frame shows joints.
    """
    maps = [np.ascontiguousarray(parts_HW) for parts_HW in frames]
    key = sha256(f"{fps} {[parts_HW.shape for parts_HW in maps[:1]]}", *(parts_HW.data for parts_HW in maps))
    kept = _KEPT.pop(key, None)
    body = _KEPT[key] = fit_parts(maps, fps) if kept is None else kept
    while len(_KEPT) > _MOST_KEPT:
        _KEPT.popitem(last=False)
    return body


def agreement(body: BodyMotion, maps: Sequence[np.ndarray]) -> float:
    """Return the mean intersection over union of a body's parts and part maps [H, W]: torso, arms, legs and head, 0..1.

    Some frames are looked at, evenly spread; parts that hardly show in a map do not count. 1 where none do.
    """
    from magicanimate.body.draw import draw_parts

    frames = sorted(set(np.linspace(0, len(maps) - 1, _COMPARED).round().astype(int).tolist()))
    shares = []
    for index in frames:
        one = slice(index, index + 1)
        mine_HW, theirs_HW = _COARSE[draw_parts(body.only(one))], _COARSE[maps[index]]
        for coarse in range(1, _COARSE.max() + 1):
            mine, theirs = mine_HW == coarse, theirs_HW == coarse
            if theirs.sum() > _SHOWN * theirs.size:
                shares.append((mine & theirs).sum() / (mine | theirs).sum())
    return float(np.mean(shares)) if shares else 1.0


def _joints(parts_HW: np.ndarray) -> np.ndarray:
    """Return [J, 3] float32: x, y, confidence."""
    out = np.zeros((len(_NAMES), 3), np.float32)
    joints_J2, _ = find_joints(parts_HW)

    def put(name: str, at_2: np.ndarray, trust: float) -> None:
        if not np.isnan(at_2).any():
            out[_NAMES.index(name)] = (*at_2, trust)

    for letter, side in (("L", "left"), ("R", "right")):
        for joint in _LIMB_JOINTS:
            put(f"{side}_{joint}", joints_J2[JOINT[f"{joint}.{letter}"]], _TRUST)
    put("neck", joints_J2[JOINT["neck"]], _TRUST)
    put("nose", _nose(parts_HW), _NOSE_TRUST)
    return out


def _nose(parts_HW: np.ndarray) -> np.ndarray:
    """Find where the halves of the head meet, [2] pixels; NaN if unseen."""
    left_HW, right_HW = (parts_HW == part for part in HEAD)
    ys, xs = np.nonzero(left_HW | right_HW)
    middle_HW = ndimage.binary_dilation(left_HW) & ndimage.binary_dilation(right_HW)
    if len(xs) <= _HEAD_PIXELS or middle_HW.sum() <= _MIDLINE_PIXELS:
        return np.full(2, np.nan)
    return np.array([np.nonzero(middle_HW)[1].mean(), ys.mean() + 0.1 * np.ptp(ys)])
