"""Keeps the house: workers run, jobs of dead workers go on, what is old is deleted. A thread of the web process."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from magicanimate.serve.job_states import Record, ended, lost, released
from magicanimate.serve.service import WORKER_SILENCE, Service

LOG = logging.getLogger(__name__)
_LOOK = 0.5  # seconds
_CLEAN = 5.0
_SWEEP = 600.0
_STRAY = 3600.0  # seconds after which a folder that belongs to no job is nobody's upload any more
_PATIENCE = 1.2  # seconds for workers that are asked to end
_LONGEST_PAUSE = 30.0


@dataclass
class _Place:
    """One device, and the process that works there."""

    device: str
    name: str = ""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.5
    """Seconds to wait after it died; doubles while it dies young."""
    not_before: float = 0.0


class Supervisor:
    """Start it with `start`, end it with `stop`, which ends the workers too."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._places = [_Place(device) for device in service.options.devices]
        self._cleaned = self._swept = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2 * _PATIENCE)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK):
            try:
                self._round(time.time())
            except Exception:  # a full disk or a queue out of reach passes, and then somebody must be here
                LOG.exception("housekeeping")
        self._end_workers()

    def _end_workers(self) -> None:
        """Ask them, wait a moment, and kill what computes on: its job goes back into the queue, uncounted."""
        alive = [(place.name, place.process) for place in self._places if place.process]
        for _, process in alive:
            process.terminate()
        until = time.monotonic() + _PATIENCE
        for name, process in alive:
            try:
                process.wait(max(0.01, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                _release_jobs(self._service, name)

    def _round(self, now: float) -> None:
        for place in self._places:
            self._look_after(place, now)
        if now - self._cleaned > _CLEAN:
            self._cleaned = now
            clean(self._service, now)
        if now - self._swept > _SWEEP:
            self._swept = now
            sweep(self._service, now)

    def _look_after(self, place: _Place, now: float) -> None:
        if place.process and place.process.poll() is not None:
            LOG.warning("the worker on %s ended with code %s", place.device, place.process.returncode)
            take_back(self._service, lambda job: job.worker == place.name, now)
            self._service.store.dismiss(place.name)
            place.pause = 0.5 if now - place.started > _LONGEST_PAUSE else min(2 * place.pause, _LONGEST_PAUSE)
            place.process, place.not_before = None, now + place.pause
        if place.process is None and now >= place.not_before:
            place.started = now
            place.name = worker_name(place.device)
            place.process = self._begin(place)

    def _begin(self, place: _Place) -> subprocess.Popen[bytes]:
        options = self._service.options
        limits = options.limits.model_dump(exclude_defaults=True)
        command = [sys.executable, "-m", "magicanimate", "worker", "--supervised", "--data", str(options.data)]
        command += ["--device", place.device, "--name", place.name]
        command += [word for model in options.models for word in ("--model", model)]
        command += [word for name, value in limits.items() for word in ("--limit", f"{name}={value}")]
        environment = os.environ | ({"MAGICANIMATE_REDIS": options.redis} if options.redis else {})
        # A session of its own: Ctrl-C in the terminal reaches this process, which then ends the worker in order.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)


def worker_name(device: str) -> str:
    """A name that no other worker has."""
    return f"{socket.gethostname()}-{device}-{uuid.uuid4().hex[:8]}"


def take_back(service: Service, gone: Callable[[Record], bool], now: float) -> None:
    """Running jobs whose worker is gone are queued again, or fail."""
    for job in service.store.running():
        if gone(job):
            LOG.warning("job %s lost its worker", job.id)
            step = partial(_without_worker, now=now, facts=service.finished(job.id), gone=gone)
            changed = service.store.change(job.id, step)
            if changed:
                service.tidy(job.id, changed)


def _without_worker(
    record: Record, now: float, facts: dict[str, Any] | None, gone: Callable[[Record], bool]
) -> Record | None:
    """Done, if its worker had finished all but saying so."""
    if not gone(record):
        return None
    return ended(record, "done", now, **facts) if facts and not record.stop else lost(record, now)


def clean(service: Service, now: float) -> None:
    """What the clock decides: leases that ran out, results that were kept long enough, workers gone silent."""
    take_back(service, lambda job: job.lease is not None and job.lease < now, now)
    for job in service.store.finished_before(now - service.options.limits.keep_seconds):
        service.remove(job)
    for worker in service.store.workers():
        if now - worker.seen > WORKER_SILENCE:
            service.store.dismiss(worker.id)


def sweep(service: Service, now: float) -> None:
    """Delete folders that no job knows, which are uploads that a crash cut off, and what ended jobs need no more."""
    for folder in service.options.jobs.iterdir():
        record = service.store.get(folder.name)
        if record is not None:
            service.tidy(folder.name, record)
        elif now - folder.stat().st_mtime > _STRAY:
            shutil.rmtree(folder, ignore_errors=True)


def _release_jobs(service: Service, worker: str) -> None:
    """What a worker had when the service ended is as it was before."""
    try:
        for job in service.store.running():
            if job.worker == worker:
                service.store.change(job.id, lambda record: released(record) if record.worker == worker else None)
        service.store.dismiss(worker)
    except Exception:  # the jobs are taken back at the next start then
        LOG.exception("the end of %s", worker)
