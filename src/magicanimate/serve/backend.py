"""Interface of the service to front ends: submit jobs and ask about them. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, Field

from magicanimate.progress import Progress

State = Literal["queued", "running", "done", "failed", "cancelled"]
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


class Backend(Protocol):
    """Jobs, as the page sees them. `client` is who asks: nobody sees the jobs of others.

    All methods raise `ServiceError` with one sentence: unknown job (404), bad input (413, 415, 422), too many jobs
    (429), no space (507). They may be called from any thread.
    """

    def models(self) -> list[str]:
        """Return names that `submit` takes; the first is the default."""
        ...

    def workers(self) -> list[WorkerState]:
        """Return workers that are alive."""
        ...

    def submit(
        self,
        picture: Path,
        motion: Path,
        settings: Mapping[str, Any],
        client: str,
        *,
        model: str | None = None,
        preview: bool = False,
    ) -> str:
        """Check and copy both files and queue a job; returns its id. Previews come before other jobs.

        `settings` are those of `AnimateSettings`, by name.
        """  # fmt: skip
        ...

    def submit_made(
        self, picture: Path, motion: Path, settings: Mapping[str, Any], client: str, *, model: str | None = None
    ) -> str | None:
        """Submit a job whose video `keep_made` kept, so that it is done at once; None if there is no such video."""
        ...

    def keep_made(self, job: str, client: str, picture: Path, motion: Path) -> None:
        """Keep a copy of a finished video that was made from both files, for everybody who asks for the same."""
        ...

    def state(self, job: str, client: str) -> JobState: ...

    def jobs(self, client: str) -> list[JobState]:
        """Return the client's jobs, newest first."""
        ...

    def result(self, job: str, client: str) -> Path:
        """Return the finished video (mp4, or webm with alpha); its settings lie beside it (`media.settings_path`).

        409 while there is none.
        """
        ...

    def driver(self, job: str, client: str) -> Path | None:
        """Return the motion as the model saw it, framed and timed like the result (mp4, `Job.motion_frames`), for
        comparison; None where there is none."""
        ...

    def cancel(self, job: str, client: str) -> JobState:
        """Ask a job to stop; one that has ended stays as it is."""
        ...

    def delete(self, job: str, client: str) -> None:
        """Cancel if need be, and delete with all files."""
        ...

    def examine(
        self, picture: Path, motion: Path, settings: Mapping[str, Any], *,
        model: str | None = None, progress: Progress | None = None,
    ) -> Any:  # fmt: skip
        """The doctor's `Examination` of both inputs, computed here and now. `progress` may raise to end it."""
        ...
