"""One worker: holds a model and animates job after job."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from magicanimate.animation.settings import ModelOptions
from magicanimate.batch.jobs import BatchJob
from magicanimate.errors import InputError, why_not_written
from magicanimate.media.claim import claimed


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What all jobs share."""

    model: ModelOptions = field(default_factory=ModelOptions)
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
        self._pipe = MagicAnimatePipeline.from_pretrained(
            options.model.model, **options.model.model_dump(exclude={"model"})
        )

    def animate(self, job: BatchJob) -> Outcome:
        """Write a job's video; finished steps of a killed worker's attempt are gone on from."""
        started = time.monotonic()
        try:
            job.out.parent.mkdir(parents=True, exist_ok=True)
            with claimed(job.out):
                frames, warnings = self._write(job)
        except (InputError, OSError) as error:
            sentence = str(error) if isinstance(error, InputError) else f"{job.out}: {why_not_written(error)}."
            return Outcome(job, sentence, time.monotonic() - started)
        return Outcome(job, None, time.monotonic() - started, frames, warnings=warnings)

    def _write(self, job: BatchJob) -> tuple[int, list[str]]:
        """The number of frames, and warnings."""
        from magicanimate.animation.write import Output, write_video

        ready = self._pipe.prepare(job.image, job.motion, job.settings)
        about = {"image": str(job.image), "motion": str(job.motion), "job": job.key}
        output = Output(path=job.out, about=about, overwrite=self._options.overwrite, transparent=ready.transparent)
        return len(ready), [*ready.warnings, *write_video(self._pipe, ready, output)]
