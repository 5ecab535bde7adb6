"""A backend of the page that keeps jobs in a list and never works."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

from magicanimate.serve.backend import JobState, ServiceError, WorkerState


def job(**values: Any) -> JobState:
    return JobState(**({"id": "0" * 32, "state": "running", "model": "tiny", "settings": {}, "created": 0.0} | values))


class Queue:
    """A backend that keeps jobs in a list and never works."""

    def __init__(self) -> None:
        self.given: dict[str, tuple[Path, Path, dict[str, Any], bool]] = {}
        self.states: dict[str, JobState] = {}
        self.refusal: str | None = None
        self.made: set[tuple[Path, Path]] = set()

    def workers(self) -> list[WorkerState]:
        return [WorkerState(id="one", state="ready")]

    def submit(self, picture, motion, settings, client, *, model=None, preview=False) -> str:
        if self.refusal:
            raise ServiceError(415, self.refusal)
        name = f"{len(self.given):032x}"
        self.given[name] = (picture, motion, dict(settings), preview)
        self.states[name] = job(id=name, state="queued", settings=dict(settings), preview=preview)
        return name

    def submit_made(self, picture, motion, settings, client, *, model=None) -> str | None:
        if (picture, motion) not in self.made:
            return None
        name = self.submit(picture, motion, settings, client, model=model)
        self.end(name, "done")
        return name

    def keep_made(self, job: str, client: str, picture: Path, motion: Path) -> None:
        self.made.add((picture, motion))

    def state(self, job: str, client: str) -> JobState:
        return self.states[job]

    def jobs(self, client: str) -> list[JobState]:
        return list(reversed(self.states.values()))

    def cancel(self, job: str, client: str) -> JobState:
        return self.end(job, "cancelled")

    def pause(self, job: str, client: str) -> JobState:
        return self.end(job, "paused")

    def resume(self, job: str, client: str) -> JobState:
        return self.end(job, "queued")

    def delete(self, job: str, client: str) -> None:
        del self.states[job]

    def examine(self, picture, motion, settings, *, model=None, progress=None) -> Any:
        raise ServiceError(422, "The motion is empty.")

    def begin_edit(self, picture: Path) -> str | None:
        return '{"size": [64, 64], "joints": {"nose": [30, 20]}, "mask": "<"}'

    def end(self, job: str, state: str) -> JobState:
        self.states[job] = self.states[job].model_copy(update={"state": state, "finished": 1.0})
        return self.states[job]


def at_once(function, *arguments, **options) -> Future[Any]:
    """Runs aside, but now."""
    future: Future[Any] = Future()
    try:
        future.set_result(function(*arguments, **options))
    except ServiceError as error:
        future.set_exception(error)
    return future
