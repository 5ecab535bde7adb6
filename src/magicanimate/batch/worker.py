"""One worker: holds a model and animates job after job."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from magicanimate.batch.jobs import BatchJob
from magicanimate.errors import InputError


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What all jobs share."""

    model: str = "tiny"
    device: str = "auto"
    dtype: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a job ended. error: one sentence, None if the video is there."""

    job: BatchJob
    error: str | None = None
    seconds: float = 0.0
    frames: int = 0
    attempts: int = 1
    warnings: list[str] = field(default_factory=list)


class Animator:
    """A model in memory.

    Raises:
        InputError: the model or the device cannot be used.
    """

    def __init__(self, options: WorkerOptions) -> None:
        from magicanimate.animation.pipeline import MagicAnimatePipeline

        self._options = options
        self._pipe = MagicAnimatePipeline.from_pretrained(options.model, device=options.device, dtype=options.dtype)

    def animate(self, job: BatchJob) -> Outcome:
        """Write a job's video; finished steps of a killed worker's attempt are gone on from."""
        from magicanimate import provenance
        from magicanimate.media.video import save_frames
        from magicanimate.sampling.checkpoint import PATIENCE, discard_steps, resume_folder

        started = time.monotonic()
        try:
            job.out.parent.mkdir(parents=True, exist_ok=True)
            ready = self._pipe.prepare(job.image, job.motion, job.settings)
            steps = resume_folder(job.out)
            about = ready.describe() | {"image": str(job.image), "motion": str(job.motion), "job": job.key}
            frames = self._pipe.frames(ready, resume_folder=steps, patience=PATIENCE)
            save_frames(frames, job.out, ready.fps, about, overwrite=self._options.overwrite, audio=ready.audio)
            discard_steps(steps)
            warnings = [*ready.warnings, *provenance.mark(job.out)]
        except InputError as error:
            return Outcome(job, str(error), time.monotonic() - started)
        return Outcome(job, None, time.monotonic() - started, len(ready), warnings=warnings)
