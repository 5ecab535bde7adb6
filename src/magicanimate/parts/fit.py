"""Part maps fitted to a frame of another size.

Shape legend: H W pixels.
"""

from __future__ import annotations

import numpy as np

from magicanimate.media.pictures import Placement
from magicanimate.parts.densepose import BACKGROUND


def fit_parts(parts_HW: np.ndarray, placement: Placement) -> np.ndarray:
    """[H, W] indices -> [height, width] by nearest pixel; what is left free, or outside the map, is background."""
    left, top, right, bottom = placement.box
    rows = _sample(top, bottom, placement.inner[2])
    columns = _sample(left, right, placement.inner[3])
    outside = ((rows < 0) | (rows >= parts_HW.shape[0]))[:, None] | ((columns < 0) | (columns >= parts_HW.shape[1]))
    rows = np.clip(rows, 0, parts_HW.shape[0] - 1)
    columns = np.clip(columns, 0, parts_HW.shape[1] - 1)
    inner = np.where(outside, BACKGROUND, parts_HW[rows[:, None], columns]).astype(parts_HW.dtype)
    return np.pad(inner, placement.margins, constant_values=BACKGROUND)


def _sample(start: float, stop: float, count: int) -> np.ndarray:
    """Return indices of the pixels under `count` equally spaced centers between start and stop."""
    return np.floor(start + (np.arange(count) + 0.5) * (stop - start) / count).astype(np.int64)
