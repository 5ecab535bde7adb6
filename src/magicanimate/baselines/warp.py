"""The reference, warped by body parts: no network, no training.

Each part of the target takes the pixels of the same part of the reference, moved, turned and scaled so that centres and
principal axes of both areas agree (the motion model of first-order methods such as MRAA, with known parts). A part that
the reference does not show takes a part of the same kind. Behind the person is the reference's background, filled from
its border.

Legend: H W pixels. Only numpy and scipy are needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from magicanimate.motion.densepose import FLIP_TABLE

TRUNK = (1, 2)
SMALLEST = 12  # pixels that an area needs for a direction
SCALES = (0.5, 2.0)  # how much an area may shrink or grow along an axis
CLOTH = 0.02  # of the picture's height: how far clothes and hair reach beyond the parts
# The other side of the same limb: front and back, inner and outer.
_OTHER_SIDE = {1: 2, 7: 9, 8: 10, 11: 13, 12: 14, 15: 17, 16: 18, 19: 21, 20: 22, 23: 24}
OTHER_SIDE = _OTHER_SIDE | {b: a for a, b in _OTHER_SIDE.items()}


class Area(NamedTuple):
    """Centre [2] (x, y), principal axes [2,2] (columns, the longer first) and extents [2] along them, in pixels."""

    centre: np.ndarray
    axes: np.ndarray
    extents: np.ndarray


def measure_area(mask_HW: np.ndarray, body: np.ndarray) -> Area | None:
    """Moments of a mask; None if it is too small. The longer axis points away from `body` [2], the trunk's centre."""
    y, x = np.nonzero(mask_HW)
    if len(x) < SMALLEST:
        return None
    points = np.stack([x, y], 1).astype(np.float64)
    centre = points.mean(0)
    values, vectors = np.linalg.eigh(np.cov(points.T) + 0.25 * np.eye(2))
    long, short = vectors[:, 1], vectors[:, 0]
    if long @ (centre - body) < 0:
        long = -long
    if long[0] * short[1] - long[1] * short[0] < 0:  # no mirrors
        short = -short
    return Area(centre, np.stack([long, short], 1), np.sqrt(values[::-1]))


def sources_of(part: int) -> list[int]:
    """Parts of the reference that may stand in for a part, the best first."""
    other = OTHER_SIDE.get(part, part)
    return list(dict.fromkeys([part, other, int(FLIP_TABLE[part]), int(FLIP_TABLE[other])]))


def fill_background(reference_HWC: np.ndarray, parts_HW: np.ndarray) -> np.ndarray:
    """The reference without its person: each covered pixel takes the nearest uncovered one."""
    covered = parts_HW > 0
    reach = max(1, round(CLOTH * len(covered)))
    covered = ndimage.binary_dilation(covered, iterations=reach)
    if covered.all():
        return reference_HWC.copy()
    nearest = ndimage.distance_transform_edt(covered, return_distances=False, return_indices=True)
    return reference_HWC[tuple(nearest)]


class PartWarp:
    """Warps one reference to any number of target part maps."""

    def __init__(self, reference_HWC: np.ndarray, parts_HW: np.ndarray) -> None:
        """reference uint8 [H,W,3] with its part map [H,W]."""
        self._reference, self._background = reference_HWC, fill_background(reference_HWC, parts_HW)
        self._body = _body_centre(parts_HW)
        self._areas: dict[int, tuple[Area, np.ndarray]] = {}
        for part in range(1, 25):
            mask = parts_HW == part
            area = measure_area(mask, self._body)
            if area is not None:
                inside = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
                self._areas[part] = area, inside

    def __call__(self, parts_HW: np.ndarray) -> np.ndarray:
        """The picture for a target part map, uint8 [H,W,3]."""
        out = self._background.copy()
        body = _body_centre(parts_HW)
        for part in np.unique(parts_HW[parts_HW > 0]):
            mask = parts_HW == part
            source = next((self._areas[p] for p in sources_of(int(part)) if p in self._areas), None)
            if source is None:
                continue
            target = measure_area(mask, body)
            y, x = np.nonzero(mask)
            out[y, x] = self._take(source, target, np.stack([x, y], 1).astype(np.float64))
        return out

    def _take(self, source: tuple[Area, np.ndarray], target: Area | None, points_N2: np.ndarray) -> np.ndarray:
        """Colours [N,3] of the reference where the target's points lie in the source's area."""
        area, inside = source
        if target is None:
            moved = np.broadcast_to(area.centre, points_N2.shape)
        else:
            scale = np.clip(area.extents / target.extents, *SCALES)
            moved = area.centre + ((points_N2 - target.centre) @ target.axes * scale) @ area.axes.T
        height, width = self._reference.shape[:2]
        column = np.clip(np.rint(moved[:, 0]), 0, width - 1).astype(int)
        row = np.clip(np.rint(moved[:, 1]), 0, height - 1).astype(int)
        return self._reference[inside[0][row, column], inside[1][row, column]]


def _body_centre(parts_HW: np.ndarray) -> np.ndarray:
    """Centre (x, y) of the trunk, or of everything where no trunk shows."""
    mask = np.isin(parts_HW, TRUNK)
    if not mask.any():
        mask = parts_HW > 0
    if not mask.any():
        return np.zeros(2)
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()])
