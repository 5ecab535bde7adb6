"""Jobs in an SQLite file, through SQLAlchemy's core: all that must survive. In WAL mode readers never wait."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from magicanimate.errors import InputError
from magicanimate.serve.backend import ENDED
from magicanimate.serve.job_states import Record, begun, counts_by_state

Change = Callable[[Record], Record | None]
"""A new record from the old one, or None to leave it."""
_METADATA = sa.MetaData()
# What is searched for has a column; the record itself is JSON.
_JOBS = sa.Table(
    "jobs", _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("client", sa.String(200), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("preview", sa.Boolean, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("finished", sa.Float),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.Index("state_created", "state", "created"),
    sa.Index("client_started", "client", "started"),
)  # fmt: skip
_BYTES = sa.select(sa.func.coalesce(sa.func.sum(_JOBS.c.size), 0))
_COLUMNS = {column.name for column in _JOBS.columns} - {"record"}


class Store:
    """The jobs of a service. Every change is one transaction; may be used by any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(reads_only=True)
        _METADATA.create_all(engine)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the file, or make it.

        Raises:
            InputError: it cannot be opened.
        """
        with suppress(OSError):  # SQLAlchemy says what is wrong
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        sa.event.listen(engine, "connect", _configure)
        sa.event.listen(engine, "begin", _begin)
        try:
            return cls(engine)
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise InputError(f"The job store {path} cannot be opened: {cause}.") from error

    def add(self, job: Record, check: Callable[[int, int, int], None]) -> None:
        """Queue a job after `check(unfinished of its client, unfinished of all, bytes of all)`, which may raise."""
        with self._writing() as connection:
            open_jobs = sa.select(sa.func.count()).where(_JOBS.c.state.not_in(ENDED))
            check(
                connection.scalar(open_jobs.where(_JOBS.c.client == job.client)) or 0,
                connection.scalar(open_jobs) or 0,
                connection.scalar(_BYTES) or 0,
            )
            connection.execute(sa.insert(_JOBS).values(_row(job)))

    def get(self, job: str) -> Record | None:
        with self._reader.connect() as connection:
            return _one(connection, job)

    def of_client(self, client: str, limit: int = 100) -> list[Record]:
        """Newest first."""
        wanted = sa.select(_JOBS.c.record).where(_JOBS.c.client == client)
        return self._read(wanted.order_by(_JOBS.c.created.desc()).limit(limit))

    def position(self, job: Record) -> int | None:
        """Return queued jobs that come before a queued one, counted by age; None for others."""
        if job.state != "queued":
            return None
        before = sa.select(sa.func.count()).where(_JOBS.c.state == "queued", _JOBS.c.created < job.created)
        with self._reader.connect() as connection:
            return connection.scalar(before) or 0

    def change(self, job: str, change: Change) -> Record | None:
        """Return the changed record; None where there is no such job or `change` leaves it."""
        with self._writing() as connection:
            old = _one(connection, job)
            new = change(old) if old else None
            if new:
                connection.execute(sa.update(_JOBS).where(_JOBS.c.id == job).values(_row(new)))
            return new

    def claim(self, worker: str, now: float) -> Record | None:
        """Begin the next job: previews first, then the client who was served longest ago, then the oldest."""
        other = _JOBS.alias()
        served = sa.select(sa.func.max(other.c.started)).where(other.c.client == _JOBS.c.client).scalar_subquery()
        first = (
            sa.select(_JOBS.c.record)
            .where(_JOBS.c.state == "queued")
            .order_by(_JOBS.c.preview.desc(), sa.func.coalesce(served, 0), _JOBS.c.created)
            .limit(1)
        )
        with self._writing() as connection:
            record = connection.scalar(first)
            if record is None:
                return None
            job = begun(Record.model_validate_json(record), worker, now)
            connection.execute(sa.update(_JOBS).where(_JOBS.c.id == job.id).values(_row(job)))
            return job

    def running(self) -> list[Record]:
        return self._read(sa.select(_JOBS.c.record).where(_JOBS.c.state == "running"))

    def finished_before(self, moment: float) -> list[str]:
        """Return ids of jobs that ended before a moment."""
        ended = sa.select(_JOBS.c.id).where(_JOBS.c.state.in_(ENDED), _JOBS.c.finished < moment)
        with self._reader.connect() as connection:
            return list(connection.scalars(ended))

    def remove(self, job: str) -> None:
        with self._writing() as connection:
            connection.execute(sa.delete(_JOBS).where(_JOBS.c.id == job))

    def counts(self) -> dict[str, int]:
        """Return jobs by state, zeros included."""
        grouped = sa.select(_JOBS.c.state, sa.func.count()).group_by(_JOBS.c.state)
        with self._reader.connect() as connection:
            return counts_by_state(dict(map(tuple, connection.execute(grouped))))

    def used(self) -> int:
        """Return bytes of all jobs."""
        with self._reader.connect() as connection:
            return connection.scalar(_BYTES) or 0

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction. A full disk is an OSError, as it is for files."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            if "disk" not in str(error.orig):
                raise
            raise OSError(errno.ENOSPC, str(error.orig)) from error

    def _read(self, wanted: sa.Select[Any]) -> list[Record]:
        with self._reader.connect() as connection:
            return [Record.model_validate_json(text) for text in connection.scalars(wanted)]


def _row(job: Record) -> dict[str, Any]:
    return job.model_dump(include=_COLUMNS) | {"record": job.model_dump_json()}


def _one(connection: Connection, job: str) -> Record | None:
    text = connection.scalar(sa.select(_JOBS.c.record).where(_JOBS.c.id == job))
    return Record.model_validate_json(text) if text else None


def _configure(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin`
    connection.execute("PRAGMA journal_mode=WAL")


def _begin(connection: Connection) -> None:
    """Take the write lock at once: a transaction that reads and then writes can then not fail half-way."""
    reads_only = connection.get_execution_options().get("reads_only")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
