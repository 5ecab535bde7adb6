"""Finds limbs that the segmentation of people missed: thin arms before a busy background, hands, lower legs.

The fitted body says where a limb is. It is believed where the pixels have colors of the person's other limbs rather
than of what is around; then the limb's outline is found along short paths of little change in color, as borders between
layers are.

Shape legend: H W pixels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from magicanimate.parts.skeleton import ARMS, GROUP_OF_PART, LEGS
from magicanimate.person.segments import color_shares, geodesic

_DEEP = 0.5  # of a limb's own half thickness: nearer its middle is its core
_MISSED = 0.25  # of a core that is not in the mask, from which a limb is looked for
_FEWEST = 40  # pixels of known colors
_OWN_COLOR = 0.55  # share of the missed core that must look like the person
_NEAR, _FAR = 0.02, 0.06  # of the figure's height, beside the body: how far limbs may be, and what is the background


def add_limbs(picture_HWC: np.ndarray, soft_HW: np.ndarray, parts_HW: np.ndarray) -> np.ndarray:
    """Add missed limbs to a mask of people.

    Args:
        picture_HWC: uint8.
        soft_HW: float32 0..1, the mask.
        parts_HW: uint8, the fitted body in the picture.

    Returns:
        [H, W] float32, nowhere less than the mask.
    """
    group_HW = GROUP_OF_PART[parts_HW]
    rows = np.flatnonzero((parts_HW > 0).any(1))
    if not rows.size:
        return soft_HW
    height = max(16.0, float(np.ptp(rows)))
    image = ndimage.gaussian_filter(picture_HWC.astype(np.float32) / 255, (0.7, 0.7, 0))
    away_HW = ndimage.distance_transform_edt(parts_HW == 0)
    around_HW = (away_HW > _NEAR * height) & (away_HW < _FAR * height + 3) & (soft_HW < 0.1)
    out = soft_HW.copy()
    for groups in (ARMS, LEGS):  # limbs that have colors in common
        cores = [_core(group_HW == group) for group in groups]
        missed = [core for core in cores if core.any() and (soft_HW[core] < 0.5).mean() > _MISSED]
        known_HW = np.any(cores, 0) & (soft_HW > 0.9)
        if not missed or known_HW.sum() < _FEWEST or around_HW.sum() < _FEWEST:
            continue
        share_HW = color_shares(image, known_HW, around_HW)
        found_HW = np.zeros_like(known_HW)
        for core_HW in missed:
            open_HW = core_HW & (soft_HW < 0.5)
            if (share_HW[open_HW] > 0.5).mean() > _OWN_COLOR:
                found_HW |= open_HW & (share_HW > 0.5)
        if not found_HW.any():
            continue
        reach_HW = (away_HW <= _NEAR * height + 1) & (soft_HW < 0.9) & np.isin(group_HW, (*groups, -1))
        inside_HW = reach_HW | around_HW
        own, other = (geodesic(image, share_HW, inside_HW, seeds_HW) for seeds_HW in (found_HW, around_HW))
        out = np.maximum(out, ((own < other) & reach_HW).astype(np.float32))
    return out


def _core(group_HW: np.ndarray) -> np.ndarray:
    """Return the middle [H, W] bool of a limb."""
    deep_HW = ndimage.distance_transform_edt(group_HW)
    size = max(3, 2 * round(float(deep_HW.max())) + 1)
    return (deep_HW > 0) & (deep_HW >= _DEEP * ndimage.maximum_filter(deep_HW, size))
