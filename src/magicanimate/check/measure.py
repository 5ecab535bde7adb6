"""Figures of a motion signal that tell whether it can be followed.

Shape legend: F frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from magicanimate.motion.report import count_heads
from magicanimate.parts.densepose import BACKGROUND, HEAD, resize_parts

_SIDE = 192  # pixels of the longer side at which maps are measured
_EVERY = 8  # frames of which people are counted


@dataclass(frozen=True)
class Measured:
    """Measurements of a video's part maps; shares are 0..1."""

    shares_25: np.ndarray
    """[25] mean share of the frame that each part covers."""
    seen_25: np.ndarray
    """[25] share of the frames that show each part."""
    cut: dict[str, float]
    """Share of the frames in which the head runs out of the frame at the top, or the body at bottom, left, right."""
    flicker: float
    """Share of the body's pixels that, in the middle one of three frames, belong to another part than before and
    after."""
    people: tuple[int, int]
    """Fewest and most heads in a frame, among those looked at."""


def measure(parts_FHW: Iterable[np.ndarray]) -> Measured:
    """Measure part maps, at least one, holding three small ones at a time."""
    shares, seen, cuts, heads, flickers = [], [], [], [], []
    last: list[np.ndarray] = []
    for index, parts_HW in enumerate(parts_FHW):
        scale = min(1.0, _SIDE / max(parts_HW.shape))
        small = resize_parts(
            parts_HW, (max(1, round(parts_HW.shape[0] * scale)), max(1, round(parts_HW.shape[1] * scale)))
        )
        counts = np.bincount(small.reshape(-1), minlength=25)
        shares.append(counts / small.size)
        seen.append(counts > 0)
        body_HW = small != BACKGROUND
        cuts.append([np.isin(small[0], HEAD).any(), body_HW[-1].any(), body_HW[:, 0].any(), body_HW[:, -1].any()])
        if index % _EVERY == 0:
            heads.append(count_heads(parts_HW))
        last = [*last[-2:], small]
        if len(last) == 3:
            jumped = (last[0] == last[2]) & (last[1] != last[0])
            flickers.append(jumped.sum() / max(1, (last[1] != BACKGROUND).sum()))
    return Measured(
        np.mean(shares, axis=0),
        np.mean(seen, axis=0),
        dict(zip(("top", "bottom", "left", "right"), np.mean(cuts, axis=0).tolist(), strict=True)),
        float(np.mean(flickers)) if flickers else 0.0,
        (min(heads), max(heads)),
    )
