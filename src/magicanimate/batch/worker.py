"""A worker: holds a model and animates task after task. In this process, in another one, or as an actor on Ray."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from magicanimate.animation.parsing import is_path
from magicanimate.animation.settings import AnimateSettings, ModelOptions, make_settings
from magicanimate.batch.carried import Files, pack, unpack, work_folder
from magicanimate.errors import DISK_FULL, InputError, why_not_written
from magicanimate.files import write_json
from magicanimate.media.claim import claimed

if TYPE_CHECKING:
    from magicanimate.engine.ranks import Ranks

LOG = logging.getLogger(__name__)
Failure = Literal["stopped", "input", "disk", "fault", "lost"]
Status = tuple[str, int, int | None]
"""Stage, done and total, as in `Progress`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One animation to make.

    key: names it. model: name or folder; default: the worker's. driver: where the motion goes as the model saw it.
    record: where the outcome is written, when everything else is complete. steps: folder of finished steps; default:
    beside `out`. about: entries of the settings beside the video. seconds: computing time that is allowed. files: the
    inputs, where they are carried to another machine; paths are then relative.
    """

    key: str
    image: Path
    motion: Path
    out: Path
    settings: AnimateSettings
    model: str | None = None
    driver: Path | None = None
    record: Path | None = None
    steps: Path | None = None
    about: dict[str, str] = field(default_factory=dict)
    overwrite: bool = False
    seconds: float = math.inf
    files: Files | None = None


@dataclass(frozen=True)
class Outcome:
    """End of a task. error: one sentence, None if the video is there. made: the files, where they are carried."""

    error: str | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    frames: int = 0
    summary: str = ""
    warnings: list[str] = field(default_factory=list)
    made: Files = field(default_factory=dict)


class Stopped(Exception):
    """The task in hand is not wanted any more; raised out of the pipeline's progress."""


class Animator:
    """A model in memory. ranks: the processes that share each task, this one among them; default: this one alone.

    Raises:
        InputError: the model or the device cannot be used.
    """

    def __init__(self, options: ModelOptions, ranks: Ranks | None = None) -> None:
        self._options, self._ranks, self._model = options, ranks, ""
        self._pipe: Any = None
        self._task: Task | None = None
        self._status: Status | None = None
        self._load(options.model)

    def name(self) -> str:
        """Return machine and process."""
        return f"{socket.gethostname()}-{os.getpid()}"

    def animate(self, task: Task) -> Outcome:
        """Write a task's video; finished steps of a killed worker's attempt are gone on from."""
        self._task, self._status, self._stop, self._started = task, None, False, time.monotonic()
        with ExitStack() as opened:
            try:
                if task.files is not None:
                    folder = opened.enter_context(work_folder())
                    unpack(task.files, folder)
                    task = _moved(task, lambda _, path: folder / path)
                task.out.parent.mkdir(parents=True, exist_ok=True)
                opened.enter_context(claimed(task.out))
                outcome = self._write(task)
                return replace(outcome, made=pack(task.out.parent)) if task.files is not None else outcome
            except Exception as error:  # noqa: BLE001, it is logged where it is not the user's
                return failed(task, error)
            finally:
                self._task = None

    def report(self, key: str, stop: bool = False) -> Status | None:
        """Tell how far a task is, from another thread; `stop` ends it."""
        if self._task is None or self._task.key != key:
            return None
        self._stop = self._stop or stop
        return self._status

    def _load(self, model: str) -> None:
        """Load a model instead of the one that is held."""
        if self._model != model:
            from magicanimate.animation.pipeline import MagicAnimatePipeline

            self._model, self._pipe = "", None
            options = self._options.model_dump(exclude={"model"})
            self._pipe = MagicAnimatePipeline.from_pretrained(model, ranks=self._ranks, **options)
            self._model = model

    def _write(self, task: Task) -> Outcome:
        from magicanimate.animation.write import Output, write_video
        from magicanimate.media.video import save_frames

        self._told("loading", 0, None)
        self._load(task.model or self._options.model)
        settings = make_settings(**{name: getattr(task.settings, name) for name in task.settings.model_fields_set})
        ready = self._pipe.prepare(task.image, task.motion, settings, progress=self._told)
        output = Output(
            path=task.out, about=task.about, overwrite=task.overwrite, steps=task.steps, transparent=ready.transparent
        )
        warnings = [*ready.warnings, *write_video(self._pipe, ready, output, self._told)]
        if task.driver:
            save_frames(ready.motion_frames(), task.driver, ready.fps, {}, overwrite=True)
        seconds = time.monotonic() - self._started
        outcome = Outcome(seconds=seconds, frames=len(ready), summary=ready.summary(), warnings=warnings)
        if task.record:
            write_json(task.record, asdict(outcome))
        return outcome

    def _told(self, stage: str, done: int, total: int | None) -> None:
        """Keep the pipeline's progress, and stop a task that is not wanted or takes too long."""
        self._status = (stage, done, total)
        if self._stop:
            raise Stopped
        if self._task and time.monotonic() - self._started > self._task.seconds:
            limit = f"{self._task.seconds:.0f} s, which is the limit"
            raise InputError(f"The job took longer than {limit}; choose fewer frames or steps.")


def failed(task: Task, error: Exception) -> Outcome:
    """Return the outcome that an error makes. Of paths only the files' names stay."""
    if isinstance(error, Stopped):
        return Outcome("The job was cancelled.", "stopped")
    if isinstance(error, InputError):
        sentence = str(error)
        for path in (task.image, task.motion, task.out):
            sentence = sentence.replace(f"{path.parent}{os.sep}", "")
        return Outcome(sentence, "input")
    LOG.error("task %s", task.key, exc_info=error)
    if isinstance(error, OSError):
        return Outcome(f"{task.out.name}: {why_not_written(error)}.", "disk" if error.errno in DISK_FULL else "fault")
    return Outcome(f"Our fault, please report it: {error!r}", "fault")


def succeeded(outcome: Outcome) -> Outcome:
    """Return an outcome with a video. Raises InputError, or RuntimeError where it is not the user's, for any other."""
    if outcome.error is None:
        return outcome
    raise (InputError if outcome.failure in ("input", "disk") else RuntimeError)(outcome.error)


def carried(task: Task) -> Task:
    """Put a task's inputs into it, and relative names for all files. OSError: they cannot be read."""
    files: Files = {}

    def name(what: str, path: Path) -> Path:
        if what in ("image", "motion", "background"):
            files.update(pack(path, f"{what}/{path.name}"))
            return Path(what, path.name)
        return Path("out", path.name)

    return replace(_moved(task, name), files=files, steps=None)


def _moved(task: Task, place: Callable[[str, Path], Path]) -> Task:
    """Return the task with its files in other places."""
    names = ("image", "motion", "out", "driver", "record")
    moved: dict[str, Any] = {name: place(name, path) for name in names if (path := getattr(task, name))}
    background = task.settings.background
    if is_path(background):
        update = {"background": str(place("background", Path(background)))}
        moved["settings"] = task.settings.model_copy(update=update)
    return replace(task, **moved)
