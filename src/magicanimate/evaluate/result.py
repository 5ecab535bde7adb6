"""The outcome of an evaluation as plain data, and the comparison of two.

Every figure carries what it was measured on; every video's own values are kept, so that two methods can be compared
video by video.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from magicanimate.errors import InputError
from magicanimate.evaluate.catalog import Better
from magicanimate.evaluate.intervals import bootstrap, jackknife, resample_counts, weighted_mean


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class Figure(_Data):
    """A pooled figure with its 95% interval."""

    value: float
    low: float | None = None
    """None where there are too few videos for an interval."""
    high: float | None = None
    better: Better
    unit: str = ""
    digits: int = 4
    videos: int
    frames: int
    windows: int | None = None
    """Frames or windows that features were taken of; only for Frechet distances."""
    interval: str = ""
    """Method of the interval."""


class VideoRow(_Data):
    """One video's own figures."""

    name: str
    group: str
    """The person, or the video's name where no group was given."""
    frames: int
    """Target frames."""
    size: tuple[int, int]
    """(height, width) in pixels at which it was compared."""
    values: dict[str, float | None]
    """None where a figure is not defined, such as the flicker of a background that is never seen."""
    part_errors: dict[str, float] = {}
    """Color error of each body part that was seen, by its name."""
    features: dict[str, tuple[str, str]] = {}
    """Names of the feature files of output and target, by distance."""
    notes: list[str] = []
    """Notes from reading the files."""


class NetworkNote(_Data):
    """A network that was used."""

    metric: str
    name: str
    sha256: str
    recognized: str | None = None
    """The published file that this is; empty for others, None for networks that were never published."""
    dimensions: int | None = None
    window: int | None = None


class LeftOut(_Data):
    """A Frechet distance without each bucket of videos, for intervals of itself and of differences."""

    buckets: list[list[str]]
    distances: list[float]


class Result(_Data):
    """A finished evaluation."""

    settings: dict[str, Any]
    videos: int
    frames: int
    size: tuple[int, int]
    groups: int
    blocks: dict[str, dict[str, Figure]]
    rows: list[VideoRow]
    part_errors: dict[str, float] = {}
    """Mean color error of each body part, in gray levels."""
    networks: list[NetworkNote] = []
    left_out: dict[str, LeftOut] = {}
    notes: list[str] = []
    versions: dict[str, str] = {}

    def figures(self) -> dict[str, Figure]:
        """Return all pooled figures by name; those that stand in two blocks once."""
        return {name: figure for block in self.blocks.values() for name, figure in block.items()}


class Difference(_Data):
    """Difference of one figure between two methods, a minus b, on the same videos."""

    a: float
    b: float
    difference: float
    low: float | None = None
    high: float | None = None
    better: Better
    ahead: str
    """a, b or undecided: whether the paired interval leaves zero out, and on which side."""
    intervals_overlap: bool | None = None
    """True if the two methods' own intervals have a value in common."""
    videos: int


def compare(a: Result, b: Result, seed: int = 0, resamples: int = 2000) -> dict[str, Difference]:
    """Return every figure that both have, with the interval of the paired difference.

    Means: bootstrap over groups and videos, the same draws for both. Distances: jackknife over the same buckets.

    Raises:
        InputError: they were not measured on the same videos, or not in the same way.
    """
    rows = [sorted(result.rows, key=lambda row: row.name) for result in (a, b)]
    named = [[(row.name, row.group, row.frames, row.size) for row in side] for side in rows]
    if named[0] != named[1]:
        raise InputError("Two results can be compared only on the same videos, groups, frame counts and resolution.")
    groups = [row.group for row in rows[0]]
    frames_V = np.array([row.frames for row in rows[0]], np.float64)
    counts_RV = resample_counts(groups, resamples, seed)
    theirs = b.figures()
    found = {}
    for name, ours in a.figures().items():
        if name not in theirs:
            continue
        if name in a.left_out and name in b.left_out:
            found[name] = _difference(ours, theirs[name], *_distances_apart(a, b, name), len(groups))
            continue
        values = [values_of(side, name) for side in rows]
        apart_V = values[0] - values[1]
        if np.isnan(apart_V).all():
            continue
        between = bootstrap(apart_V, frames_V, counts_RV)
        videos = int((~np.isnan(apart_V)).sum())
        found[name] = _difference(ours, theirs[name], weighted_mean(apart_V, frames_V), between, videos)
    return found


def values_of(rows: list[VideoRow], name: str) -> np.ndarray:
    """Return one figure of every video, [V]; NaN where it is not defined."""
    values = [row.values.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _distances_apart(a: Result, b: Result, name: str) -> tuple[float, tuple[float, float] | None]:
    if a.left_out[name].buckets != b.left_out[name].buckets:
        raise InputError(f"{name} was left out over different buckets of videos, so it cannot be compared.")
    used = [next(note.sha256 for note in result.networks if note.metric == name) for result in (a, b)]
    if used[0] != used[1]:
        raise InputError(f"{name} was measured with different networks, so it cannot be compared.")
    apart = a.figures()[name].value - b.figures()[name].value
    pairs = zip(a.left_out[name].distances, b.left_out[name].distances, strict=True)
    return apart, jackknife(apart, [ours - theirs for ours, theirs in pairs])


def _difference(
    ours: Figure, theirs: Figure, apart: float, between: tuple[float, float] | None, videos: int
) -> Difference:
    overlap = None
    if ours.low is not None and ours.high is not None and theirs.low is not None and theirs.high is not None:
        overlap = ours.low <= theirs.high and theirs.low <= ours.high
    ahead = "undecided"
    if between and ours.better != "none" and not between[0] <= 0 <= between[1]:
        ahead = "a" if (between[1] < 0) == (ours.better == "lower") else "b"
    low, high = between or (None, None)
    return Difference(
        a=ours.value, b=theirs.value, difference=apart, low=low, high=high, better=ours.better, ahead=ahead,
        intervals_overlap=overlap, videos=videos,
    )  # fmt: skip
