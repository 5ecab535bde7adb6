"""Write the file of a job: frames, settings, marks, and steps to resume from. Used by CLI, batch, and service."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magicanimate import provenance
from magicanimate.animation.job import Job
from magicanimate.animation.redo import Part, about_redone, redone
from magicanimate.errors import InputError
from magicanimate.media import check_alpha, check_output, side_by_side
from magicanimate.media.video import save_frames
from magicanimate.progress import Progress
from magicanimate.sampling.checkpoint import check_resume, discard_steps, resume_folder

if TYPE_CHECKING:
    from magicanimate.animation.pipeline import MagicAnimatePipeline

PATIENCE = 20.0
"""Seconds of denoising before a run that was not asked to be resumable keeps its finished steps all the same."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """Destination of a video, and the files written with it.

    path: of the video; its settings lie beside it. about: entries of the settings beside those of the job. overwrite:
    replace an existing video. compare: picture, motion and result side by side. resume: from finished steps, and
    keep them from the first one on. redo: only this part of the existing video. steps: their folder; default: beside
    the video. transparent: frames have alpha.
    """

    path: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    compare: bool = False
    resume: bool = False
    redo: Part | None = None
    steps: Path | None = None
    transparent: bool = False

    @property
    def steps_folder(self) -> Path:
        """Folder of the finished steps until the video is written."""
        return self.steps or resume_folder(self.path)

    @property
    def replaces(self) -> bool:
        """True if an existing video is replaced, by another or by itself with a new part."""
        return self.overwrite or self.redo is not None

    def check(self) -> None:
        """Raise InputError if the video cannot be written there; remove finished steps that `overwrite` gives up."""
        if self.transparent:
            check_alpha(self.path)
        check_output(self.path, self.replaces, "add --overwrite")
        if self.redo and (self.transparent or self.compare or self.resume):
            raise InputError("redo: transparent videos, compare and resume are not possible with it; leave them out.")
        if self.redo and not self.path.exists():
            raise InputError(f"redo: there is no {self.path} yet; make the whole video first.")
        check_resume(self.path, self.resume, self.overwrite)


def write_video(pipe: MagicAnimatePipeline, job: Job, output: Output, progress: Progress | None = None) -> list[str]:
    """Compute a job's frames and write them, complete or not at all; of several processes the first one writes.

    Resumes from finished steps of an interrupted run of the same job, and removes them when the video is written.

    Returns:
        Sentences on marks that could not be set.

    Raises:
        InputError: see `MagicAnimatePipeline.frames`, `media.open_writer`.
        KeyboardInterrupt: says where finished steps are, if there are any.
    """
    frames = pipe.frames(job, progress, output.steps_folder, patience=0.0 if output.resume else PATIENCE)
    if not pipe.ranks.first:
        deque(frames, maxlen=0)
        return []
    if output.compare:
        frames = _compared(frames, job)
    about = job.describe() | dict(output.about)
    if output.redo:
        frames = redone(frames, output.path, output.redo, job.fps, len(job))
        about = about_redone(output.path, about, output.redo)
    try:
        save_frames(frames, output.path, job.fps, about, overwrite=output.replaces, audio=job.audio)
    except KeyboardInterrupt as error:
        if not output.steps_folder.is_dir():
            raise
        raise KeyboardInterrupt(
            f"the finished steps are in {output.steps_folder}, and the same command with --resume goes on from there"
        ) from error
    discard_steps(output.steps_folder)
    return provenance.mark(output.path)


def check_video(pipe: MagicAnimatePipeline, job: Job, output: Output) -> None:
    """Raise InputError for everything that `write_video` would refuse before it computes."""
    output.check()
    pipe.check(job, output.steps_folder)


def _compared(frames: Iterator[np.ndarray], job: Job) -> Iterator[np.ndarray]:
    for frame_HWC, motion_HWC in zip(frames, job.motion_frames(), strict=True):
        yield side_by_side(job.picture_HWC, motion_HWC, frame_HWC)
