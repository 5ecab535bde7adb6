"""What `magicanimate animate` does once its options are understood."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from magicanimate.job import motion_span
from magicanimate.media import check_output, load_picture, open_clip, settings_path, side_by_side
from magicanimate.media.video import save_frames
from magicanimate.progress import ProgressDisplay, memory_text
from magicanimate.settings import AnimateSettings


@dataclass(frozen=True, kw_only=True)
class Request:
    """Paths and places; how the video is made is in the settings."""

    image: Path
    motion: Path
    out: Path
    model: str = "tiny"
    device: str = "auto"
    dtype: str = "auto"
    overwrite: bool = False
    compare: bool = False
    dry_run: bool = False


def run(request: Request, settings: AnimateSettings) -> None:
    """Check all inputs, then animate. The cheap checks come before torch is imported.

    Raises:
        InputError: anything wrong with inputs, settings, model or output.
    """
    started = time.monotonic()
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    check_output(request.out, request.overwrite)
    image_HWC = load_picture(request.image)
    clip = open_clip(request.motion, motion_span(settings))
    with ProgressDisplay(console) as progress:
        progress("loading", 0, 1)
        from magicanimate.pipeline import MagicAnimatePipeline

        pipe = MagicAnimatePipeline.from_pretrained(request.model, device=request.device, dtype=request.dtype)
        progress("loading", 1, 1)
        job = pipe.prepare(image_HWC, clip, settings, progress=progress)
        for warning in job.warnings:
            console.print(f"Warning: {warning}", markup=False)
        for note in job.notes:
            console.print(note, markup=False)
        progress.expect(len(job), job.settings.steps)
        if not request.dry_run:
            frames = pipe.frames(job, progress=progress)
            if request.compare:
                frames = _compared(frames, job.picture_HWC, job.motion_frames())
            about = job.describe() | {"image": str(request.image), "motion": str(request.motion)}
            save_frames(frames, request.out, job.fps, about, overwrite=request.overwrite, audio=job.audio)
    console.print(job.summary(), markup=False)
    if request.dry_run:
        console.print(f"Nothing was written; {request.out} would be.", markup=False)
        return
    seconds = time.monotonic() - started
    console.print(
        f"Wrote {request.out} ({len(job)} frames, {job.fps:g} fps) in {seconds:.0f} s, peak memory {memory_text()}; "
        f"settings in {settings_path(request.out).name}.",
        markup=False,
    )


def _compared(
    frames: Iterator[np.ndarray], picture_HWC: np.ndarray, motion: Iterator[np.ndarray]
) -> Iterator[np.ndarray]:
    for frame_HWC, motion_HWC in zip(frames, motion, strict=True):
        yield side_by_side(picture_HWC, motion_HWC, frame_HWC)
