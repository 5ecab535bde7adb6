"""The machine's clock is set forth and back by an hour while jobs run: nothing happens."""

from __future__ import annotations

import time

import pytest
from fastapi.testclient import TestClient

from magicanimate.serve.app import create_app
from magicanimate.serve.clock import now
from magicanimate.serve.dispatcher import Dispatcher
from magicanimate.serve.options import Limits, ServeOptions


def until(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_clock_that_is_set_changes_nothing(tmp_path, models_home, picture_path, motion_path, monkeypatch):
    monkeypatch.setenv("MAGICANIMATE_HOME", str(models_home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    limits = Limits(keep_seconds=600, job_seconds=600)
    options = ServeOptions(data=tmp_path / "data", models=("parts",), devices=("cpu",), page=False, limits=limits)
    with TestClient(create_app(options), base_url="http://127.0.0.1:8000") as client:
        service = client.app.state.service
        jobs = []
        for steps, ahead[0] in ((60, 0.0), (1, 3600.0), (1, -3600.0)):
            settings = {"steps": steps, "max_frames": 4}
            jobs.append(service.submit(picture_path, motion_path, settings, "local"))
        for ahead[0] in (3600.0, -3600.0):
            assert abs(now() - real()) < 60 < abs(time.time() - real())
            until(lambda: service.state(jobs[0], "local").state == "running")
            before = service.progress.get(jobs[0])
            until(lambda: service.progress.get(jobs[0]) != before or service.state(jobs[0], "local").ended)  # noqa: B023
            Dispatcher(service, client.app.state.metrics).remove_old()
            Dispatcher(service, client.app.state.metrics).sweep()
        until(lambda: all(service.state(job, "local").ended for job in jobs))
        states = [service.state(job, "local") for job in jobs]
        assert [(state.state, state.attempts) for state in states] == [("done", 1)] * 3
        assert [state.created for state in states] == sorted(state.created for state in states)
        for ahead[0] in (3600.0, -3600.0):
            Dispatcher(service, client.app.state.metrics).remove_old()
            assert all(service.result(job, "local").is_file() for job in jobs)
