"""Where jobs are kept: one interface on SQLite and on Redis.

Every change is one transaction; several web processes and workers, on several machines with Redis, share a store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from magicanimate.serve.backend import WorkerState
from magicanimate.serve.job_states import Record

Change = Callable[[Record], Record | None]
"""A new record from the old one, or None to leave it."""


class Store(Protocol):
    """The jobs of a service."""

    def add(self, job: Record, check: Callable[[int, int, int], None]) -> None:
        """Queue a job after `check(unfinished of its client, unfinished of all, bytes of all)`, which may raise."""
        ...

    def get(self, job: str) -> Record | None: ...

    def of_client(self, client: str, limit: int = 100) -> list[Record]:
        """Newest first."""
        ...

    def position(self, job: Record) -> int | None:
        """Queued jobs that come before a queued one, counted by age; None for others."""
        ...

    def change(self, job: str, change: Change) -> Record | None:
        """The changed record; None where there is no such job or `change` leaves it."""
        ...

    def claim(self, worker: str, now: float, lease: float) -> Record | None:
        """Begin the next job: previews first, then the client who was served longest ago, then the oldest."""
        ...

    def running(self) -> list[Record]: ...

    def finished_before(self, moment: float) -> list[str]:
        """Ids of jobs that ended before a moment."""
        ...

    def remove(self, job: str) -> None: ...

    def counts(self) -> dict[str, int]:
        """Jobs by state, zeros included."""
        ...

    def used(self) -> int:
        """Bytes of all jobs."""
        ...

    def greet(self, worker: WorkerState) -> None:
        """Remember what a worker says of itself."""
        ...

    def dismiss(self, worker: str) -> None:
        """Forget a worker."""
        ...

    def workers(self) -> list[WorkerState]: ...
