"""Areas: what moves together in a part map. Where each one is, which way it lies, and how far it reaches.

Both sides of a limb, and of the head, are one area. Its place is its center; its directions are its principal axes.

Legend: H W pixels, N points, P areas: 25.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from magicanimate.parts.densepose import AREAS, FLIP_TABLE, HEAD
from magicanimate.train.head_turn import Ellipse

PARTS = len(FLIP_TABLE)
TRUNK = (1, 2)
SKULL = HEAD[0]  # the area of both halves
UPRIGHT = [*TRUNK, SKULL]
"""Areas with an upper end; the directions of all others are those of their longer axes."""
SMALLEST = 12  # pixels that an area needs for a direction
STRAY = 0.1  # of a limb's largest area: what is no more is a misread edge of something else
LIMBS = ([16, 20, 3], [15, 19, 4], [7, 11, 6], [8, 12, 5])
"""Areas of a limb, from the trunk on: arms first."""
ARMS = [*LIMBS[0], *LIMBS[1]]
"""Areas of the arms with their hands; they may lie in front of all other areas."""


class Areas(NamedTuple):
    """Measurements of areas: large enough or not, center (x, y), principal axes (columns, the one along it first),
    and extents along them in pixels."""

    present_P: np.ndarray
    center_P2: np.ndarray
    axes_P22: np.ndarray
    extents_P2: np.ndarray


def measure_areas(parts_HW: np.ndarray) -> Areas:
    """Measure all areas of a map. First axes point away from the trunk, those of head and trunk up the body; no axes
    are mirrored."""
    rows, columns = box(parts_HW)
    cut = parts_HW[rows, columns]
    y, x = np.nonzero(cut)
    label = cut[y, x]
    for area in UPRIGHT:
        hidden_y, hidden_x = np.nonzero(_behind(cut, area))
        y, x = np.concatenate([y, hidden_y]), np.concatenate([x, hidden_x])
        label = np.concatenate([label, np.full(len(hidden_y), area, label.dtype)])
    y, x = y + rows.start, x + columns.start
    count_P = np.bincount(label, minlength=PARTS)
    present_P = count_P >= SMALLEST
    share_P = np.maximum(count_P, 1)
    center_P2 = np.stack([np.bincount(label, v, PARTS) / share_P for v in (x, y)], 1)
    away_N2 = np.stack([x, y], 1) - center_P2[label]
    covariance_P22 = np.empty((PARTS, 2, 2))
    for i, j in ((0, 0), (0, 1), (1, 1)):
        sums_P = np.bincount(label, away_N2[:, i] * away_N2[:, j], PARTS)
        covariance_P22[:, i, j] = covariance_P22[:, j, i] = sums_P / np.maximum(count_P - 1, 1)
    values_P2, vectors_P22 = np.linalg.eigh(covariance_P22 + 0.25 * np.eye(2))
    away_P2 = _outwards(center_P2, np.where(present_P, count_P, 0), _body_center(parts_HW))
    away_P2[UPRIGHT] = away_P2[SKULL] if present_P[SKULL] and away_P2[SKULL].any() else (0, -1)
    along_P = np.ones(PARTS, int)  # the longer axis
    along_P[UPRIGHT] = np.abs((vectors_P22 * away_P2[..., None]).sum(1)).argmax(1)[UPRIGHT]
    every = np.arange(PARTS)
    first_P2, second_P2 = vectors_P22[every, :, along_P], vectors_P22[every, :, 1 - along_P]
    inwards_P = (first_P2 * away_P2).sum(1) < 0
    first_P2 = np.where(inwards_P[:, None], -first_P2, first_P2)
    mirrored_P = first_P2[:, 0] * second_P2[:, 1] - first_P2[:, 1] * second_P2[:, 0] < 0
    second_P2 = np.where(mirrored_P[:, None], -second_P2, second_P2)
    extents_P2 = np.sqrt(np.stack([values_P2[every, along_P], values_P2[every, 1 - along_P]], 1))
    return Areas(present_P, center_P2, np.stack([first_P2, second_P2], 2), extents_P2)


def _outwards(center_P2: np.ndarray, count_P: np.ndarray, body_2: np.ndarray) -> np.ndarray:
    """Point roughly from each area's end nearer to the trunk to the other one, [P,2]: along its limb where more of that
    is seen (the elbow of an arm beside the trunk may be nearer than the shoulder), else away from the trunk.
    """
    away_P2 = center_P2 - body_2
    for limb in LIMBS:
        seen = [area for area in limb if count_P[area] > STRAY * count_P[limb].max()]
        for nearer, farther in pairwise(seen):
            away_P2[[nearer, farther]] = center_P2[farther] - center_P2[nearer]
    return away_P2


def ellipse(areas: Areas, area: int) -> Ellipse:
    """Return the ellipse with an area's moments."""
    return Ellipse(areas.center_P2[area], areas.axes_P22[area], 2 * areas.extents_P2[area])


def box(parts_HW: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns that hold all parts; empty where there are none."""
    spans = [np.flatnonzero(parts_HW.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0) for at in spans)
    return rows, columns


def _behind(parts_HW: np.ndarray, area: int) -> np.ndarray:
    """Find where an area goes on behind other parts, which have it on both sides in their row or column. [H,W] bool.

    Without this, an arm that passes before the trunk would move and stretch what is on it.
    """
    own_HW = parts_HW == area
    if not own_HW.any():
        return own_HW
    return (_between(own_HW) | _between(own_HW.T).T) & ~own_HW & (parts_HW > 0)


def _between(own_HW: np.ndarray) -> np.ndarray:
    """Return pixels from the first to the last own one of their row. [H,W] bool."""
    first_H, last_H = own_HW.argmax(1), own_HW.shape[1] - 1 - own_HW[:, ::-1].argmax(1)
    at_W = np.arange(own_HW.shape[1])
    return (at_W >= first_H[:, None]) & (at_W <= last_H[:, None]) & own_HW.any(1, keepdims=True)


def sources_of(area: int) -> list[int]:
    """Return areas of the picture that may stand in for an area, the best first."""
    other = {1: 2, 2: 1}.get(area, int(AREAS[FLIP_TABLE[area]]))
    return list(dict.fromkeys([area, other]))


def _body_center(parts_HW: np.ndarray) -> np.ndarray:
    """Return the center (x, y) of the trunk, or of everything where no trunk shows."""
    mask = np.isin(parts_HW, TRUNK)
    if not mask.any():
        mask = parts_HW > 0
    if not mask.any():
        return np.zeros(2)
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()])
