"""A job as it is stored, and the steps of its life: pure functions from one record to the next.

queued -> running -> done | failed | cancelled; a running job whose worker is gone is queued once more, then it fails.
A paused job waits until it is resumed, and is queued then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ConfigDict

from magicanimate.batch.crew import ATTEMPTS, LOST
from magicanimate.batch.worker import Status
from magicanimate.serve.backend import JobState, State


class Record(JobState):
    """One job: what its client may know, and what is ours. How far it is, is not stored."""

    model_config = ConfigDict(frozen=True)

    state: State = "queued"
    client: str
    picture: str
    motion: str
    """Names of the inputs in the job's folder, ours."""
    result: str | None = None
    driver: str | None = None
    """Names of the finished video there, and of the motion as the model saw it."""
    size: int = 0
    """Bytes on the disk."""
    worker: str | None = None
    stop: bool = False
    """The client wants no more of it."""
    pause: bool = False
    """The client wants no more of it for now."""
    failure: str | None = None
    """The kind of the error."""

    def told(self, position: int | None, keep_seconds: float, status: Status | None) -> JobState:
        """Return the state for the job's client."""
        stage, done, total = status or (None, 0, None)
        facts = {
            "position": position, "stage": stage, "done": done, "total": total,
            "expires": self.finished + keep_seconds if self.finished else None,
        }  # fmt: skip
        return JobState(**(self.model_dump(include=set(JobState.model_fields)) | facts))


def begun(job: Record, worker: str, now: float) -> Record:
    """Give a job to a worker."""
    news = {"state": "running", "worker": worker, "attempts": job.attempts + 1, "started": now}
    return job.model_copy(update=news)


def ended(job: Record, state: State, now: float, **facts: Any) -> Record:
    """End a job; `facts` are more fields, such as error, or result and its size."""
    return job.model_copy(update={"state": state, "finished": now, "worker": None, "size": 0, **facts})


def released(job: Record, now: float) -> Record:
    """Requeue a job whose worker ended for no fault of the job, as if it had not begun."""
    if job.stop:
        return ended(job, "cancelled", now)
    state = "paused" if job.pause else "queued"
    return job.model_copy(update={"state": state, "worker": None, "attempts": job.attempts - 1, "started": None})


def lost(job: Record, now: float) -> Record:
    """Requeue or fail a job whose worker vanished."""
    if job.attempts >= ATTEMPTS and not job.stop:
        return ended(job, "failed", now, error=LOST, failure="lost")
    again = released(job, now)
    return again if again.ended else again.model_copy(update={"attempts": job.attempts, "started": job.started})


def stopped(job: Record, now: float) -> Record:
    """Cancel a job: over at once if it waits, else as soon as its worker hears."""
    if job.ended:
        return job
    return job.model_copy(update={"stop": True}) if job.state == "running" else ended(job, "cancelled", now)


def paused(job: Record) -> Record:
    """Pause a job: at once if it waits, else as soon as its worker hears."""
    if job.ended:
        return job
    return job.model_copy(update={"pause": True, "state": "paused" if job.state == "queued" else job.state})


def resumed(job: Record) -> Record:
    """Queue a paused job again."""
    return job.model_copy(update={"pause": False, "state": "queued" if job.state == "paused" else job.state})


def counts_by_state(counts: Mapping[str, int]) -> dict[str, int]:
    """Return all states, with zeros."""
    return {state: counts.get(state, 0) for state in get_args(State)}
