"""Connected regions of part maps: which pixels belong to one person.

Shape legend: H W pixels, R regions.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from magicanimate.parts.densepose import BACKGROUND, resize_parts
from magicanimate.parts.follow import Follower

_SMALL = 128  # pixels of the longer side at which people are told apart
_FRAGMENT = 0.1  # of the largest region's pixels: smaller ones are pieces of somebody


def regions(mask_HW: np.ndarray) -> np.ndarray:
    """Label the 4-connected regions of a mask: [H, W] int from 1, 0 outside."""
    labels_HW, _ = ndimage.label(mask_HW)
    return labels_HW


def nearest_known(values_HW: np.ndarray, known_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance [H, W] from the nearest known pixel, of which there is one, and the value [H, W] there."""
    distance_HW, nearest = ndimage.distance_transform_edt(~known_HW, return_indices=True)
    return distance_HW, values_HW[tuple(nearest)]


def keep_person(parts_HW: np.ndarray, follow: Follower) -> np.ndarray:
    """Return the map with one person only: the region that is followed, and what is nearer to it than to another's."""
    height, width = parts_HW.shape
    scale = min(1.0, _SMALL / max(height, width))
    small = resize_parts(parts_HW, (max(1, round(height * scale)), max(1, round(width * scale))))
    labels = regions(small != BACKGROUND)
    sizes = np.bincount(labels.ravel())[1:]
    people = 1 + np.flatnonzero(sizes >= _FRAGMENT * sizes.max(initial=0))
    chosen = follow(np.array([_box(labels == label) for label in people], float).reshape(-1, 4))
    if chosen is None:
        return np.full_like(parts_HW, BACKGROUND)
    nearest = _grown(np.where(np.isin(labels, people), labels, 0))
    return np.where(resize_parts(nearest, (height, width)) == people[chosen], parts_HW, np.uint8(BACKGROUND))


def _box(mask_HW: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom."""
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _grown(labels_HW: np.ndarray) -> np.ndarray:
    """Grow regions until they meet: every pixel gets the label of the nearest one, counted in steps."""
    nearest = ndimage.distance_transform_cdt(labels_HW == 0, "taxicab", return_distances=False, return_indices=True)
    return labels_HW[tuple(nearest)]
