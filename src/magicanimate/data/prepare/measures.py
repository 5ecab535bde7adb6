"""The square around a person, and figures that tell a usable clip from a useless one. Needs numpy and Pillow only.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from magicanimate.media import Placement, fit_picture
from magicanimate.parts.densepose import resize_parts
from magicanimate.parts.fit import fit_parts

_MARGIN = 0.08  # of the person's extent, on each side
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FLAT = 2.0  # gray levels of contrast below which nothing can be said to be sharp


@dataclass(frozen=True)
class Crop:
    """A square of the source, in its pixels; it may reach over the frame's edges."""

    left: int
    top: int
    side: int

    def padding(self, frame: tuple[int, int]) -> float:
        """Share of the square that lies outside the frame (height, width)."""
        inside = [
            max(0, min(start + self.side, limit) - max(start, 0))
            for start, limit in ((self.top, frame[0]), (self.left, frame[1]))
        ]
        return 1 - inside[0] * inside[1] / self.side**2

    def picture(self, frame_HWC: np.ndarray, size: int) -> np.ndarray:
        """Return [size, size, 3]; what is outside the frame repeats its border."""
        height, width = frame_HWC.shape[:2]
        scale = size / self.side
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + self.side, height), min(self.left + self.side, width)
        edges = [round((value - self.top) * scale) for value in (top, bottom)]
        sides = [round((value - self.left) * scale) for value in (left, right)]
        inner = (edges[0], sides[0], max(1, edges[1] - edges[0]), max(1, sides[1] - sides[0]))
        return fit_picture(frame_HWC, Placement((left, top, right, bottom), inner, (size, size)))

    def control(self, drawn: np.ndarray, frame: tuple[int, int], size: int) -> np.ndarray:
        """Crop a control picture [H, W(, C)] of the whole frame, at any scale, to [size, size(, C)]; 0 outside."""
        scale = drawn.shape[0] / frame[0]
        left, top, side = self.left * scale, self.top * scale, self.side * scale
        place = Placement((left, top, left + side, top + side), (0, 0, size, size), (size, size))
        if drawn.ndim == 2:
            return fit_parts(drawn, place)
        return np.stack([fit_parts(plane, place) for plane in np.moveaxis(drawn, -1, 0)], -1)


def square_around(boxes_F4: np.ndarray, frame: tuple[int, int]) -> Crop:
    """Return a square around all boxes (left, top, right, bottom), moved into the frame (height, width) if possible."""
    left, top = boxes_F4[:, :2].min(0)
    right, bottom = boxes_F4[:, 2:].max(0)
    side = math.ceil(max(right - left, bottom - top) * (1 + 2 * _MARGIN))
    corner = []
    for low, high, limit in ((left, right, frame[1]), (top, bottom, frame[0])):
        start = round((low + high - side) / 2)
        corner.append(min(max(start, 0), limit - side) if side <= limit else (limit - side) // 2)
    return Crop(corner[0], corner[1], side)


def box_of(mask_HW: np.ndarray, frame: tuple[int, int]) -> np.ndarray | None:
    """Return a mask's box (left, top, right, bottom), [4], in pixels of the frame (height, width); None if empty."""
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    if not len(rows):
        return None
    y, x = frame[0] / mask_HW.shape[0], frame[1] / mask_HW.shape[1]
    return np.array([columns[0] * x, rows[0] * y, (columns[-1] + 1) * x, (rows[-1] + 1) * y])


def sharpness(image_HWC: np.ndarray, person_HW: np.ndarray) -> float:
    """Measure the Laplacian at the person in units of the contrast there: blur lowers it, light does not.

    In pictures of 256 pixels 0.34 to 0.5 if sharp, 0.08 to 0.15 if blurred by one pixel, 0.03 to 0.06 by two. Noise
    counts as detail.
    """
    gray_HW = image_HWC.astype(np.float32) @ _LUMA
    center = gray_HW[1:-1, 1:-1]
    laplacian = 4 * center - gray_HW[:-2, 1:-1] - gray_HW[2:, 1:-1] - gray_HW[1:-1, :-2] - gray_HW[1:-1, 2:]
    inside = person_HW[1:-1, 1:-1]
    if not inside.any():
        return 0.0
    return float(laplacian[inside].std() / max(float(center[inside].std()), _FLAT))


def movement(parts_FHW: np.ndarray, fps: float) -> float:
    """Share of the person's pixels that have another part in the next frame, summed over a second.

    0 for somebody who stands like a statue; a still picture too.
    """
    if len(parts_FHW) < 2:
        return 0.0
    before, after = parts_FHW[:-1], parts_FHW[1:]
    person = ((before > 0) | (after > 0)).sum((1, 2))
    return float(((before != after).sum((1, 2)) / np.maximum(person, 1)).mean() * fps)


def agreement(parts_HW: np.ndarray, outline_HW: np.ndarray) -> float:
    """Return the intersection over union of drawn parts and a seen outline, compared at the outline's resolution."""
    drawn = resize_parts(parts_HW, (outline_HW.shape[0], outline_HW.shape[1])) > 0
    return float((drawn & outline_HW).sum() / max(1, (drawn | outline_HW).sum()))
