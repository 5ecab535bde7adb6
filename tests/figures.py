"""Part maps for tests."""

from __future__ import annotations

import numpy as np


def walking_parts(frames: int, height: int = 64, width: int = 64) -> np.ndarray:
    """Part maps [F, H, W] of a blocky figure that moves to the right: all 24 parts, head on top."""
    parts_FHW = np.zeros((frames, height, width), np.uint8)
    cell_height, cell_width = height // 8, width // 8
    for index in range(frames):
        left = 2 * cell_width + index % cell_width
        for part in range(1, 23):
            row, column = divmod(part - 1, 4)
            top, start = (row + 2) * cell_height, left + column * cell_width
            parts_FHW[index, top : top + cell_height, start : start + cell_width] = part
        parts_FHW[index, cell_height : 2 * cell_height, left + cell_width : left + 2 * cell_width] = 23
        parts_FHW[index, cell_height : 2 * cell_height, left + 2 * cell_width : left + 3 * cell_width] = 24
    return parts_FHW
