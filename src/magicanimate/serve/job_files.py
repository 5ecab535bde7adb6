"""The files of a job: inputs become a task, and its files the fields of a finished job."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from magicanimate.animation.parsing import TRANSPARENT
from magicanimate.animation.settings import AnimateSettings
from magicanimate.batch.worker import Outcome, Task
from magicanimate.files import remove
from magicanimate.media import settings_path
from magicanimate.serve.job_states import Record
from magicanimate.serve.options import Limits


def make_task(job: Record, folder: Path, limits: Limits) -> Task:
    """Return what a worker is to do in this attempt; the worker checks the settings, which may be another version's."""
    settings = AnimateSettings.model_construct(**({"max_frames": limits.frames} | job.settings))
    suffix = "webm" if settings.background == TRANSPARENT else "mp4"
    return Task(
        key=job.id, model=job.model, image=folder / job.picture, motion=folder / job.motion, settings=settings,
        out=folder / f"result-{job.attempts}.{suffix}", driver=folder / f"driver-{job.attempts}.mp4",
        record=folder / f"outcome-{job.attempts}.json", steps=folder / "resume", overwrite=True,
        seconds=limits.job_seconds,
    )  # fmt: skip


def remembered(task: Task) -> Outcome | None:
    """Read the outcome of a task that is done, whether somebody was told of it or not."""
    assert task.record is not None
    try:
        outcome = TypeAdapter(Outcome).validate_json(task.record.read_bytes())
    except (OSError, ValidationError):
        return None
    return outcome if all(path.is_file() for path in _kept(task)) else None


def results(job: Record, task: Task, outcome: Outcome) -> dict[str, Any]:
    """Return fields of the record of a job that is done."""
    warnings = list(outcome.warnings)
    if outcome.frames == task.settings.max_frames and "max_frames" not in job.settings:
        warnings.append(f"Only the first {outcome.frames} frames were animated: this service makes no more.")
    result, _, driver = _kept(task)
    return {
        "result": result.name, "driver": driver.name, "size": sum(path.stat().st_size for path in _kept(task)),
        "summary": outcome.summary, "warnings": warnings,
    }  # fmt: skip


def _kept(task: Task) -> tuple[Path, Path, Path]:
    assert task.driver is not None
    return task.out, settings_path(task.out), task.driver


def tidy(folder: Path, record: Record | None) -> None:
    """Delete the files of a job that is gone or has ended without a result, and all but the result of one that is
    done. Done after the store knows of the end; what a crash leaves is swept later."""
    if record is None or record.state in ("failed", "cancelled"):
        shutil.rmtree(folder, ignore_errors=True)
    elif record.state == "done" and record.result and folder.is_dir():
        kept = {record.result, settings_path(folder / record.result).name, record.driver}
        for path in folder.iterdir():
            if path.name not in kept:
                remove(path)
