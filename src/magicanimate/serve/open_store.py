"""Opens the job store: Redis where a URL is given, else SQLite in the data folder."""

from __future__ import annotations

from pathlib import Path

from magicanimate.errors import InputError
from magicanimate.serve.store import Store


def open_store(data: Path, redis: str | None = None) -> Store:
    """The store at a redis:// URL, or SQLite in the data folder.

    Raises:
        InputError: it cannot be reached, or what it needs is not installed.
    """
    try:
        if redis:
            from magicanimate.serve.store_redis import RedisStore

            return RedisStore.open(redis)
        from magicanimate.serve.store_sql import SqlStore

        return SqlStore.open(data / "jobs.sqlite")
    except ModuleNotFoundError as error:
        raise InputError(f"The job store needs the package {error.name}; install the extra [serve].") from error
