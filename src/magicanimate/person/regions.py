"""Turned squares of a picture, as the networks for people look at them.

Pixel (0, 0) of a picture has its middle at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Region:
    """A square in pixels of a picture, turned clockwise by `angle` radians."""

    center: tuple[float, float]
    side: float
    angle: float

    def corner_and_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the upper left corner [2], and the square's right and down axes as the columns of [2, 2]."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        axes = self.side * np.array([[cos, -sin], [sin, cos]])
        return np.asarray(self.center) - axes.sum(1) / 2, axes

    def moved(self, right: float, down: float) -> Region:
        """Return the same square elsewhere."""
        return replace(self, center=(self.center[0] + right, self.center[1] + down))

    def scaled(self, factor: float) -> Region:
        """Return the same square in a picture that is larger by a factor."""
        x, y = self.center
        return replace(self, center=(x * factor, y * factor), side=self.side * factor)

    def to_picture(self, points_N2: np.ndarray) -> np.ndarray:
        """Map points of the unit square to pixels of the picture. [N, 2]."""
        corner, axes = self.corner_and_axes()
        return points_N2 @ axes.T + corner


def region_of(center: np.ndarray, head: np.ndarray) -> Region:
    """Return the region around a person from the middle of the hips and a point on the circle around the body.

    The direction from the first point to the second points upwards in the region.
    """
    right, down = head - center
    side = 2 * 1.25 * float(np.hypot(right, down))
    angle = np.pi / 2 - np.arctan2(-down, right)
    return Region((float(center[0]), float(center[1])), side, float((angle + np.pi) % (2 * np.pi) - np.pi))


def cut_region(image_HWC: np.ndarray, region: Region, side: int) -> np.ndarray:
    """Sample a region bilinearly; beyond the picture its edge goes on. [side, side, 3] float32, 0..255."""
    corner, axes = region.corner_and_axes()
    return _sample(np.ascontiguousarray(image_HWC), corner, axes / side, side)


@numba.njit(cache=True, nogil=True)
def _sample(image_HWC, corner_2, steps_22, side):
    height, width, channels = image_HWC.shape
    out_SSC = np.empty((side, side, channels), np.float32)
    for row in range(side):
        for column in range(side):
            x = corner_2[0] + steps_22[0, 0] * column + steps_22[0, 1] * row
            y = corner_2[1] + steps_22[1, 0] * column + steps_22[1, 1] * row
            x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
            left, top = int(x), int(y)
            right, below = min(left + 1, width - 1), min(top + 1, height - 1)
            x, y = x - left, y - top
            for c in range(channels):
                upper = image_HWC[top, left, c] * (1 - x) + image_HWC[top, right, c] * x
                lower = image_HWC[below, left, c] * (1 - x) + image_HWC[below, right, c] * x
                out_SSC[row, column, c] = upper * (1 - y) + lower * y
    return out_SSC


def put_back(values_SS: np.ndarray, region: Region, size: tuple[int, int], scale: float) -> np.ndarray:
    """Put what a network said of each pixel of a region back into the picture, 0 outside.

    Args:
        values_SS: float32, of the region.
        region: in pixels of the picture.
        size: (height, width) of the result.
        scale: pixels of the result for one of the picture.
    """
    corner, axes = region.corner_and_axes()
    inverse = np.linalg.inv(axes) * len(values_SS)
    data = _affine(inverse / scale, -inverse @ corner)
    image = Image.fromarray(values_SS)
    return np.asarray(image.transform(size[::-1], Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))


def _affine(matrix_22: np.ndarray, shift_2: np.ndarray) -> tuple[float, ...]:
    """Return Pillow's coefficients; its pixels have their middles at .5, in the source and in the result."""
    shift = shift_2 + 0.5 - matrix_22.sum(1) / 2
    return (*matrix_22[0], shift[0], *matrix_22[1], shift[1])
