"""Report the content of a motion signal, and what would spoil the result.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from magicanimate.errors import InputError
from magicanimate.parts import densepose
from magicanimate.parts.regions import regions

_SAMPLED = 8


@dataclass
class MotionReport:
    """Summary of a motion signal; shares are of all pixels of all frames, 0..1."""

    frames: int = 0
    height: int = 0
    width: int = 0
    coloring: str = "viridis"
    """Name of the palette that it was painted with; "parts" where it was never painted."""
    near: float = 1.0
    """Share of pixels that have one of the palette's colors, among those looked at."""
    background: float = 0.0
    coverage: float = 0.0
    """Share of pixels that belong to a body."""
    empty_frames: int = 0
    people: int = 0
    """Typical number of separate heads in a frame."""
    parts: list[int] = field(default_factory=list)
    """Part indices that appear."""
    warnings: list[str] = field(default_factory=list)


class ReportBuilder:
    """Counts frame by frame, so that a clip of any length needs no memory."""

    def __init__(self, coloring: str = "parts", near: float = 1.0) -> None:
        """coloring: palette of the maps. near: share of pixels that have its colors (see `MotionReport`)."""
        self._coloring, self._near = coloring, near
        self._shape = (0, 0)
        self._pixels = self._frames = self._empty = 0
        self._histogram = np.zeros(25, np.int64)
        self._heads: list[int] = []

    def add(self, parts_HW: np.ndarray) -> None:
        """Count one frame."""
        counts = np.bincount(parts_HW.reshape(-1), minlength=25)
        self._shape = (parts_HW.shape[0], parts_HW.shape[1])
        self._frames += 1
        self._pixels += parts_HW.size
        self._empty += int(counts[1:].sum() == 0)
        self._histogram += counts
        if self._frames % 16 == 1 and len(self._heads) < _SAMPLED:
            self._heads.append(count_heads(parts_HW))

    def finish(self) -> MotionReport:
        """Return the report, with its warnings in words. Raises InputError: nobody was seen in any frame."""
        if self._frames and self._empty == self._frames:
            raise InputError("No person was found in the motion: every pixel of it is background; give another clip.")
        background = float(self._histogram[densepose.BACKGROUND] / max(self._pixels, 1))
        return MotionReport(
            frames=self._frames,
            height=self._shape[0],
            width=self._shape[1],
            coloring=self._coloring,
            near=self._near,
            background=background,
            coverage=1.0 - background,
            empty_frames=self._empty,
            people=int(np.median(self._heads)) if self._heads else 0,
            parts=[int(i) for i in np.flatnonzero(self._histogram) if i != densepose.BACKGROUND],
            warnings=[f"{self._empty} of {self._frames} motion frames show no person."] if self._empty else [],
        )


def count_heads(parts_HW: np.ndarray) -> int:
    """Separate heads in one map [H, W], counted at 96 pixels so that it costs a millisecond.

    Regions below a quarter of the largest are fragments of a head that something covers.
    """
    small = densepose.resize_parts(parts_HW, (96, 96))
    sizes = np.bincount(regions(np.isin(small, densepose.HEAD)).ravel())[1:]
    return int((sizes >= sizes.max() / 4).sum()) if sizes.size else 0
