"""Finds where a video is cut, from small copies of its frames.

Shape legend: F frames, S side.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_SIDE = 32  # pixels
_PLAIN = 12  # levels
_LEAST = 0.1  # mean difference of two frames, in the range from black to white, that can be a cut
_STANDS_OUT = 3.0  # times the differences before and after


def thumbnail(image_HWC: np.ndarray) -> np.ndarray:
    """Return a small copy [S, S, 3] uint8 of a frame [H, W, 3] uint8."""
    return np.asarray(Image.fromarray(image_HWC).resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0))


def is_plain(small_SSC: np.ndarray) -> bool:
    """Return True if a frame shows nothing, as missing ones do: the one before it is compared with the next instead."""
    return bool(np.ptp(small_SSC.reshape(-1, 3), axis=0).max() < _PLAIN)


def difference(one_SSC: np.ndarray, other_SSC: np.ndarray) -> float:
    """Return the mean difference of two small copies, 0 to 1."""
    return float(np.abs(one_SSC.astype(np.int16) - other_SSC).mean() / 255)


def may_be_cut(differences: list[float]) -> bool:
    """Return True if the last difference may be a cut, as far as those before it tell."""
    before = differences[-2] if len(differences) > 1 else 0.0
    return differences[-1] > _LEAST and differences[-1] > _STANDS_OUT * before


def find_cuts(differences: list[float]) -> tuple[int, ...]:
    """Find the frames that begin a new shot. `differences`: of each frame from the one before it, from the second on.

    A cut is one large difference alone: a flash makes two, and fast motion many.
    """
    padded = np.array([0.0, *differences, 0.0])
    around = np.maximum(padded[:-2], padded[2:])
    sharp = (padded[1:-1] > _LEAST) & (padded[1:-1] > _STANDS_OUT * around)
    return tuple(int(frame) + 1 for frame in np.flatnonzero(sharp))
