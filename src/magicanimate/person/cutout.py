"""A drawn person with their shadow as one layer with alpha.

Shape legend: H W pixels, h w blocks.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from magicanimate.compiled import compiled
from magicanimate.person.drawing import Drawing

_BLOCK = 8
"""Pixels of a block. Encoders mix colors of neighbors, so what is not seen gets the mean of the blocks around it."""


def cut_out(drawing: Drawing, light_HW: np.ndarray) -> np.ndarray:
    """Lay a drawing over its shadow. [H, W, 4] uint8, colors not multiplied by alpha.

    light_HW: float32, share of the light that the shadow leaves, at most 1.
    """
    height, width = light_HW.shape
    out_HW4 = np.zeros((height, width, 4), np.uint8)
    sums_hw4 = np.zeros((-(-height // _BLOCK), -(-width // _BLOCK), 4), np.float32)
    _compose(drawing.color_HWC, drawing.alpha_HW, light_HW, out_HW4, sums_hw4)
    sums_hw4 = ndimage.uniform_filter(sums_hw4, (3, 3, 1), mode="constant")
    _continue(np.rint(sums_hw4[..., :3] / np.maximum(sums_hw4[..., 3:], 1e-3)).astype(np.uint8), out_HW4)
    return out_HW4


@compiled
def _compose(color_HWC, alpha_HW, light_HW, out_HW4, sums_hw4):
    height, width = alpha_HW.shape
    for row in range(height):
        for column in range(width):
            alpha, light = alpha_HW[row, column], light_HW[row, column]
            if alpha == 0 and light >= 1:
                continue
            share = alpha / 255
            total = 1 - (1 - share) * min(light, 1.0)
            out_HW4[row, column, 3] = np.uint8(255 * total + 0.5)
            sums_hw4[row // _BLOCK, column // _BLOCK, 3] += total
            for c in range(3):
                seen = color_HWC[row, column, c] * share
                out_HW4[row, column, c] = np.uint8(min(255.0, seen / max(total, 1e-6)) + 0.5)
                sums_hw4[row // _BLOCK, column // _BLOCK, c] += seen


@compiled
def _continue(means_hwC, out_HW4):
    height, width = out_HW4.shape[:2]
    for row in range(height):
        for column in range(width):
            if out_HW4[row, column, 3] == 0:
                for c in range(3):
                    out_HW4[row, column, c] = means_hwC[row // _BLOCK, column // _BLOCK, c]
