"""Videos that are kept beyond their jobs, for everybody who asks for the same."""

from __future__ import annotations

import time

import pytest

from magicanimate.serve import made_before
from magicanimate.serve.backend import ServiceError
from magicanimate.serve.job_states import ended
from magicanimate.serve.made_before import SENTENCE
from magicanimate.serve.page.examples import SHELF

INPUTS = SHELF["studio"].picture, SHELF["studio"].motion


def finish(service, client: str, inputs=INPUTS, **settings) -> str:
    """A job that is done as if a worker had computed it."""
    job = service.submit(*inputs, settings, client)
    for name in ("result-1.mp4", "result-1.mp4.json", "driver-1.mp4"):
        (service.folder(job) / name).write_text(f"{name} of {job}")
    facts = {"result": "result-1.mp4", "driver": "driver-1.mp4", "size": 90, "summary": "fine", "warnings": ["dark"]}
    service.store.change(job, lambda record: ended(record, "done", time.time(), **facts))
    service.keep_made(job, client, *inputs)
    return job


def test_a_kept_video_is_another_visitors_at_once(app):
    service = app().app.state.service
    assert service.submit_made(*INPUTS, {}, "a") is None
    first = finish(service, "a")
    service.delete(first, "a")
    second = service.submit_made(*INPUTS, {}, "b")
    state = service.state(second, "b")
    assert (state.state, state.summary, state.warnings) == ("done", "fine", ["dark", SENTENCE])
    assert service.result(second, "b").read_text() == f"result-1.mp4 of {first}"
    assert service.driver(second, "b").is_file()
    assert service.store.claim("worker", time.time()) is None, "there is nothing to compute"
    with pytest.raises(ServiceError, match="no such job"):
        service.state(second, "a")
    service.delete(second, "b")
    assert list(service.options.jobs.iterdir()) == []


def test_other_inputs_settings_and_models_are_other_videos(app, tmp_path):
    service = app().app.state.service
    finish(service, "a")
    assert service.submit_made(*INPUTS, {"seed": 2}, "a") is None
    assert service.submit_made(INPUTS[0], SHELF["hills"].motion, {}, "a") is None
    (tmp_path / "models" / "parts" / "model.json").write_text("{} ")
    assert service.submit_made(*INPUTS, {}, "a") is None


def test_only_a_few_are_kept(app, monkeypatch):
    monkeypatch.setattr(made_before, "_MOST", 2)
    service = app().app.state.service
    for seed in (1, 2, 3):
        finish(service, "a", seed=seed)
    assert len(list(service.options.made.iterdir())) == 2
    assert service.submit_made(*INPUTS, {"seed": 1}, "a") is None
    assert service.submit_made(*INPUTS, {"seed": 3}, "a") is not None
