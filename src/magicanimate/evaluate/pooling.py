"""Pool the videos' rows to figures with intervals.

Shape legend: V videos, N frames or windows, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from magicanimate.evaluate.catalog import Metric
from magicanimate.evaluate.feature_cache import FeatureSpool
from magicanimate.evaluate.frechet import Moments, frechet_distance, frechet_distance_of_sets
from magicanimate.evaluate.interfaces import FeatureNetwork
from magicanimate.evaluate.intervals import bootstrap, deal, jackknife, resample_counts, weighted_mean
from magicanimate.evaluate.result import Figure, LeftOut, VideoRow, values_of
from magicanimate.progress import Progress

_BUCKETS, _BUCKETS_WIDE, _WIDE = 20, 10, 1024  # a distance of 2048 dimensions takes seconds


def pool_means(rows: list[VideoRow], metrics: dict[str, Metric], resamples: int, seed: int) -> dict[str, Figure]:
    """Return means over all frames of all videos, with bootstrap intervals over groups and videos."""
    rows = sorted(rows, key=lambda row: row.name)  # the draws do not depend on the order of work
    frames_V = np.array([row.frames for row in rows], np.float64)
    groups = [row.group for row in rows]
    counts_RV = resample_counts(groups, resamples, seed)
    figures = {}
    for metric in metrics.values():
        values_V = values_of(rows, metric.name)
        has = ~np.isnan(values_V)
        if not has.any():
            continue
        interval = bootstrap(values_V, frames_V, counts_RV)
        over = "videos" if len(set(groups)) == len(groups) else f"{len(set(groups))} groups and their videos"
        figures[metric.name] = _figure(
            metric, weighted_mean(values_V, frames_V), interval,
            f"bootstrap over {over}, {resamples} resamples" if interval else "",
            videos=int(has.sum()), frames=int(frames_V[has].sum()),
        )  # fmt: skip
    return figures


def _figure(
    metric: Metric, value: float, interval: tuple[float, float] | None, how: str, *, videos: int, frames: int,
    windows: int | None = None,
) -> Figure:  # fmt: skip
    low, high = interval or (None, None)
    return Figure(
        value=value, low=low, high=high, better=metric.better, unit=metric.unit, digits=metric.digits, videos=videos,
        frames=frames, windows=windows, interval=how,
    )  # fmt: skip


def pool_distance(
    rows: list[VideoRow], network: FeatureNetwork, metric: Metric, spool: FeatureSpool, progress: Progress | None
) -> tuple[Figure, LeftOut] | None:
    """Return the Frechet distance of all videos' features, with a jackknife interval over buckets of groups.

    None if no video has a window.
    """
    rows = sorted((row for row in rows if metric.name in row.features), key=lambda row: row.name)
    if not rows:
        return None
    buckets = deal([row.group for row in rows], _BUCKETS_WIDE if network.dimensions > _WIDE else _BUCKETS)

    def told(done: int) -> None:
        if progress:
            progress("distances", done, len(buckets) + 1)

    value, left_out, windows = _distances(rows, buckets, metric.name, network.dimensions, spool, told)
    interval = jackknife(value, left_out)
    if interval:
        interval = max(0.0, interval[0]), interval[1]
    figure = _figure(
        metric, value, interval, f"jackknife over {len(buckets)} buckets" if interval else "",
        videos=len(rows), frames=sum(row.frames for row in rows), windows=windows,
    )  # fmt: skip
    names = [[rows[index].name for index in bucket] for bucket in buckets]
    return figure, LeftOut(buckets=names, distances=left_out)


def _distances(
    rows: list[VideoRow], buckets: list[list[int]], name: str, dimensions: int, spool: FeatureSpool,
    told: Callable[[int], None],
) -> tuple[float, list[float], int]:  # fmt: skip
    """Return the distance of all videos, those without each bucket (none of one alone), and the number of windows."""

    def bucket(index: int, side: int) -> np.ndarray:
        return np.concatenate([spool.load(rows[row].features[name][side]) for row in buckets[index]])

    def moments(index: int, side: int) -> Moments:
        """Return the moments of a bucket, holding one video's features at a time."""
        total = Moments.empty(dimensions)
        for row in buckets[index]:
            total = total.merge(Moments.of(spool.load(rows[row].features[name][side])))
        return total

    windows = sum(spool.count(row.features[name][0]) for row in rows)
    every = range(len(buckets))
    told(0)
    if windows <= dimensions:  # the samples themselves are the smaller matrices
        outputs, targets = ([bucket(index, side) for index in every] for side in (0, 1))
        value = frechet_distance_of_sets(np.concatenate(outputs), np.concatenate(targets))
        without = (
            frechet_distance_of_sets(*(np.concatenate(side[:i] + side[i + 1 :]) for side in (outputs, targets)))
            for i in every
        )
    else:
        totals = [reduce(Moments.merge, (moments(index, side) for index in every)) for side in (0, 1)]
        value = frechet_distance(*totals)
        without = (
            frechet_distance(*(total.without(moments(i, side)) for side, total in enumerate(totals))) for i in every
        )
    told(1)
    left_out = []
    if len(buckets) > 1:
        for done, distance in enumerate(without, start=2):
            left_out.append(distance)
            told(done)
    return value, left_out, windows
