"""Worker and server, here one process, are killed between any two writes of a job: nothing is lost, and nothing is
computed again after its result was complete."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from children import PRELOADED
from magicanimate.animation.settings import ModelOptions
from magicanimate.batch.worker import Animator
from magicanimate.media import open_clip
from magicanimate.serve.dispatcher import Dispatcher
from magicanimate.serve.job_files import make_task, remembered
from magicanimate.serve.job_states import lost
from magicanimate.serve.metrics import Metrics
from magicanimate.serve.options import ServeOptions
from magicanimate.serve.service import Service
from magicanimate.serve.store import Store

WRITES = ("replace", "unlink", "rename", "rmdir")


def service_of(data: Path) -> Service:
    options = ServeOptions(data=data, models=("parts",))
    options.make_folders()
    return Service(options, Store(data / "jobs.sqlite"))


class Here:
    """A worker of this process."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self) -> None:
        pass


def work(data: Path, home: Path, name: str, killed_at: int | None, count_file: Path) -> None:
    """Take the next job in a process of its own; die by SIGKILL before the write of that number."""
    import torch

    torch.set_num_threads(1)
    os.environ["MAGICANIMATE_HOME"] = str(home)
    service, done = service_of(data), 0

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def before(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            if done == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1
            return write(*arguments, **options)

        return before

    for write in WRITES:
        setattr(os, write, counted(getattr(os, write)))
    service.store.change = counted(service.store.change)  # type: ignore[method-assign]
    dispatcher = Dispatcher(service, Metrics(service))
    task = dispatcher.take(Here(name))
    outcome = Animator(ModelOptions(model="parts", device="cpu")).animate(task)
    dispatcher.ended(task, outcome)
    count_file.write_text(str(done))


def in_a_process(*arguments: Any) -> int | None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=work, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


@pytest.fixture(scope="module")
def writes(tmp_path_factory, models_home, picture_path, motion_path) -> int:
    """Count the writes of a job that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    submit(folder, picture_path, motion_path)
    assert in_a_process(folder, models_home, "w", None, folder / "count") == 0
    return int((folder / "count").read_text())


def submit(data: Path, picture_path: Path, motion_path: Path) -> str:
    settings = {"steps": 1, "max_frames": 2}
    return service_of(data).submit(picture_path, motion_path, settings, "local", model="parts")


def test_no_kill_loses_a_job_or_does_it_twice(tmp_path, writes, models_home, picture_path, motion_path):
    assert writes >= 6
    computed_again = []
    for number in range(writes):
        data = tmp_path / str(number)
        job = submit(data, picture_path, motion_path)
        assert in_a_process(data, models_home, "first", number, data / "count") == -signal.SIGKILL
        service = service_of(data)
        begun = service.store.get(job)
        complete = remembered(make_task(begun, service.folder(job), service.options.limits)) is not None
        dispatcher = Dispatcher(service, Metrics(service))
        dispatcher.take_back([running.id for running in service.store.running()], lost)
        record = service.store.get(job)
        assert record is not None
        if record.state == "queued":
            assert in_a_process(data, models_home, "second", None, data / "count") == 0
            computed_again.append(number)
            assert not complete  # what is complete is not computed again
            service = service_of(data)
            dispatcher = Dispatcher(service, Metrics(service))
        dispatcher.sweep()
        state = service.state(job, "local")
        assert state.state == "done", number
        assert state.summary is not None
        assert len(list(open_clip(service.result(job, "local")))) == 2
        names = {path.name for path in service.folder(job).iterdir()}
        attempt = state.attempts
        assert names == {f"result-{attempt}.mp4", f"result-{attempt}.mp4.json", f"driver-{attempt}.mp4"}, number
        assert service.store.counts() == {
            "queued": 0,
            "running": 0,
            "paused": 0,
            "done": 1,
            "failed": 0,
            "cancelled": 0,
        }
    assert 0 < len(computed_again) < writes  # kills before the end of the computation, and behind it
