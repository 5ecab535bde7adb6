"""Smoothing tracks over time without lag, and bridging short gaps.

Shape legend: F frames; the other axes of a signal are independent.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def bridge_gaps(values: np.ndarray, known_F: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill gaps of at most `longest` frames by linear interpolation between their neighbors.

    Args:
        values: [F, ...].
        known_F: [F] bool, frames with a value.
        longest: in frames; gaps at the ends are never filled.

    Returns:
        values [F, ...] and which frames have one now [F].
    """
    known = np.flatnonzero(known_F)
    filled, now = values.copy(), known_F.copy()
    for before, after in pairwise(known):
        if 1 < after - before <= longest + 1:
            inside = np.arange(before + 1, after)
            share = ((inside - before) / (after - before)).reshape(-1, *[1] * (values.ndim - 1))
            filled[inside] = (1 - share) * values[before] + share * values[after]
            now[inside] = True
    return filled, now


def runs(known_F: np.ndarray) -> list[slice]:
    """Return stretches of consecutive True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known_F.astype(np.int8), [0]])))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _polynomial_weights(half: int) -> np.ndarray:
    """Return weights [2*half+1] that take the middle of a parabola fitted to a window (Savitzky and Golay, 1964)."""
    x = np.arange(-half, half + 1)
    return np.linalg.pinv(np.stack([np.ones_like(x), x, x**2], 1).astype(float))[0]


def smooth(values: np.ndarray, weights: np.ndarray, half: int) -> np.ndarray:
    """Smooth by local parabolas, weighted by confidence, without lag.

    A parabola keeps peaks of a motion where a mean would flatten them. At the ends the signal is continued by point
    reflection, so that it neither stops nor lags there.

    Args:
        values: [F, ..., C].
        weights: [F, ...], at least 0; samples with weight 0 do not count.
        half: half width of the window in frames; 0 returns the values.
    """
    half = min(half, len(values) - 1)
    if half < 1:
        return values
    kernel = _polynomial_weights(half) if half > 1 else np.array([0.25, 0.5, 0.25])
    padded = np.concatenate([2 * values[:1] - values[half:0:-1], values, 2 * values[-1:] - values[-2 : -half - 2 : -1]])
    trust = np.concatenate([weights[half:0:-1], weights, weights[-2 : -half - 2 : -1]])[..., None] + 1e-6
    total = sum(w * (padded * trust)[k : k + len(values)] for k, w in enumerate(kernel))
    norm = sum(w * trust[k : k + len(values)] for k, w in enumerate(kernel))
    safe = norm > 0.2 * np.abs(kernel).sum() * trust.max()
    return np.where(safe, total / np.where(safe, norm, 1), values).astype(values.dtype)
