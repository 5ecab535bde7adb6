"""Cut videos into scenes at frame differences, and scenes into clips.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

_THUMBNAIL = 32  # pixels per side at which frames are compared: people may move, cuts change everything
_AROUND = 4  # frames before and after that say how much change is usual
_SUDDEN = 3.0  # times the usual change that a cut makes at least


@dataclass(frozen=True)
class ClipWindow:
    """Frames of one clip within a stretch: `start` and the next ones, and the reference."""

    start: int
    length: int
    reference: int | None
    """None: no frame can be one."""

    @property
    def run(self) -> range:
        return range(self.start, self.start + self.length)


def thumbnail(frame_HWC: np.ndarray) -> np.ndarray:
    """Return [32, 32, 3] float32."""
    small = Image.fromarray(frame_HWC).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def find_cuts(change_F: np.ndarray, threshold: float) -> list[int]:
    """Return frames that begin a new scene.

    change_F: mean absolute difference of frame f to f - 1, the first is 0. A cut is a change above the threshold that
    is also sudden: far above the usual one around it.
    """
    cuts = []
    for f in np.flatnonzero(change_F > threshold).tolist():
        around = np.concatenate([change_F[max(1, f - _AROUND) : f], change_F[f + 1 : f + 1 + _AROUND]])
        if not len(around) or change_F[f] > _SUDDEN * np.median(around):
            cuts.append(f)
    return cuts


def stretches(count: int, cuts: list[int], longest: int) -> Iterator[range]:
    """Yield frames 0..count-1, cut into scenes and these into equal stretches of at most `longest` frames."""
    edges = [0, *cuts, count]
    for start, stop in itertools.pairwise(edges):
        pieces = -(-(stop - start) // longest)
        inner = [start + (stop - start) * k // pieces for k in range(pieces + 1)] if pieces else []
        yield from (range(a, b) for a, b in itertools.pairwise(inner))


def plan_windows(seen_F: np.ndarray, length: int, gap: int, rng: np.random.Generator) -> list[ClipWindow]:
    """Return back-to-back runs of `length` frames of a stretch, each with a reference from the same stretch.

    The reference shows the person (seen_F) and is at least `gap` frames away where there is such a frame, else as far
    away as can be. A stretch that is too short for a run and a reference gives no window.
    """
    count = len(seen_F)
    windows = []
    for start in range(0, count - length + 1, length):
        frames = np.arange(count)
        away = np.maximum(start - frames, frames - (start + length - 1))
        possible = seen_F & (away > 0)
        if not possible.any():
            windows.append(ClipWindow(start, length, None))
            continue
        far = possible & (away >= min(gap, away[possible].max()))
        windows.append(ClipWindow(start, length, int(rng.choice(np.flatnonzero(far)))))
    return windows if count > length else []
