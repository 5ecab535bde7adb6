"""95% intervals: bootstrap of means over people and videos, jackknife of distances.

Shape legend: R resamples, V videos, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95


def resample_counts(groups: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Draw how often each video is in each resample, [R, V].

    Two levels: as many groups as there are are drawn with replacement, and in each drawn one as many of its videos
    as it has. Where every video is a group of its own, this is the ordinary bootstrap.
    """
    rng = np.random.default_rng(seed)
    names = sorted(set(groups))
    drawn_RG = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    counts_RV = np.zeros((resamples, len(groups)), np.int64)
    for index, name in enumerate(names):
        members = np.flatnonzero([group == name for group in groups])
        draws_R = drawn_RG[:, index] * len(members)
        counts_RV[:, members] = rng.multinomial(draws_R, np.full(len(members), 1 / len(members)))
    return counts_RV


def weighted_mean(values_V: np.ndarray, weights_V: np.ndarray) -> float:
    """Return the mean of the videos that have a value; NaN if none has."""
    has = ~np.isnan(values_V)
    return float(values_V[has] @ weights_V[has] / weights_V[has].sum()) if has.any() else float("nan")


def bootstrap(values_V: np.ndarray, weights_V: np.ndarray, counts_RV: np.ndarray) -> tuple[float, float] | None:
    """Return the percentile interval of the weighted mean; None with fewer than two videos that have a value."""
    has = ~np.isnan(values_V)
    if has.sum() < 2:
        return None
    weights_RV = counts_RV[:, has] * weights_V[has]
    totals_R = weights_RV.sum(1)
    drawn = totals_R > 0
    low, high = np.quantile(weights_RV[drawn] @ values_V[has] / totals_R[drawn], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def jackknife(value: float, left_out: Sequence[float]) -> tuple[float, float] | None:
    """Interval around a value from the values without each group: Student's t with G - 1 degrees of freedom."""
    count = len(left_out)
    if count < 2:
        return None
    from scipy.stats import t

    error = np.sqrt((count - 1) * np.var(left_out))
    reach = float(t.ppf((1 + LEVEL) / 2, count - 1) * error)
    return value - reach, value + reach


def deal(groups: Sequence[str], buckets: int) -> list[list[int]]:
    """Return indices of videos in at most so many buckets of whole groups; the order of the videos does not matter."""
    names = sorted(set(groups))
    place = {name: index % min(buckets, len(names)) for index, name in enumerate(names)}
    dealt: list[list[int]] = [[] for _ in range(min(buckets, len(names)))]
    for index, group in enumerate(groups):
        dealt[place[group]].append(index)
    return dealt
