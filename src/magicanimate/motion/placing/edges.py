"""Extend bodies beyond the frame: legs cut off by the lower edge continue, a cut head is completed.

Needed where a motion is made smaller or moved, so that its edges come to lie inside the frame.

Shape legend: H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magicanimate.parts.densepose import BACKGROUND, HEAD

_TALL = 1.4  # a head's height to its width
EDGE = 0.02
"""Share of a map's height within which a body counts as cut off: some maps end a few pixels before the edge."""


@dataclass(frozen=True)
class Extension:
    """Rows that are added to every map of a clip."""

    top: int = 0
    bottom: int = 0

    def __call__(self, parts_HW: np.ndarray) -> np.ndarray:
        """Return a map [H, W] -> [top + H + bottom, W]."""
        if not self.top and not self.bottom:
            return parts_HW
        longer_HW = np.pad(parts_HW, ((self.top, 0), (0, 0)), constant_values=BACKGROUND)
        edge, missing = _cut_head(parts_HW)
        for distance in range(1, min(self.top + edge, missing) + 1):
            narrower = (1 - (distance / (missing + 1)) ** 2) ** 0.5  # an ellipse
            longer_HW[self.top + edge - distance] = _narrowed(_head_only(parts_HW[edge]), narrower)
        longer_HW = np.pad(longer_HW, ((0, self.bottom), (0, 0)), mode="edge")
        last = int(np.flatnonzero(parts_HW.any(1)).max(initial=-1))
        if self.bottom and last >= (1 - EDGE) * len(parts_HW) - 1:
            longer_HW[self.top + last + 1 :] = longer_HW[self.top + last]
        return longer_HW


def _cut_head(parts_HW: np.ndarray) -> tuple[int, int]:
    """Return the first row of a head that the upper edge cuts off, and how many rows it lacks; some maps begin a little
    below the edge."""
    wide_H = np.isin(parts_HW, HEAD).sum(1)
    rows = np.flatnonzero(wide_H > wide_H.max() / 3)  # single pixels elsewhere are errors of compression
    if not rows.size or rows[0] > EDGE * len(parts_HW):
        return 0, 0
    return int(rows[0]), max(0, round(_TALL * int(wide_H.max())) - rows.size)


def _head_only(row_W: np.ndarray) -> np.ndarray:
    return np.where(np.isin(row_W, HEAD), row_W, BACKGROUND)


def _narrowed(row_W: np.ndarray, share: float) -> np.ndarray:
    """Return a row of labels, drawn together around the middle of what it shows."""
    columns = np.flatnonzero(row_W)
    if not columns.size:
        return row_W
    middle = (columns[0] + columns[-1]) / 2
    source = np.rint(middle + (np.arange(row_W.size) - middle) / share).astype(np.int64)
    inside = (source >= 0) & (source < row_W.size)
    return np.where(inside, row_W[np.where(inside, source, 0)], BACKGROUND).astype(row_W.dtype)
