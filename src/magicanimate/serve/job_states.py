"""A job as it is stored, and the steps of its life: pure functions from one record to the next.

queued -> running -> done | failed | cancelled; a running job whose worker is gone is queued once more, then it fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from magicanimate.serve.backend import ENDED, JobState, State

MAX_ATTEMPTS = 2
"""A job is begun at most so often: whatever kills a worker twice would kill it for ever."""

_LOST = "The worker stopped twice while it computed this; the input may be too large for its memory."


class Record(BaseModel):
    """One job. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True)

    id: str
    client: str
    model: str
    settings: dict[str, Any]
    preview: bool = False
    state: State = "queued"
    picture: str
    motion: str
    """Names of the inputs in the job's folder, ours."""
    result: str | None = None
    driver: str | None = None
    """The same of the finished video, and of the motion as the model saw it."""
    size: int = 0
    """Bytes on the disk."""
    worker: str | None = None
    lease: float | None = None
    """Until when the worker has the job unless it says more."""
    attempts: int = 0
    stop: bool = False
    """The client wants no more of it."""
    stage: str | None = None
    done: int = 0
    total: int | None = None
    error: str | None = None
    summary: str | None = None
    warnings: list[str] = []
    created: float
    started: float | None = None
    finished: float | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def held_by(self, worker: str, attempt: int) -> bool:
        """Whether this worker still has it, in this attempt."""
        return self.state == "running" and self.worker == worker and self.attempts == attempt

    def told(self, position: int | None, keep_seconds: float) -> JobState:
        """What its client may know."""
        shared = self.model_dump(include=set(JobState.model_fields))
        expires = self.finished + keep_seconds if self.finished else None
        return JobState(**shared, position=position, expires=expires)


def begun(job: Record, worker: str, now: float, lease: float) -> Record:
    """A worker takes it."""
    return job.model_copy(
        update={
            "state": "running", "worker": worker, "lease": now + lease, "attempts": job.attempts + 1,
            "started": now, "stage": None, "done": 0, "total": None,
        }
    )  # fmt: skip


def advanced(job: Record, now: float, lease: float, progress: tuple[str, int, int | None] | None) -> Record:
    """Its worker is alive and got so far."""
    stage, done, total = progress or (job.stage, job.done, job.total)
    return job.model_copy(update={"lease": now + lease, "stage": stage, "done": done, "total": total})


def ended(job: Record, state: State, now: float, **facts: Any) -> Record:
    """Over, for better or worse; `facts` are more fields, such as error, or result and its size."""
    return job.model_copy(
        update={"state": state, "finished": now, "worker": None, "lease": None, "stage": None, "size": 0, **facts}
    )


def released(job: Record) -> Record:
    """Its worker was told to end, and gives it back as if it had not begun."""
    return job.model_copy(
        update={"state": "queued", "worker": None, "lease": None, "attempts": job.attempts - 1, "started": None}
    )


def lost(job: Record, now: float) -> Record:
    """Its worker is gone without a word."""
    if job.stop:
        return ended(job, "cancelled", now)
    if job.attempts >= MAX_ATTEMPTS:
        return ended(job, "failed", now, error=_LOST)
    return job.model_copy(update={"state": "queued", "worker": None, "lease": None, "stage": None})


def stopped(job: Record, now: float) -> Record:
    """Its client wants no more of it: over at once if it waits, else as soon as its worker hears."""
    if job.ended:
        return job
    return ended(job, "cancelled", now) if job.state == "queued" else job.model_copy(update={"stop": True})


def counts_by_state(counts: Mapping[str, int]) -> dict[str, int]:
    """All states, with zeros."""
    return {state: counts.get(state, 0) for state in ("queued", "running", *ENDED)}
