"""Every kind of motion becomes part maps: what a file holds is told by its content, converted, and said.

Shape legend: F frames, H W pixels, C colour channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from magicanimate.errors import InputError
from magicanimate.media import Audio, Clip, Span, open_clip
from magicanimate.media.timing import WHOLE
from magicanimate.motion.palettes import PALETTE_NAMES, VIRIDIS, Colouring
from magicanimate.motion.recognise import Recognised, recognise, sample

if TYPE_CHECKING:
    from magicanimate.body.fit import BodyMotion

Extractor = Literal["auto", "mediapipe", "densepose", "dwpose"]
_BLACK_SHARE = 0.05  # of pixels, from which a black background is one
Progress = Callable[[str, int, int | None], None]


@dataclass
class MotionClip:
    """Motion as part maps, readable any number of times: iterating yields parts [H, W] uint8 in 0..24."""

    path: Path
    kind: Literal["densepose", "video", "keypoints", "bvh", "body", "depth"]
    """What the file held before anything was converted."""
    fps: float
    size: tuple[int, int]
    """(height, width) in pixels."""
    count: int | None
    """Number of frames; None when that is not known."""
    start: Callable[[], Iterator[np.ndarray]] = field(repr=False)
    notes: list[str] = field(default_factory=list)
    """What was recognised and converted, a sentence each."""
    warnings: list[str] = field(default_factory=list)
    colouring: str = "parts"
    """Name of the palette that a part map was painted with."""
    near: float = 1.0
    """Share of pixels that had one of its colours, among those looked at."""
    colours: Clip | None = None
    """The clip of a part map as it was painted."""
    body: BodyMotion | None = None
    """The fitted body, where one was fitted."""
    audio: Audio | None = None
    """The sound that belongs to these frames."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.start()


def open_motion(
    source: str | Path | Clip,
    span: Span = WHOLE,
    *,
    extractor: Extractor = "auto",
    person: int | None = None,
    progress: Progress | None = None,
) -> MotionClip:
    """Open any motion as part maps. A part map streams; other kinds are converted here, which can take a while.

    Args:
        source: file, folder, or a clip that is already open (its span is then fixed).
        span: which frames, and at which rate.
        extractor: what finds people in pictures; auto: mediapipe.
        person: which of several people to follow, from 1; default: the largest.
        progress: told ("extracting" or "fitting", done, total).

    Raises:
        InputError: the file cannot be read, shows nobody, or is painted with a palette that is not known.
    """
    clip = source if isinstance(source, Clip) else open_clip(source, span)
    found = recognise(sample(clip))
    if found.kind == "parts":
        return _painted(clip, found)
    raise InputError(_not_understood(clip.path, found))


def _painted(clip: Clip, found: Recognised) -> MotionClip:
    """A part map in a known palette, streamed."""
    colouring = found.colouring
    assert colouring is not None
    return MotionClip(
        clip.path, "densepose", clip.fps, clip.size, clip.count,
        lambda: (colouring.decode(frame_HWC) for frame_HWC in clip),
        notes=[*clip.notes, *_converted(colouring, found)], warnings=clip.warnings,
        colouring=colouring.name, near=found.near, colours=clip, audio=clip.audio,
    )  # fmt: skip


def _converted(colouring: Colouring, found: Recognised) -> list[str]:
    """What was done to a part map, in a sentence."""
    if colouring is not VIRIDIS:
        return [colouring.note]
    if found.black > _BLACK_SHARE:
        return [f"The motion's background is black ({found.black:.0%} of its pixels); it was repainted purple."]
    return []


def _not_understood(path: Path, found: Recognised) -> str:
    if found.kind == "empty":
        return f"No person was found in {path}: its frames show one plain colour; give a clip in which somebody moves."
    return (
        f"{path} is painted in flat colours that are none of the known palettes ({PALETTE_NAMES}), so its parts cannot "
        "be told; give DensePose part indices through the viridis map, or the video they were made from."
    )
