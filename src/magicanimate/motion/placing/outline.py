"""Locate a person by outline: in a picture before a plain background, in a motion by its parts.

Used where the person in the picture cannot be measured. Both figures must be seen from head to foot.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from magicanimate.motion.report import count_heads
from magicanimate.parts.densepose import BACKGROUND

_SMALL = 128  # pixels of the longer side at which the figure is looked for
_STEP = 9.0  # RGB distance between neighboring pixels that a background does not exceed
_MARGIN = 0.01  # of the frame: a figure closer to the border may be cut off
_AREA = (0.03, 0.6)  # share of the picture that a figure covers
_SLENDER = 1.4  # height to width of a standing figure, at least
_EVERY = 4  # frames of the motion that are measured


@dataclass(frozen=True)
class Silhouette:
    """Extent of a person in shares of the frame: 0 is the upper or left edge, 1 the lower or right one."""

    top: float
    bottom: float
    center: float
    aspect: float = 1.0
    """Width to height in pixels."""

    @property
    def height(self) -> float:
        return self.bottom - self.top


def figure_of_mask(mask_HW: np.ndarray) -> Silhouette | None:
    """Return the figure in a mask; None if it is empty or may be cut off by the border."""
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    if not rows.size:
        return None
    height, width = mask_HW.shape
    top, bottom = rows[0] / height, (rows[-1] + 1) / height
    left, right = columns[0] / width, (columns[-1] + 1) / width
    if min(top, left, 1 - bottom, 1 - right) < _MARGIN:
        return None
    pixels_high, pixels_wide = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    return Silhouette(float(top), float(bottom), float((left + right) / 2), float(pixels_wide / pixels_high))


def find_in_picture(image_HWC: np.ndarray) -> Silhouette | None:
    """Return the person in a picture with a plain or smoothly shaded background; None where that cannot be told."""
    scale = _SMALL / max(image_HWC.shape[:2])
    size = (max(8, round(image_HWC.shape[1] * scale)), max(8, round(image_HWC.shape[0] * scale)))
    small = Image.fromarray(image_HWC).resize(size, Image.Resampling.BOX).filter(ImageFilter.BoxBlur(1))
    mask_HW = _largest(~_background(np.asarray(small).astype(np.float32)))
    if not _AREA[0] < mask_HW.mean() < _AREA[1]:
        return None
    figure = figure_of_mask(mask_HW)
    return figure if figure and figure.aspect < 1 / _SLENDER else None


def _background(image_HWC: np.ndarray) -> np.ndarray:
    """Return the mask [H, W] of what is reached from the four corners without a sharp change of color.

    Not from the whole border: a figure that the border cuts off would then be taken for background from there up.
    """
    height, width = image_HWC.shape[:2]
    # Between every two pixels stands one that says whether they are connected
    open_HW = np.zeros((2 * height - 1, 2 * width - 1), bool)
    open_HW[::2, ::2] = True
    open_HW[1::2, ::2] = np.linalg.norm(np.diff(image_HWC, axis=0), axis=-1) < _STEP
    open_HW[::2, 1::2] = np.linalg.norm(np.diff(image_HWC, axis=1), axis=-1) < _STEP
    region_HW = ndimage.label(open_HW)[0][::2, ::2]
    return np.isin(region_HW, region_HW[[0, 0, -1, -1], [0, -1, 0, -1]])


def _largest(mask_HW: np.ndarray) -> np.ndarray:
    """Return the largest connected region of a mask."""
    region_HW, count = ndimage.label(mask_HW)
    return region_HW == 1 + np.bincount(region_HW[mask_HW], minlength=count + 1)[1:].argmax() if count else mask_HW


def find_in_motion(frames: Iterable[np.ndarray]) -> Silhouette | None:
    """Locate the driver: head and feet over the whole clip, the center in its first frame.

    The height is that of the tallest tenth of frames, so that crouching does not count. None if the body is cut off
    in most frames, or if there is not exactly one person.
    """
    maps = [parts_HW for index, parts_HW in enumerate(frames) if index % _EVERY == 0]
    whole = [figure for parts_HW in maps if (figure := figure_of_mask(parts_HW != BACKGROUND))]
    if not whole or len(whole) < len(maps) / 2 or np.median([count_heads(parts_HW) for parts_HW in maps]) != 1:
        return None
    bottom = float(np.median([figure.bottom for figure in whole]))
    height = float(np.quantile([figure.height for figure in whole], 0.9))
    return Silhouette(bottom - height, bottom, whole[0].center)
