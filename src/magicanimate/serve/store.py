"""Jobs of the one server of a data folder: in memory, where questions are answered, and in an SQLite file, from which
it starts."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from magicanimate.errors import InputError, first_line
from magicanimate.serve.job_states import Record, begun, counts_by_state

Change = Callable[[Record], Record | None]
"""A new record from the old one, or None to leave it."""


class Store:
    """The jobs of a service, for any thread. A change is on the disk before anybody hears of it.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._turn = threading.Lock()
        with suppress(OSError):  # SQLite says what is wrong
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            self._file = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, record TEXT NOT NULL)")
            rows = self._file.execute("SELECT id, record FROM records").fetchall()
            self._jobs = {job: Record.model_validate_json(text) for job, text in rows}
        except (sqlite3.Error, ValueError) as error:
            raise InputError(f"The job store {path} cannot be opened: {first_line(error)}.") from error

    def add(self, job: Record, check: Callable[[int, int, int], None]) -> None:
        """Queue a job after `check(unfinished of its client, unfinished of all, bytes of all)`, which may raise."""
        with self._turn:
            waiting = [other for other in self._all() if not other.ended]
            check(sum(other.client == job.client for other in waiting), len(waiting), self.used())
            self._write(job)

    def get(self, job: str) -> Record | None:
        return self._jobs.get(job)

    def of_client(self, client: str, limit: int = 100) -> list[Record]:
        """Newest first."""
        own = [job for job in self._all() if job.client == client]
        return sorted(own, key=lambda job: job.created, reverse=True)[:limit]

    def position(self, job: Record) -> int | None:
        """Return queued jobs that come before a queued one, counted by age; None for others."""
        if job.state != "queued":
            return None
        return sum(other.state == "queued" and other.created < job.created for other in self._all())

    def change(self, job: str, change: Change) -> Record | None:
        """Return the changed record; None where there is no such job or `change` leaves it."""
        with self._turn:
            old = self.get(job)
            new = change(old) if old else None
            if new:
                self._write(new)
            return new

    def claim(self, worker: str, now: float) -> Record | None:
        """Begin the next job: previews first, then the client who was served longest ago, then the oldest."""
        with self._turn:
            every = self._all()
            queued = [job for job in every if job.state == "queued"]
            if not queued:
                return None
            served: dict[str, float] = {}
            for job in every:
                served[job.client] = max(served.get(job.client, 0.0), job.started or 0.0)
            first = min(queued, key=lambda job: (not job.preview, served[job.client], job.created))
            job = begun(first, worker, now)
            self._write(job)
            return job

    def running(self) -> list[Record]:
        return [job for job in self._all() if job.state == "running"]

    def finished_before(self, moment: float) -> list[str]:
        """Return ids of jobs that ended before a moment."""
        return [job.id for job in self._all() if job.ended and job.finished is not None and job.finished < moment]

    def remove(self, job: str) -> None:
        with self._turn:
            self._execute("DELETE FROM records WHERE id = ?", job)
            self._jobs.pop(job, None)

    def counts(self) -> dict[str, int]:
        """Return jobs by state, zeros included."""
        return counts_by_state(Counter(job.state for job in self._all()))

    def used(self) -> int:
        """Return bytes of all jobs."""
        return sum(job.size for job in self._all())

    def _all(self) -> list[Record]:
        """Return a copy: other threads may add jobs meanwhile."""
        return list(self._jobs.values())

    def _write(self, job: Record) -> None:
        self._execute("INSERT OR REPLACE INTO records VALUES (?, ?)", job.id, job.model_dump_json())
        self._jobs[job.id] = job

    def _execute(self, command: str, *values: Any) -> None:
        """Make one change. A full disk is an OSError, as it is for files."""
        try:
            self._file.execute(command, values)
        except sqlite3.OperationalError as error:
            if "disk" not in str(error):
                raise
            raise OSError(errno.ENOSPC, str(error)) from error
