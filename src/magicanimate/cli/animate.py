"""What `magicanimate animate` does once its options are understood."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from magicanimate import provenance
from magicanimate.animation.job import Job, as_motion
from magicanimate.animation.settings import AnimateSettings
from magicanimate.check.examine import examine_job
from magicanimate.cli.progress import ProgressDisplay, memory_text
from magicanimate.media import check_output, claimed, load_picture, settings_path, side_by_side
from magicanimate.media.video import save_frames
from magicanimate.sampling.checkpoint import PATIENCE, check_resume, discard_steps, resume_folder

if TYPE_CHECKING:
    from magicanimate.engine.ranks import Ranks
    from magicanimate.models.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Request:
    """Paths and places; how the video is made is in the settings."""

    image: Path
    motion: Path
    out: Path
    model: str = "tiny"
    device: str = "auto"
    dtype: str = "auto"
    quantise: str = "none"
    offload: bool = False
    compile: bool = False
    graphs: bool | None = None
    decoder: Path | None = None
    control: str | None = None
    overwrite: bool = False
    compare: bool = False
    dry_run: bool = False
    resume: bool = False


def run(request: Request, settings: AnimateSettings) -> None:
    """Check all inputs, then animate; as one of several processes if torchrun started this one.

    Raises:
        InputError: anything wrong with inputs, settings, model or output.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        with nullcontext() if request.dry_run else claimed(request.out):
            _animate(request, settings, None)
        return
    from magicanimate.engine.ranks import Ranks

    ranks = Ranks.from_environment()
    with ranks.together(), claimed(request.out) if ranks.first and not request.dry_run else nullcontext():
        _animate(request, settings, ranks)


def _animate(request: Request, settings: AnimateSettings, ranks: Ranks | None) -> None:
    """The cheap checks come before torch is imported. Only the first process prints and writes."""
    started = time.monotonic()
    first = ranks is None or ranks.first
    console = Console(stderr=True, soft_wrap=True, highlight=False, quiet=not first)
    if first:
        check_output(request.out, request.overwrite, "add --overwrite")
        check_resume(request.out, request.resume, request.overwrite)
    provenance.configured()
    image_HWC = load_picture(request.image)
    with ProgressDisplay(console) as progress:
        motion = as_motion(request.motion, settings, progress)
        progress("loading", 0, 1)
        from magicanimate.animation.pipeline import MagicAnimatePipeline

        pipe = MagicAnimatePipeline.from_pretrained(
            request.model, device=request.device, dtype=request.dtype, ranks=ranks, quantise=request.quantise,
            offload=request.offload, compile=request.compile, graphs=request.graphs, decoder=request.decoder,
            control=request.control,
        )  # fmt: skip
        progress("loading", 1, 1)
        job = pipe.prepare(image_HWC, motion, settings, progress=progress)
        for line in _what_matters(job, pipe.model.config, (image_HWC.shape[0], image_HWC.shape[1])):
            console.print(line, markup=False)
        progress.expect(len(job), job.settings.steps)
        if not request.dry_run:
            steps = resume_folder(request.out)
            frames = pipe.frames(job, progress, steps, patience=0 if request.resume else PATIENCE)
            if first:
                _write(request, job, frames)
                discard_steps(steps)
            else:
                deque(frames, maxlen=0)
    if not first:
        return
    console.print(job.summary(), markup=False)
    if request.dry_run:
        console.print(f"Nothing was written; {request.out} would be.", markup=False)
        return
    for warning in provenance.mark(request.out):
        console.print(f"Warning: {warning}", markup=False)
    seconds = time.monotonic() - started
    console.print(
        f"Wrote {request.out} ({len(job)} frames, {job.fps:g} fps) in {seconds:.0f} s, peak memory {memory_text()}; "
        f"settings in {settings_path(request.out).name}.",
        markup=False,
    )


def _write(request: Request, job: Job, frames: Iterator[np.ndarray]) -> None:
    if request.compare:
        frames = _compared(frames, job.picture_HWC, job.motion_frames())
    about = job.describe() | {"image": str(request.image), "motion": str(request.motion)}
    try:
        save_frames(frames, request.out, job.fps, about, overwrite=request.overwrite, audio=job.audio)
    except KeyboardInterrupt as error:
        steps = resume_folder(request.out)
        if not steps.is_dir():
            raise
        raise KeyboardInterrupt(
            f"the finished steps are in {steps}, and the same command with --resume goes on from there"
        ) from error


def _compared(
    frames: Iterator[np.ndarray], picture_HWC: np.ndarray, motion: Iterator[np.ndarray]
) -> Iterator[np.ndarray]:
    for frame_HWC, motion_HWC in zip(frames, motion, strict=True):
        yield side_by_side(picture_HWC, motion_HWC, frame_HWC)


def _what_matters(job: Job, config: ModelConfig, picture: tuple[int, int]) -> list[str]:
    """What was done to the inputs, and what the doctor warns of; `picture` is the given one's (height, width)."""
    found = [finding for finding in examine_job(job, config, picture) if finding.level in ("warning", "error")]
    return [*job.notes, *(f"Warning: {finding}" for finding in found)]
