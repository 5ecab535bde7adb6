"""Keeps a skirt, dress or coat in one piece between the legs.

Shape legend: H W pixels, h w vertices of a grid over them, J joints.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import JOINT_INDEX
from magicanimate.person.matte import Matte

_GAP = 0.02  # of the figure's height: cloth between the legs that no leg explains, from which it is a skirt
_ROWS = 0.03  # of the figure's height: rows of it that make one
_NARROWER, _AT_ONCE = 0.8, 0.015  # of a row's width, how little of it goes on; so far below, of the figure's height
_LONG = 0.04  # of the figure's height: shortest cloth around both legs
_BLUR = 0.05  # of the figure's height: how far sideways the legs' motion is mixed
_ABOVE = 0.12  # of the figure's height: where the mixing begins above the first such row
_LEGS = ("thigh", "shin", "foot")


def join_skirt(
    weights_hwJ: np.ndarray, rest_hw3: np.ndarray, on_HW: np.ndarray, matte: Matte, body: BodyMotion, cell: int,
    height: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Blur skinning weights and rest positions of a skirt sideways; unchanged where there is none."""
    cloth_hw = _skirt(weights_hwJ, rest_hw3, on_HW, matte, body, cell, height)
    if cloth_hw is None:
        return weights_hwJ, rest_hw3
    sigma = (0.4 * _BLUR * height / cell, _BLUR * height / cell, 0)
    weight = cloth_hw.astype(np.float32)[..., None]
    share = np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-4)
    mixed = ndimage.gaussian_filter(weights_hwJ * weight, sigma) / share
    mixed /= np.maximum(mixed.sum(-1, keepdims=True), 1e-6)
    soft = np.clip(ndimage.gaussian_filter(weight[..., 0], 0.01 * height / cell) * 2 - 0.5, 0, 1)[..., None]
    rest = np.where(weight > 0, ndimage.gaussian_filter(rest_hw3 * weight, sigma) / share, rest_hw3)
    return weights_hwJ * (1 - soft) + mixed * soft, rest.astype(np.float32)


def _skirt(
    weights_hwJ: np.ndarray, rest_hw3: np.ndarray, on_HW: np.ndarray, matte: Matte, body: BodyMotion, cell: int,
    height: float,
) -> np.ndarray | None:  # fmt: skip
    """Return [h, w] bool: runs of the person's pixels in a row that hold both legs and cloth between them."""
    person = matte.mask_HW[::cell, ::cell]
    on = on_HW[::cell, ::cell]
    left, right = (
        (weights_hwJ[..., [JOINT_INDEX[f"{name}.{side}"] for name in _LEGS]].sum(-1) > 0.5) & on for side in "LR"
    )
    crotch = body.shape.rest.point("thigh.L")[2] - 0.10
    low = on & (rest_hw3[..., 2] < crotch)
    runs, count = ndimage.label(person, structure=[[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    numbers = np.arange(count + 1)
    has = (ndimage.sum_labels(low & left, runs, numbers) > 1) & (ndimage.sum_labels(low & right, runs, numbers) > 1)
    gap = ndimage.sum_labels(person & ~on & _between(left, right), runs, numbers)
    both = has & (numbers > 0)
    wide = both & (gap * cell > _GAP * height)
    wide_rows = np.isin(runs, numbers[wide]).any(1)
    cloth = np.isin(runs, numbers[both])
    hem = _hem(cloth, person, height / cell)
    if hem is None and wide_rows.sum() * cell < _ROWS * height:
        return None
    last = max([hem or 0, *np.flatnonzero(wide_rows)])
    cloth[last + 1 :] = False
    top = int(np.flatnonzero(cloth.any(1)).min())
    start = max(0, top - round(_ABOVE * height / cell))
    cloth[start:top] |= person[start:top] & ndimage.binary_dilation(cloth[top], iterations=2)[None]
    return cloth


def _hem(cloth: np.ndarray, person: np.ndarray, height: float) -> int | None:
    """Find the lowest row [h, w] of cloth around both legs below which the person is much narrower; None if the rows
    above it are few."""
    below = max(1, round(_AT_ONCE * height))
    rows = np.flatnonzero(cloth.any(1))
    rows = rows[np.cumsum(np.diff(rows, prepend=rows[:1]) > 1) == 0]  # legs may touch again further down
    rows = rows[(rows - rows[:1] > _LONG * height) & (rows + below < len(cloth))] if rows.size else rows
    widths = ndimage.minimum_filter1d(cloth.sum(1), below + 1, origin=below // 2)  # of rows up to each; spurs are thin
    narrower = [row for row in rows if (person[row + below] & cloth[row]).sum() < _NARROWER * widths[row]]
    return int(max(narrower)) if narrower else None


def _between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the places of a row with one leg on either side. [h, w] bool."""
    either = left | right
    before = np.maximum.accumulate(either, 1)
    after = np.maximum.accumulate(either[:, ::-1], 1)[:, ::-1]
    return before & after & ~either
