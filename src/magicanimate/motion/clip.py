"""A motion of any source: part maps that can be read any number of times.

Shape legend: H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from magicanimate.media import Audio, Clip

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion

Kind = Literal["densepose", "video", "keypoints", "bvh", "body"]


@dataclass
class MotionClip:
    """Motion as part maps, readable any number of times: iterating yields parts [H, W] uint8 in 0..24."""

    path: Path
    kind: Kind
    """Kind of the file's content before conversion."""
    fps: float
    size: tuple[int, int]
    """(height, width) in pixels."""
    count: int | None
    """Number of frames; None when that is not known."""
    start: Callable[[], Iterator[np.ndarray]] = field(repr=False)
    notes: list[str] = field(default_factory=list)
    """Recognitions and conversions, a sentence each."""
    warnings: list[str] = field(default_factory=list)
    coloring: str = "parts"
    """Name of the palette that a part map was painted with."""
    near: float = 1.0
    """Share of pixels that had one of its colors, among those looked at."""
    colors: Clip | None = None
    """The clip of a part map as it was painted."""
    pictures: Clip | None = None
    """The video in which people were found, as it is."""
    body: BodyMotion | None = None
    """The fitted body, where one was fitted."""
    agreement: float | None = None
    """Agreement of a body with the part maps it was fitted to, see `fit_parts.agreement`."""
    audio: Audio | None = None
    """The sound that belongs to these frames."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.start()
