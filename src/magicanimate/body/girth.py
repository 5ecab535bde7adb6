"""How thick a person is: girths of limbs and trunk, by comparing drawn bodies with the masks of the picture.

Shape legend: F frames, H W pixels, B bones.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from magicanimate.body.bones import BONE_INDEX
from magicanimate.body.draw import draw_motion
from magicanimate.body.motion import BodyMotion
from magicanimate.body.track import Track

_FRAMES = 12  # of a track that are looked at
_ROUNDS = 2
_REACH = 0.05  # of the figure: how far beyond the body a pixel of the mask still counts for it
_BOUNDS = (0.85, 1.35)
_BELIEVED = 0.7  # of a difference in girth (exponent): masks take in loose clothes, and leak
_LEAST = 60  # pixels of a part before it says anything

_PARTS = {
    "trunk": (1, 2), "upper_arms": (15, 16, 17, 18), "lower_arms": (19, 20, 21, 22), "thighs": (7, 8, 9, 10),
    "shins": (11, 12, 13, 14),
}  # fmt: skip


def _spread(parts_HW: np.ndarray, steps: int) -> np.ndarray:
    """Labels grown into the background, a pixel a step."""
    out = parts_HW.copy()
    for _ in range(steps):
        padded = np.pad(out, 1)
        for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
            out = np.where(out == 0, neighbour, out)
    return out


def _areas(parts_HW: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """Pixels of each part, as drawn and as the mask has them within reach. [2, 25]."""
    height = np.ptp(np.flatnonzero((parts_HW > 0).any(1))) if parts_HW.any() else 0
    near_HW = _spread(parts_HW, max(1, round(_REACH * height)))
    return np.stack([np.bincount(p.reshape(-1), minlength=25) for p in (parts_HW, np.where(mask_HW, near_HW, 0))])


def fit_girths(motion: BodyMotion, track: Track) -> BodyMotion:
    """The motion with girths that agree with the track's masks; unchanged where there are none.

    Widths count: a part's area grows with its girth, as its length is known.
    """
    if track.masks is None:
        return motion
    frames = np.flatnonzero(motion.present_F)
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int))]
    masks = {f: mask for f in frames if (mask := track.masks(int(f))) is not None}
    if not masks:
        return motion
    rows = np.array(list(masks))
    some = motion.only(rows)
    height, width = next(iter(masks.values())).shape
    for _ in range(_ROUNDS):
        pictures = draw_motion(some, (height, width))
        areas = np.sum([_areas(p["parts"], m) for p, m in zip(pictures, masks.values(), strict=True)], axis=0)
        girths = some.shape.girths.copy()
        for bone, parts in _PARTS.items():
            drawn, seen = areas[:, parts].sum(1)
            if drawn >= _LEAST:
                girths[BONE_INDEX[bone]] = np.clip(girths[BONE_INDEX[bone]] * seen / drawn, *_BOUNDS)
        girths[BONE_INDEX["hips"]] = girths[BONE_INDEX["trunk"]]
        some = replace(some, shape=replace(some.shape, girths=girths))
    return replace(motion, shape=replace(some.shape, girths=some.shape.girths**_BELIEVED))
