"""Data that the service tells: refusals, jobs, workers. Imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


class ServiceError(Exception):
    """A request that is refused: an HTTP status code and one sentence for the one who asked."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class JobState(BaseModel):
    """State of a job, as clients see it. Times are seconds since 1970."""

    id: str = Field(description="32 hexadecimal digits")
    state: State
    model: str
    preview: bool = Field(False, description="a rough preview, which comes before other jobs")
    settings: dict[str, Any] = Field(description="as given")
    position: int | None = Field(None, description="jobs that come before it, while it is queued")
    stage: str | None = Field(None, description="loading, reading, control, denoise or decode, while it is running")
    done: int = Field(0, description="units of the stage that are done")
    total: int | None = Field(None, description="units of the stage, where they are known")
    attempts: int = Field(0, description="how often a worker began it; 2 at most")
    error: str | None = Field(None, description="why it failed, in one sentence")
    summary: str | None = Field(None, description="the finished video in one line")
    warnings: list[str] = Field(default_factory=list)
    created: float
    started: float | None = None
    finished: float | None = None
    expires: float | None = Field(None, description="when the job and its result are deleted")

    @property
    def ended(self) -> bool:
        """True if the job has ended."""
        return self.state in ENDED


class WorkerState(BaseModel):
    """State of a worker."""

    id: str = Field(description="machine and process, or where one is being started")
    state: Literal["loading", "ready", "busy"]
