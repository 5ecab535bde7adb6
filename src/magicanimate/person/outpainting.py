"""Continues a person beyond the frame of a picture that cuts them off, so that a motion can show more of them.

The fitted body says how far they go on; their outline and texture are continued from the frame's border. A head that is
cut off is not continued: nobody knows a face.

Shape legend: H W pixels of the picture, h w of the larger one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from magicanimate.body.draw import draw_parts
from magicanimate.body.motion import BodyMotion
from magicanimate.parts.regions import nearest_known
from magicanimate.parts.skeleton import ARMS, GROUP_OF_PART, GROUPS, LEGS
from magicanimate.person.matte import Matte
from magicanimate.person.texture import complete_texture

_MOST = 0.25  # of the picture's height or width, on each side
_WORTH = 0.03  # of the figure's height beyond the frame, from which on a person is continued
_NEAR = 0.15  # of the figure's height: how far inside the frame texture is continued from
_FEWEST = 60  # pixels of a limb from which its texture is continued; from all of the person where there are fewer
_TAPER = 0.5  # pixels: how far a continued outline may move aside for each pixel beyond the frame


_TORSO, _HEAD = list(GROUPS).index("torso"), list(GROUPS).index("head")
_ALIKE = (ARMS, LEGS, [_TORSO])
"""Parts of the body that continue each other."""


@dataclass(frozen=True)
class Continued:
    """A person in a larger picture with the same middle."""

    picture_HWC: np.ndarray
    """[h, w, 3] uint8; beyond the frame only the person's pixels mean anything."""
    matte: Matte
    body: BodyMotion
    frame: tuple[slice, slice]
    """Place of the picture in the larger one."""


def continue_person(picture_HWC: np.ndarray, matte: Matte, body: BodyMotion) -> Continued:
    """Continue a person beyond the frame as far as the fitted body goes on there.

    Args:
        picture_HWC: uint8.
        matte: of the same size.
        body: the fitted body, one frame, of the same size.
    """
    height, width = picture_HWC.shape[:2]
    most = (round(_MOST * height), round(_MOST * width))
    wide = body.moved(size=(height + 2 * most[0], width + 2 * most[1]))
    parts_hw = draw_parts(wide)
    rows, columns = (np.flatnonzero((parts_hw > 0).any(axis)) for axis in (1, 0))
    figure = float(np.ptp(rows)) if rows.size else 0.0
    down = _beyond(rows - most[0], height, _WORTH * figure)
    aside = _beyond(columns - most[1], width, _WORTH * figure)
    if not down and not aside:
        return Continued(picture_HWC, matte, body, (slice(0, height), slice(0, width)))
    crop = (slice(most[0] - down, most[0] + height + down), slice(most[1] - aside, most[1] + width + aside))
    frame = (slice(down, down + height), slice(aside, aside + width))
    pad = ((down, down), (aside, aside))
    parts_hw = parts_hw[crop]
    part_hw = GROUP_OF_PART[nearest_known(parts_hw, parts_hw > 0)[1]]
    shape_hw = _continued(matte.mask_HW, parts_hw, part_hw, pad)
    alpha_hw = np.where(shape_hw, 255, np.pad(matte.alpha_HW, pad))
    color = np.pad(matte.foreground_HWC, (*pad, (0, 0)), mode="edge")
    near_hw = ndimage.distance_transform_edt(~shape_hw) < _NEAR * figure if shape_hw.any() else shape_hw
    usable_hw = np.pad(matte.alpha_HW > 240, pad) & near_hw
    for parts in _ALIKE:
        hole_hw, own_hw = (where & np.isin(part_hw, parts) for where in (shape_hw, usable_hw))
        color = complete_texture(color, hole_hw, own_hw if own_hw.sum() > _FEWEST else usable_hw)
    picture = color.copy()
    picture[frame] = picture_HWC
    larger = body.moved(size=(height + 2 * down, width + 2 * aside))
    return Continued(picture, Matte(alpha_hw.astype(np.uint8), color), larger, frame)


def _beyond(at: np.ndarray, length: int, least: float) -> int:
    """Return how far a body at some rows or columns reaches beyond a frame of a length; 0 if that is little."""
    pixels = max(-at[0], at[-1] + 1 - length, 0) if at.size else 0
    return int(pixels) if pixels > least else 0


def _continued(
    mask_HW: np.ndarray, parts_hw: np.ndarray, part_hw: np.ndarray, pad: tuple[tuple[int, int], tuple[int, int]]
) -> np.ndarray:
    """Find the person's pixels [h, w] bool beyond the frame: the body's, with an outline starting as the mask ends."""
    outside_hw = ~np.pad(np.ones_like(mask_HW), pad)
    if not mask_HW.any():
        return np.zeros_like(outside_hw)
    away_hw = ndimage.distance_transform_edt(outside_hw)
    aside_HW = ndimage.distance_transform_edt(~mask_HW) - ndimage.distance_transform_edt(mask_HW)
    aside_hw = np.pad(aside_HW, pad, mode="edge")
    shape_hw = ((parts_hw > 0) & (aside_hw < _TAPER * away_hw)) | (aside_hw < -_TAPER * away_hw)
    return outside_hw & shape_hw & (part_hw != _HEAD)
