"""What was found in a motion signal, and what would spoil the result.

Shape legend: F frames, H W pixels, C colour channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from magicanimate.motion import densepose

_BLACK_SHARE = 0.05
_NEAR_SHARE = 0.6
_SAMPLED = 8


@dataclass
class MotionReport:
    """Summary of a DensePose signal; shares are of all pixels of all frames, 0..1."""

    frames: int = 0
    height: int = 0
    width: int = 0
    near: float = 0.0
    """Share of pixels within RGB distance 14 of a palette colour."""
    background: float = 0.0
    coverage: float = 0.0
    """Share of pixels that belong to a body."""
    black: float = 0.0
    empty_frames: int = 0
    people: int = 0
    """Typical number of separate heads in a frame."""
    parts: list[int] = field(default_factory=list)
    """Part indices that appear."""
    palette: str = "viridis"
    warnings: list[str] = field(default_factory=list)


class ReportBuilder:
    """Counts frame by frame, so that a clip of any length needs no memory."""

    def __init__(self) -> None:
        self._shape = (0, 0)
        self._pixels = self._near = self._black = self._frames = self._empty = 0
        self._histogram = np.zeros(25, np.int64)
        self._heads: list[int] = []

    def add(self, parts_HW: np.ndarray, codes_HW: np.ndarray) -> None:
        """Count one frame as decoded by `densepose.decode_frame`."""
        counts = np.bincount(parts_HW.reshape(-1), minlength=25)
        self._shape = parts_HW.shape
        self._frames += 1
        self._pixels += parts_HW.size
        self._near += int((codes_HW < densepose.BLACK).sum())
        self._black += int((codes_HW == densepose.BLACK).sum())
        self._empty += int(counts[1:].sum() == 0)
        self._histogram += counts
        if self._frames % 16 == 1 and len(self._heads) < _SAMPLED:
            self._heads.append(count_heads(parts_HW))

    def finish(self) -> MotionReport:
        """The report, with its warnings in words."""
        pixels = max(self._pixels, 1)
        background = float(self._histogram[densepose.BACKGROUND] / pixels)
        report = MotionReport(
            frames=self._frames,
            height=self._shape[0],
            width=self._shape[1],
            near=self._near / pixels,
            background=background,
            coverage=1.0 - background,
            black=self._black / pixels,
            empty_frames=self._empty,
            people=int(np.median(self._heads)) if self._heads else 0,
            parts=[int(i) for i in np.flatnonzero(self._histogram) if i != densepose.BACKGROUND],
        )
        report.palette = _palette_name(report)
        report.warnings = _warnings(report)
        return report


def _palette_name(report: MotionReport) -> str:
    if report.near + report.black < _NEAR_SHARE:
        return "unknown"
    return "viridis on black" if report.black > _BLACK_SHARE else "viridis"


def _warnings(report: MotionReport) -> list[str]:
    found = []
    if report.palette == "unknown":
        found.append(
            f"The motion is not DensePose-coloured: only {report.near:.0%} of its pixels have a colour of the viridis "
            "part palette (a photo, a skeleton or detectron2's default PARULA overlay would look like this), so the "
            "result will be poor; give a DensePose part map painted with viridis on a purple background."
        )
    elif report.palette == "viridis on black":
        found.append(
            f"The motion has a black background ({report.black:.0%} of its pixels) where DensePose maps are purple; "
            "it was read as background and repainted."
        )
    if report.frames and report.empty_frames == report.frames:
        found.append("No person was found in the motion: every pixel of it is background.")
    elif report.empty_frames:
        found.append(f"{report.empty_frames} of {report.frames} motion frames show no person.")
    return found


def _regions(mask_HW: np.ndarray) -> np.ndarray:
    """Sizes of the 4-connected regions of a small mask, by spreading the largest label until nothing changes."""
    labels = np.where(mask_HW, np.arange(1, mask_HW.size + 1).reshape(mask_HW.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        spread = np.max([labels, padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]], axis=0)
        spread = np.where(mask_HW, spread, 0)
        if np.array_equal(spread, labels):
            return np.unique(labels[mask_HW], return_counts=True)[1]
        labels = spread


def count_heads(parts_HW: np.ndarray) -> int:
    """Separate heads in one map [H, W], counted at 96 pixels so that it costs a millisecond.

    Regions below a quarter of the largest are fragments of a head that something covers.
    """
    small = densepose.resize_parts(parts_HW, (96, 96))
    sizes = _regions(np.isin(small, densepose.HEAD))
    return int((sizes >= sizes.max() / 4).sum()) if sizes.size else 0


def decode_parts(frames_FHWC: np.ndarray) -> tuple[np.ndarray, MotionReport]:
    """DensePose frames to part indices.

    Args:
        frames_FHWC: [F, H, W, 3] uint8 RGB.

    Returns:
        parts [F, H, W] uint8 in 0..24 and what was found. Nothing is refused: see `MotionReport.warnings`.
    """
    builder = ReportBuilder()
    parts_FHW = np.empty(frames_FHWC.shape[:3], np.uint8)
    for index, frame_HWC in enumerate(frames_FHWC):
        parts_FHW[index], codes_HW = densepose.decode_frame(frame_HWC)
        builder.add(parts_FHW[index], codes_HW)
    return parts_FHW, builder.finish()
