"""A worker: one process, one device. Takes the next job, computes it, and says meanwhile that it is alive."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from magicanimate.animation.settings import make_settings
from magicanimate.errors import DISK_FULL, InputError, why_not_written
from magicanimate.serve.backend import WorkerState
from magicanimate.serve.job_states import Record, advanced, ended, released
from magicanimate.serve.service import Service

if TYPE_CHECKING:
    from magicanimate.animation.pipeline import MagicAnimatePipeline

Outcome = TypeVar("Outcome")
LOG = logging.getLogger(__name__)
LEASE = 30.0  # seconds without a word after which a job is taken from its worker
_BEAT = 0.5  # seconds between words about a running job
_GREETING = 5.0  # seconds between words about itself
_IDLE = 0.2  # seconds between looks into an empty queue
_DISK_PATIENCE, _DISK_PAUSE = 600.0, 2.0  # seconds on a full disk until it is given up, and between trials
_OUR_FAULT = "The service failed on this job; its log says why."


def _patiently(action: Callable[[], Outcome]) -> Outcome:
    """Try again while the disk is full. OSError after a while, or for another reason."""
    until = time.monotonic() + _DISK_PATIENCE
    while True:
        try:
            return action()
        except OSError as error:
            if error.errno not in DISK_FULL or time.monotonic() > until:
                raise
            LOG.error("the store cannot be written: %s", why_not_written(error))
            time.sleep(_DISK_PAUSE)


class Stopped(Exception):
    """The job in hand is not wanted any more, or not ours; raised out of the pipeline's progress."""


class Worker:
    """See the module. `run` returns when the process is asked to end."""

    def __init__(self, service: Service, name: str, device: str, *, supervised: bool = False) -> None:
        self._service, self._store = service, service.store
        self._about = WorkerState(id=name, device=device, state="starting", seen=time.time())
        self._parent = os.getppid() if supervised else None
        self._pipe: MagicAnimatePipeline | None = None
        self._job: Record | None = None
        self._progress: tuple[str, int, int | None] | None = None
        self._halt = False

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; a job in hand then goes back into the queue, uncounted."""
        threading.Thread(target=self._beat_for_ever, daemon=True).start()
        try:
            self._load(self._service.models()[0])
            while True:
                job = _patiently(self._next)
                if job is None:
                    time.sleep(_IDLE)
                else:
                    self._do(job)
        except KeyboardInterrupt:
            LOG.info("the worker ends")
        except OSError as error:
            raise InputError(f"The worker ends: {why_not_written(error)}.") from error
        finally:
            with suppress(OSError):
                self._store.dismiss(self._about.id)

    def _next(self) -> Record | None:
        self._say("ready")
        return self._store.claim(self._about.id, time.time(), LEASE)

    def _load(self, model: str) -> MagicAnimatePipeline:
        """The pipeline of a model; one is held at a time."""
        if self._pipe is None or self._about.model != model:
            self._pipe = None
            self._say("loading", model)
            from magicanimate.animation.pipeline import MagicAnimatePipeline

            self._pipe = MagicAnimatePipeline.from_pretrained(model, device=self._about.device)
        return self._pipe

    def _do(self, job: Record) -> None:
        LOG.info("job %s begins, attempt %d", job.id, job.attempts)
        self._progress, self._halt, self._job = None, False, job
        try:
            facts = self._compute(job)
            self._end(job, lambda record: ended(record, "done", time.time(), **facts))
        except Stopped:
            self._end(job, lambda record: ended(record, "cancelled", time.time()))
        except InputError as error:
            # Paths of ours tell nobody anything: only the file's name stays.
            sentence = str(error).replace(f"{self._service.folder(job.id)}{os.sep}", "")
            self._fail(job, sentence)
        except KeyboardInterrupt:
            self._end(job, released)
            raise
        except OSError as error:
            LOG.error("job %s: %s", job.id, why_not_written(error))
            sentence = "The disk of the service is full; try again later." if error.errno in DISK_FULL else _OUR_FAULT
            self._fail(job, sentence)
        except Exception:
            LOG.exception("job %s", job.id)
            self._fail(job, _OUR_FAULT)

    def _fail(self, job: Record, sentence: str) -> None:
        self._end(job, lambda record: ended(record, "failed", time.time(), error=sentence))

    def _compute(self, job: Record) -> dict[str, Any]:
        """The video, and what is to be remembered of it.

        Nothing is deleted here: until the store says that the job is done, another worker may have to begin it again.
        What is remembered is written down first, so that a worker that is killed between both has lost nothing.
        """
        from magicanimate.animation.write import Output, write_video
        from magicanimate.media import settings_path
        from magicanimate.media.video import save_frames

        folder, limits = self._service.folder(job.id), self._service.options.limits
        if facts := self._service.finished(job.id):
            return facts
        pipe = self._load(job.model)
        self._say("busy")
        settings = make_settings(**({"max_frames": limits.frames} | job.settings))
        ready = pipe.prepare(folder / job.picture, folder / job.motion, settings, progress=self._told)
        result = folder / f"result-{job.attempts}.{'webm' if ready.transparent else 'mp4'}"
        driver = folder / f"driver-{job.attempts}.mp4"
        output = Output(path=result, overwrite=True, steps=folder / "resume")
        warnings = [*ready.warnings, *write_video(pipe, ready, output, self._told)]
        if len(ready) == limits.frames and "max_frames" not in job.settings:
            warnings.append(f"Only the first {limits.frames} frames were animated: this service makes no more.")
        save_frames(ready.motion_frames(), driver, ready.fps, {}, overwrite=True)
        kept = (result, settings_path(result), driver)
        return self._service.finish(job.id, {
            "result": result.name, "driver": driver.name, "size": sum(path.stat().st_size for path in kept),
            "summary": ready.summary(), "warnings": warnings,
        })  # fmt: skip

    def _told(self, stage: str, done: int, total: int | None) -> None:
        """The pipeline's progress; where a job is stopped."""
        self._progress = (stage, done, total)
        if self._halt:
            raise Stopped
        allowed = self._service.options.limits.job_seconds
        if self._job and self._job.started and time.time() - self._job.started > allowed:
            raise InputError(
                f"The job took longer than {allowed:.0f} s, which is the limit; choose fewer frames or steps."
            )

    def _end(self, job: Record, step: Callable[[Record], Record]) -> None:
        """The job's last word, if it is still ours."""
        self._job = None
        record = _patiently(
            lambda: self._store.change(
                job.id, lambda now: step(now) if now.held_by(self._about.id, job.attempts) else None
            )
        )
        LOG.info("job %s is %s", job.id, record.state if record else "not ours any more")
        self._service.tidy(job.id, record or self._store.get(job.id))

    def _say(self, state: Any, model: str | None = None) -> None:
        if (state, model or self._about.model) != (self._about.state, self._about.model):
            self._about = self._about.model_copy(
                update={"state": state, "model": model or self._about.model, "seen": time.time()}
            )
            self._store.greet(self._about)

    def _beat_for_ever(self) -> None:
        """Beside the computation: tell the store of the job and of itself. If that fails, the whole process ends."""
        greeted = 0.0
        try:
            while self._parent is None or os.getppid() == self._parent:
                try:
                    if job := self._job:
                        self._beat(job)
                    if time.time() - greeted > _GREETING:
                        greeted = time.time()
                        self._store.greet(self._about.model_copy(update={"seen": greeted}))
                except OSError as error:  # a full disk passes; whoever waits for a word from here is on the same one
                    LOG.error("nothing can be told to the store: %s", why_not_written(error))
                time.sleep(_BEAT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _beat(self, job: Record) -> None:
        record = self._store.change(
            job.id,
            lambda now: (
                advanced(now, time.time(), LEASE, self._progress) if now.held_by(self._about.id, job.attempts) else None
            ),
        )
        if (record is None or record.stop) and self._job is job:
            self._halt = True
