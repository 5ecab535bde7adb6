"""Plan the windows of frames denoised together, and fuse overlapping predictions. Knows nothing of networks."""

from __future__ import annotations

from typing import Literal

from magicanimate.errors import InputError

Window = tuple[int, ...]  # frame indices, in the order of the window's positions
Fusion = Literal["mean", "triangular"]


def plan_windows(frames: int, window: int = 16, overlap: int = 4, wrap: bool = False) -> list[Window]:
    """Return windows of `window` consecutive frames that share at least `overlap` with their neighbors.

    Up to `window` frames make a single window. wrap=False: the last window is moved back to end at the last frame.
    wrap=True, the original's schedule: windows start at 0, window - overlap, ... as long as that is a frame, and
    continue with the first frames behind the last one, as if the video were a loop.
    """
    if frames < 1:
        raise InputError(f"There must be at least one frame, got {frames}.")
    if not 0 <= overlap < window:
        raise InputError(f"The overlap ({overlap}) must be at least 0 and smaller than the window ({window}).")
    if frames <= window:
        return [tuple(range(frames))]
    stride = window - overlap
    if wrap:
        return [tuple((start + k) % frames for k in range(window)) for start in range(0, frames, stride)]
    last = frames - window
    starts = [*range(0, last, stride), last]
    return [tuple(range(start, start + window)) for start in starts]


def position_weights(length: int, fusion: Fusion = "mean") -> list[float]:
    """Return the weight of each position in a window: all alike, or rising to the middle (1, 2, 3, 2, 1)."""
    if fusion == "mean":
        return [1.0] * length
    if fusion == "triangular":
        return [float(min(k + 1, length - k)) for k in range(length)]
    raise InputError(f"Unknown fusion {fusion!r}: choose mean or triangular.")


def fusion_weights(windows: list[Window], fusion: Fusion = "mean") -> list[list[float]]:
    """Return each window's frame weights, shaped as `windows`; for every frame they sum to 1 over the windows."""
    raw = [position_weights(len(window), fusion) for window in windows]
    total: dict[int, float] = {}
    for window, weights in zip(windows, raw, strict=True):
        for frame, weight in zip(window, weights, strict=True):
            total[frame] = total.get(frame, 0.0) + weight
    return [
        [weight / total[frame] for frame, weight in zip(window, weights, strict=True)]
        for window, weights in zip(windows, raw, strict=True)
    ]


def frame_groups(windows: list[Window]) -> dict[int, tuple[int, ...]]:
    """Return each frame's group: frames that are new in the same window, and either all in a later one or none.

    Who begins with a later window needs all of the one kind and none of the other.
    """
    last = _last_windows(windows)
    group_of: dict[int, tuple[int, ...]] = {}
    for index, window in enumerate(windows):
        new = [frame for frame in window if frame not in group_of]
        for later in (False, True):
            group = tuple(frame for frame in new if (last[frame] > index) == later)
            group_of |= dict.fromkeys(group, group)
    return group_of


def frames_needed_later(windows: list[Window]) -> list[frozenset[int]]:
    """Return for each window the frames seen so far that some later window holds again."""
    last = _last_windows(windows)
    needed: list[frozenset[int]] = []
    live: frozenset[int] = frozenset()
    for index, window in enumerate(windows):
        live = frozenset(frame for frame in live.union(window) if last[frame] > index)
        needed.append(live)
    return needed


def _last_windows(windows: list[Window]) -> dict[int, int]:
    return {frame: index for index, window in enumerate(windows) for frame in window}
