"""The record: order, limits, the steps of a job, and that none is taken twice."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from magicanimate.errors import InputError
from magicanimate.serve.job_states import Record, begun, ended, lost, paused, released, resumed, stopped
from magicanimate.serve.store import Store


@pytest.fixture
def connect(tmp_path) -> Callable[[], Store]:
    """Opens the same store again, as a server that starts does."""
    return lambda: Store(tmp_path / "jobs.sqlite")


@pytest.fixture
def store(connect) -> Store:
    return connect()


def record(number: int, client: str = "a", **fields: Any) -> Record:
    values = {
        "id": f"{number:032x}", "client": client, "model": "m", "settings": {"seed": number}, "picture": "p.png",
        "motion": "m.mp4", "created": float(number), "size": 10,
    }  # fmt: skip
    return Record(**(values | fields))


def put(store: Store, *jobs: Record) -> None:
    for job in jobs:
        store.add(job, lambda *_: None)


def claimed(store: Store, now: float = 100.0) -> int | None:
    job = store.claim("w", now)
    return int(job.id, 16) if job else None


def test_what_is_put_in_comes_out(store, connect):
    put(store, record(1), record(2, "b"))
    assert connect().get(record(1).id) == record(1)
    assert store.get(record(3).id) is None
    assert [job.client for job in store.of_client("b")] == ["b"]
    assert store.counts() == {"queued": 2, "running": 0, "done": 0, "paused": 0, "failed": 0, "cancelled": 0}


def test_clients_take_turns_and_previews_come_first(store):
    put(store, *(record(n, "many") for n in (1, 2, 3)), record(4, "few"), record(5, "few"))
    put(store, record(6, "new", preview=True))
    assert [claimed(store, 100.0 + turn) for turn in range(7)] == [6, 1, 4, 2, 5, 3, None]


def test_position_counts_older_jobs(store):
    put(store, record(1), record(2), record(3))
    claimed(store)
    assert [store.position(store.get(record(n).id)) for n in (1, 2, 3)] == [None, 0, 1]


def test_a_change_is_kept(store, connect):
    put(store, record(1))
    job = store.claim("w", 100.0)
    assert [running.id for running in store.running()] == [job.id]
    assert store.change(job.id, lambda old: ended(old, "done", 200.0, result="r.mp4", size=99)).result == "r.mp4"
    assert store.running() == []
    assert store.counts()["done"] == 1
    assert store.finished_before(200.0) == []
    assert store.finished_before(200.1) == [job.id]
    assert store.change(job.id, lambda old: None) is None
    assert store.get(job.id).size == 99
    assert connect().get(job.id) == store.get(job.id)


def test_removed_jobs_leave_nothing(store, connect):
    put(store, record(1), record(2))
    claimed(store)
    for number in (1, 2, 3):
        store.remove(record(number).id)
    assert sum(store.counts().values()) == 0
    assert store.of_client("a") == []
    assert connect().of_client("a") == []
    assert claimed(store) is None
    store.add(record(4), lambda own, every, used: assert_equal((own, every, used), (0, 0, 0)))


def assert_equal(left: Any, right: Any) -> None:
    assert left == right


def test_a_check_sees_what_there_is_and_may_refuse(store):
    put(store, record(1), record(2, "b"), record(3, "b"))
    store.change(record(1).id, lambda old: ended(old, "failed", 1.0))

    def refuse(own: int, every: int, used: int) -> None:
        raise ValueError((own, every, used))

    with pytest.raises(ValueError, match=r"\(0, 2, 20\)"):
        store.add(record(4), refuse)
    assert store.get(record(4).id) is None


def test_many_workers_never_take_the_same_job(store, connect):
    put(store, *(record(n, f"client {n % 7}") for n in range(1, 41)))
    taken: list[int | None] = []

    def work() -> None:
        while (job := claimed(store)) is not None:
            taken.append(job)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 41))
    assert connect().counts()["running"] == 40


def test_the_last_free_place_is_given_once(store, connect):
    refused: list[int] = []

    def only_three(own: int, every: int, used: int) -> None:
        if own >= 3:
            raise ValueError

    def submit(number: int) -> None:
        try:
            store.add(record(number), only_three)
        except ValueError:
            refused.append(number)

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5
    assert connect().counts()["queued"] == 3


def test_a_job_is_retried_once_then_fails():
    again = lost(begun(record(1), "w", 10.0), 50.0)
    assert (again.state, again.attempts, again.worker) == ("queued", 1, None)
    gone = lost(begun(again, "v", 60.0), 100.0)
    assert (gone.state, gone.failure) == ("failed", "lost")
    assert gone.error.endswith(".")


def test_a_job_given_back_in_order_does_not_count():
    job = record(1)
    for _ in range(5):
        job = released(begun(job, "w", 10.0), 20.0)
    assert (job.state, job.attempts) == ("queued", 0)


def test_a_change_that_cannot_be_written_is_not_there(store, connect, tmp_path):
    put(store, record(1))
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        database.execute("ALTER TABLE records RENAME TO elsewhere")
    for write in (lambda: put(store, record(2)), lambda: claimed(store), lambda: store.remove(record(1).id)):
        with pytest.raises(sqlite3.OperationalError):
            write()
    assert [job.state for job in store.of_client("a")] == ["queued"]
    assert connect().counts()["queued"] == 0


def test_stopping():
    assert stopped(record(1), 5.0).state == "cancelled"
    running = stopped(begun(record(1), "w", 1.0), 5.0)
    assert (running.state, running.stop) == ("running", True)
    assert lost(running, 9.0).state == released(running, 9.0).state == "cancelled"
    done = ended(running, "done", 7.0)
    assert stopped(done, 8.0) is done


def test_pausing():
    assert resumed(paused(record(1))) == record(1)
    assert paused(record(1)).state == "paused"
    running = paused(begun(record(1), "w", 1.0))
    assert running.state == "running"
    rests = released(running, 9.0)
    assert (rests.state, rests.attempts, resumed(rests).state) == ("paused", 0, "queued")
    assert lost(running, 9.0).state == "paused"
    assert stopped(rests, 9.0).state == "cancelled"
    assert released(resumed(running), 9.0).state == "queued"
    done = ended(record(1), "done", 5.0)
    assert paused(done) is done


def test_what_is_ours_is_not_told():
    told = begun(record(1), "w", 1.0).told(None, 10.0, ("denoise", 3, 8))
    assert (told.stage, told.done, told.total) == ("denoise", 3, 8)
    assert not {"client", "worker", "picture"} & set(told.model_dump())


def test_a_store_that_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be opened"):
        Store(tmp_path / "no-such-folder" / "jobs.sqlite")
    (tmp_path / "other.sqlite").write_text("no database, but long enough to be looked at")
    with pytest.raises(InputError, match="cannot be opened"):
        Store(tmp_path / "other.sqlite")
