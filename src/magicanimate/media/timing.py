"""Select the frames of a clip, and resample it in time.

Shape legend: H W pixels, C color channels. Times are in seconds from the first frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from magicanimate.errors import InputError

DEFAULT_FPS = 25.0
SLACK = 0.002
"""Seconds by which a frame may be late: containers round times to milliseconds or coarser."""
_UNEVEN = 0.4  # of a frame's duration by which one may be early or late before the rate counts as variable
_OFF, _UNBROKEN = 0.2, 0.85  # of a usual gap that one may be off; share of the frames that must be there
_CLOSE = 0.02  # relative difference of rates that rounding of time stamps explains
_COMMON_RATES = (10, 12, 12.5, 15, 20, 24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60, 90, 120)

Timed = tuple[float, np.ndarray]
"""A frame [H, W, C] and when it appears."""


@dataclass(frozen=True)
class Span:
    """The frames that are wanted: from `start` to `end`, at `fps` (None: the clip's own), at most `frames`."""

    start: float = 0.0
    end: float | None = None
    fps: float | None = None
    frames: int | None = None


WHOLE = Span()


@dataclass(frozen=True)
class Timeline:
    """Times at which the frames of a whole clip appear."""

    times: Sequence[float]
    length: float
    """End of the last frame, seconds."""
    fps: float
    """The rate; of a variable one that of its most common gap."""
    even: bool
    """True if all frames last equally long."""
    holes: bool = False
    """True if the rate is even but for missing frames: the frames before them stay on the screen."""


def timeline(times: Sequence[float], fps: float, length: float | None = None) -> Timeline:
    """Judge the times at which frames appear.

    Args:
        times: sorted, the first is 0.
        fps: rate that the file declares, used if it is even.
        length: when the last frame ends; default: as long after the last as the usual gap.
    """
    stamps = np.asarray(times, np.float64)
    if len(stamps) < 2 or stamps[-1] <= 0:
        return Timeline(times, length or 1 / fps, fps, True)
    mean = stamps[-1] / (len(stamps) - 1)
    even = bool((np.abs(stamps - mean * np.arange(len(stamps))) < _UNEVEN * mean).all())
    usual = mean if even else float(np.median(np.diff(stamps)))
    holes = not even and _has_holes(np.diff(stamps) / max(usual, SLACK))
    rate = fps if (even or holes) and abs(fps * usual - 1) < _CLOSE else _common(1 / max(usual, SLACK))
    return Timeline(times, max(length or 0.0, times[-1] + 1 / rate), rate, even, holes)


def _has_holes(gaps: np.ndarray) -> bool:
    """Return True if gaps between frames are whole multiples of the usual one, and few frames are missing."""
    whole = np.rint(gaps)
    return bool((np.abs(gaps - whole) < _OFF).all() and whole.min() >= 1 and len(gaps) >= _UNBROKEN * whole.sum())


def _common(rate: float) -> float:
    """Return a measured rate, rounded to one in use if one is near."""
    nearest = min(_COMMON_RATES, key=lambda common: abs(common / rate - 1))
    return nearest if abs(nearest / rate - 1) < _CLOSE else rate


def cut_frames(line: Timeline, span: Span, frames: Iterable[Timed]) -> Iterator[np.ndarray]:
    """Yield the frames of a span, at its rate."""
    end = line.length if span.end is None else min(span.end, line.length)
    if line.even and (span.fps is None or abs(span.fps - line.fps) < 1e-3):
        cut = _as_stored(frames, span.start, end)
    else:
        cut = on_screen(frames, span.fps or line.fps, span.start, end)
    for index, frame_HWC in enumerate(cut, start=1):
        yield frame_HWC
        if index == span.frames:  # before the next one is read: it may be damaged, and it is not wanted
            return


def count_frames(line: Timeline, span: Span, path: object) -> int:
    """Return the number of frames that `cut_frames` yields.

    Raises:
        InputError: the span lies behind the end of the clip.
    """
    if span.start >= line.length - SLACK:
        raise InputError(f"{path} lasts {line.length:.2f} s, so nothing is left after --start {span.start:g}.")
    end = line.length if span.end is None else min(span.end, line.length)
    if line.even and (span.fps is None or abs(span.fps - line.fps) < 1e-3):
        count = sum(span.start - SLACK <= time < end - SLACK for time in line.times)
    else:
        count = math.ceil((end - span.start - SLACK) * (span.fps or line.fps))
    return count if span.frames is None else min(count, span.frames)


def _as_stored(frames: Iterable[Timed], start: float, end: float) -> Iterator[np.ndarray]:
    for time, frame_HWC in frames:
        if time >= end - SLACK:
            return
        if time >= start - SLACK:
            yield frame_HWC


def on_screen(frames: Iterable[Timed], fps: float, start: float, end: float) -> Iterator[np.ndarray]:
    """Yield the frame on the screen at start, start + 1/fps, start + 2/fps, and so on, before end."""
    tick, shown = start, None
    produced = 0
    for time, frame_HWC in frames:
        while shown is not None and tick < min(time, end) - SLACK:
            yield shown
            produced += 1
            tick = start + produced / fps
        if tick >= end - SLACK:
            return
        shown = frame_HWC
    while shown is not None and tick < end - SLACK:
        yield shown
        produced += 1
        tick = start + produced / fps
