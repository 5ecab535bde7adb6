"""A motion clip becomes the control signal: part maps of the canvas's size, frame by frame, and what was found.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from magicanimate.errors import InputError
from magicanimate.media.framing import Frame
from magicanimate.motion.report import MotionReport, ReportBuilder
from magicanimate.parts.densepose import render_parts
from magicanimate.parts.frame_store import PackedFrames


@dataclass(frozen=True)
class Signal:
    """Control frames on the canvas. Kept as indices, compressed; colors are made where they are needed."""

    parts_FHW: PackedFrames
    report: MotionReport
    raw_FHWC: PackedFrames | None = None
    """Colors as read, for models that the original's behavior is asked of."""
    people_FHW: PackedFrames | None = None
    """Person number of each pixel, from 1, where several people take pixels from the picture (`track_people`)."""

    def __len__(self) -> int:
        return len(self.parts_FHW)

    def rgb(self, frames: Sequence[int]) -> np.ndarray:
        """Return some control frames as [F, H, W, 3] uint8."""
        return render_parts(self.parts_FHW[frames]) if self.raw_FHWC is None else self.raw_FHWC[frames]

    def people(self, frames: Sequence[int] | slice) -> np.ndarray | None:
        """Return the person numbers of some frames, [F, H, W] uint8; None if all are one person's."""
        return None if self.people_FHW is None else self.people_FHW[frames]

    def padded(self, multiple: int) -> Signal:
        """Repeat the last frame until the count is a multiple."""
        missing = -len(self) % multiple
        if not missing:
            return self
        raw_FHWC = None if self.raw_FHWC is None else self.raw_FHWC.padded(missing)
        people_FHW = None if self.people_FHW is None else self.people_FHW.padded(missing)
        return Signal(self.parts_FHW.padded(missing), self.report, raw_FHWC, people_FHW)


def read_signal(
    frames: Iterable[np.ndarray],
    frame: Frame,
    report: ReportBuilder,
    *,
    colors: Iterable[np.ndarray] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Signal:
    """Check and keep part maps, holding one frame of them at a time.

    Args:
        frames: parts [H, W] uint8 of the frame's size.
        frame: the video's frame and canvas.
        report: counts them.
        colors: the same frames [H, W, 3] as they were painted, of any size, to be kept resized the way the original
            does.
        on_frame: told the number of frames read so far.

    Raises:
        InputError: there is no frame, or nobody in any.
    """
    parts, kept = PackedFrames(), PackedFrames()
    for parts_HW in frames:
        report.add(parts_HW)
        parts.append(frame.pad(parts_HW))
        if on_frame:
            on_frame(len(parts))
    if not parts:
        raise InputError("The motion has no frames; give a video with at least one.")
    for frame_HWC in () if colors is None else colors:
        kept.append(frame.pad(_resize_as_original(frame_HWC, frame.size)))
    return Signal(parts, report.finish(), None if colors is None else kept)


def _resize_as_original(frame_HWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's default interpolation of the colors, and only when the height differs: so the original does it."""
    if frame_HWC.shape[0] == size[0] and frame_HWC.shape[1] == size[1]:
        return frame_HWC
    return np.asarray(Image.fromarray(frame_HWC).resize((size[1], size[0])))
