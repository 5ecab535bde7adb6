"""Redo a part of a finished video: new frames are faded into those that stay.

Shape legend: H W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magicanimate.animation.parsing import parse_time
from magicanimate.errors import InputError
from magicanimate.media import open_clip, settings_path

_FADE = 4  # frames at either end of the part that are mixed with the old ones


@dataclass(frozen=True)
class Part:
    """Seconds of a video, from its beginning; the frame at `end` stays."""

    start: float
    end: float

    @classmethod
    def parse(cls, text: str) -> Part:
        """Parse START-END, times such as 2-3.5 or 1:05-1:10. Raises InputError."""
        try:
            start, end = map(parse_time, text.split("-"))
        except ValueError as error:
            raise InputError(f"redo: {text!r} is no part of a video; write START-END such as 2-3.5.") from error
        if start >= end:
            raise InputError(f"redo: {text!r} ends before it begins; write START-END such as 2-3.5.")
        return cls(start, end)


def redone(new: Iterator[np.ndarray], old: Path, part: Part, fps: float, frames: int) -> Iterator[np.ndarray]:
    """Yield the new frames within a part of an old video, and its own elsewhere.

    Args:
        new: all frames [H, W, 3] uint8 of a video of the same motion.
        old: the finished video.
        part: what is made anew.
        fps, frames: of both.

    Raises:
        InputError: the part is not in the video; the videos differ in number or size of frames.
    """
    first, last = round(part.start * fps), min(round(part.end * fps), frames)
    if first >= last:
        raise InputError(f"redo: the video ends after {frames / fps:.1f} s, before that part begins.")
    kept = iter(open_clip(old))
    for index, new_HWC in enumerate(new):
        old_HWC = next(kept, None)
        if old_HWC is None or old_HWC.shape != new_HWC.shape:
            raise _another(old, frames, new_HWC)
        share = _share(index, first, last, frames)
        yield np.rint(old_HWC + share * (new_HWC.astype(np.float32) - old_HWC)).astype(np.uint8)
    if next(kept, None) is not None:
        raise _another(old, frames, new_HWC)


def about_redone(old: Path, new: Mapping[str, Any], part: Part) -> dict[str, Any]:
    """Return the settings of the old video, with those of the part in its list `redone`."""
    path = settings_path(old)
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    entry = {"start": part.start, "end": part.end, "settings": new["settings"]}
    return kept | {"redone": [*kept.get("redone", []), entry]}


def _share(index: int, first: int, last: int, frames: int) -> float:
    """Return how much of a frame is new. At the ends of the video nothing is faded."""
    if not first <= index < last:
        return 0.0
    rising = 1.0 if first == 0 else (index - first + 1) / (_FADE + 1)
    falling = 1.0 if last == frames else (last - index) / (_FADE + 1)
    return min(1.0, rising, falling)


def _another(old: Path, frames: int, new_HWC: np.ndarray) -> InputError:
    height, width = new_HWC.shape[:2]
    return InputError(
        f"{old} does not have {frames} frames of {width}x{height}, as these inputs and settings make; repeat the "
        "command that made it, with --redo and what is to change."
    )
