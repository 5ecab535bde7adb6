"""Jobs in Redis, for several machines. Transactions are Redis' own: watched keys, tried again when they changed.

Keys: `job:ID` the record; sets `state:STATE` of ids; `of:CLIENT`, `queue:CLIENT`, `previews:CLIENT` and `waiting` ids
by age; `turns` clients by the time they were served last; `ended` ids by that time; hashes `sizes` and `workers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from magicanimate.errors import InputError
from magicanimate.serve.backend import WorkerState
from magicanimate.serve.job_states import Record, begun, counts_by_state
from magicanimate.serve.store import Change

_BEFORE_ALL = 1e-12  # puts clients who were never served before all others, by age
_PREFIX = "magicanimate:"
_TURNS, _WAITING, _ENDED, _SIZES, _WORKERS = (
    _PREFIX + name for name in ("turns", "waiting", "ended", "sizes", "workers")
)


class RedisStore:
    """See `store.Store`."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client

    @classmethod
    def open(cls, url: str) -> RedisStore:
        """Connect; InputError if there is no Redis."""
        try:
            client = redis.Redis.from_url(url, decode_responses=True)
            client.ping()
        except (redis.RedisError, ValueError) as error:
            raise InputError(f"Redis cannot be reached: {error}; check the address after --redis.") from error
        return cls(client)

    def add(self, job: Record, check: Callable[[int, int, int], None]) -> None:
        def insert(pipe: Any) -> None:
            waiting = pipe.sunion(_state("queued"), _state("running"))
            own = set(pipe.zrange(_of(job.client), 0, -1))
            check(len(waiting & own), len(waiting), sum(map(int, pipe.hvals(_SIZES))))
            pipe.multi()
            _write(pipe, None, job)

        # The indices are watched: two requests at once cannot both take the last free place.
        self._redis.transaction(insert, _state("queued"), _of(job.client), _SIZES)

    def get(self, job: str) -> Record | None:
        return _read(self._redis, job)

    def of_client(self, client: str, limit: int = 100) -> list[Record]:
        return self._all(self._redis.zrange(_of(client), 0, limit - 1, desc=True))

    def position(self, job: Record) -> int | None:
        if job.state != "queued":
            return None
        return self._redis.zrank(_WAITING, job.id)

    def change(self, job: str, change: Change) -> Record | None:
        def step(pipe: Any) -> Record | None:
            old = _read(pipe, job)
            new = change(old) if old else None
            pipe.multi()
            if new:
                _write(pipe, old, new)
            return new

        return self._redis.transaction(step, _job(job), value_from_callable=True)

    def claim(self, worker: str, now: float, lease: float) -> Record | None:
        def step(pipe: Any) -> Record | None:
            waiting = [
                oldest[0]
                for queue in (_previews, _queue)
                for client in pipe.zrange(_TURNS, 0, -1)
                if (oldest := pipe.zrange(queue(client), 0, 0))
            ]
            if not waiting:
                pipe.multi()
                return None
            pipe.watch(_job(waiting[0]))
            old = _read(pipe, waiting[0])
            if old is None or old.state != "queued":
                raise redis.WatchError  # it was cancelled this moment: look again
            new = begun(old, worker, now, lease)
            pipe.multi()
            _write(pipe, old, new)
            pipe.zadd(_TURNS, {new.client: now})
            return new

        return self._redis.transaction(step, _TURNS, value_from_callable=True)

    def running(self) -> list[Record]:
        return self._all(self._redis.smembers(_state("running")))

    def finished_before(self, moment: float) -> list[str]:
        return self._redis.zrange(_ENDED, "-inf", f"({moment}", byscore=True)

    def remove(self, job: str) -> None:
        def step(pipe: Any) -> None:
            old = _read(pipe, job)
            pipe.multi()
            if old:
                _unlink(pipe, old)
                pipe.delete(_job(job))

        self._redis.transaction(step, _job(job))

    def counts(self) -> dict[str, int]:
        return {state: self._redis.scard(_state(state)) for state in counts_by_state({})}

    def used(self) -> int:
        return sum(map(int, self._redis.hvals(_SIZES)))

    def greet(self, worker: WorkerState) -> None:
        self._redis.hset(_WORKERS, worker.id, worker.model_dump_json())

    def dismiss(self, worker: str) -> None:
        self._redis.hdel(_WORKERS, worker)

    def workers(self) -> list[WorkerState]:
        return [WorkerState.model_validate_json(text) for text in self._redis.hvals(_WORKERS)]

    def _all(self, jobs: Any) -> list[Record]:
        texts = self._redis.mget([_job(job) for job in jobs]) if jobs else []
        return [Record.model_validate_json(text) for text in texts if text]


def _job(job: str) -> str:
    return f"{_PREFIX}job:{job}"


def _state(state: str) -> str:
    return f"{_PREFIX}state:{state}"


def _of(client: str) -> str:
    return f"{_PREFIX}of:{client}"


def _queue(client: str) -> str:
    return f"{_PREFIX}queue:{client}"


def _previews(client: str) -> str:
    return f"{_PREFIX}previews:{client}"


def _read(source: Any, job: str) -> Record | None:
    text = source.get(_job(job))
    return Record.model_validate_json(text) if text else None


def _write(pipe: Any, old: Record | None, new: Record) -> None:
    """The record, and every index that follows from it."""
    if old:
        _unlink(pipe, old)
    pipe.set(_job(new.id), new.model_dump_json())
    pipe.sadd(_state(new.state), new.id)
    pipe.zadd(_of(new.client), {new.id: new.created})
    pipe.hset(_SIZES, new.id, new.size)
    if new.state == "queued":
        pipe.zadd(_WAITING, {new.id: new.created})
        pipe.zadd((_previews if new.preview else _queue)(new.client), {new.id: new.created})
        pipe.zadd(_TURNS, {new.client: new.created * _BEFORE_ALL}, nx=True)
    if new.ended:
        pipe.zadd(_ENDED, {new.id: new.finished})


def _unlink(pipe: Any, job: Record) -> None:
    pipe.srem(_state(job.state), job.id)
    for index in (_of(job.client), _queue(job.client), _previews(job.client), _WAITING, _ENDED):
        pipe.zrem(index, job.id)
    pipe.hdel(_SIZES, job.id)
