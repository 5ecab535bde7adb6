"""Gives jobs to workers and records what becomes of them, in threads of the server, which alone writes the record."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from magicanimate.animation.settings import ModelOptions
from magicanimate.batch.crew import Crew, Worker
from magicanimate.batch.on_ray import RayCluster, RayWorker
from magicanimate.batch.worker import Outcome, Status, Task
from magicanimate.errors import DISK_FULL, InputError, why_not_written
from magicanimate.serve.backend import WorkerState
from magicanimate.serve.clock import now
from magicanimate.serve.job_files import make_task, remembered, results, tidy
from magicanimate.serve.job_states import Record, ended, lost, released
from magicanimate.serve.local_worker import LocalWorker
from magicanimate.serve.metrics import Metrics
from magicanimate.serve.service import Service

LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")
Step = Callable[[Record, float], Record]
_LOOK = 0.2  # seconds
_CLEAN, _SWEEP = 5.0, 600.0
_SENTENCES = {
    "fault": "The service failed on this job; its log says why.",
    "disk": "The disk of the service is full; try again later.",
}


class Dispatcher(Crew):
    """Start it with `start`, end it with `stop`."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        super().__init__()
        self._service, self._options, self._metrics = service, service.options, metrics
        self._turn = threading.Lock()
        self._cluster: RayCluster | None = None
        self._employed = 0

    def start(self) -> None:
        self.spawn(self._keep_house)

    def stop(self) -> None:
        """End the workers; their jobs are then as they were before."""
        self.end()
        if self._cluster:
            self._cluster.close()

    def take(self, worker: Worker) -> Task:
        self._show(worker, "ready")
        with self._turn:  # one of those who wait looks, and the others do not disturb anybody
            while True:
                self.go_on()
                worker.check()
                job = self._patiently(lambda: self._service.store.claim(worker.name, now()))
                if job:
                    break
                self.ending.wait(_LOOK)
        LOG.info("job %s begins, attempt %d", job.id, job.attempts)
        self._metrics.job_begun(job)
        self._show(worker, "busy")
        return make_task(job, self._service.folder(job.id), self._options.limits)

    def follow(self, task: Task, status: Status | None) -> bool:
        if status:
            self._service.progress[task.key] = status
        job = self._service.store.get(task.key)
        return job is None or job.stop or job.pause

    def ended(self, task: Task, outcome: Outcome) -> None:
        def step(job: Record) -> Record | None:
            if job.state != "running":
                return None
            if outcome.failure == "stopped":
                return released(job, now()) if job.pause else ended(job, "cancelled", now())
            if outcome.error is None:
                return ended(job, "done", now(), **results(job, task, outcome))
            sentence = _SENTENCES.get(outcome.failure or "", outcome.error)
            return ended(job, "failed", now(), error=sentence, failure=outcome.failure)

        if outcome.failure == "fault":
            LOG.error("job %s: %s", task.key, outcome.error)
        self._record(task.key, step, outcome)

    def lost(self, task: Task) -> None:
        self.take_back([task.key], released if self.ending.is_set() else lost)

    def start_worker(self, worker: Worker) -> None:
        self._show(worker, "loading")
        try:
            super().start_worker(worker)
        except BaseException:
            self._service.crew.pop(worker, None)
            raise

    def no_worker(self, worker: Worker, error: Exception) -> None:
        LOG.error("no worker: %s", error)

    def take_back(self, jobs: Iterable[str], step: Step) -> None:
        """Let running jobs whose worker is gone take a step, or be done where it had finished all but saying so."""
        for key in list(jobs):
            LOG.warning("job %s lost its worker", key)
            self._record(key, partial(self._without_worker, step=step), None)

    def _without_worker(self, job: Record, step: Step) -> Record | None:
        if job.state != "running":
            return None
        task = make_task(job, self._service.folder(job.id), self._options.limits)
        if not job.stop and (outcome := remembered(task)):
            return ended(job, "done", now(), **results(job, task, outcome))
        return step(job, now())

    def remove_old(self) -> None:
        """Forget jobs that were kept long enough."""
        for job in self._service.store.finished_before(now() - self._options.limits.keep_seconds):
            self._service.remove(job)

    def sweep(self) -> None:
        """Delete folders that no job knows, uploads that a crash cut off, and what ended jobs need no more."""
        for folder in self._options.jobs.iterdir():
            if folder.name not in self._service.arriving:
                tidy(folder, self._service.store.get(folder.name))

    def _keep_house(self) -> None:
        # What runs elsewhere is not to blame for the end of this process.
        step = released if self._options.ray else lost
        self._patiently(lambda: self.take_back([job.id for job in self._service.store.running()], step))
        if not self._options.ray:
            for device in self._options.devices:
                self._add(LocalWorker(ModelOptions(model=self._service.models()[0], device=device)))
        swept = 0.0
        while not self.ending.is_set():
            try:
                self._grow()
                self.remove_old()
                if not swept or time.monotonic() - swept > _SWEEP:
                    self.sweep()
                    swept = time.monotonic()
            except InputError as error:
                LOG.error("%s", error)
            except Exception:  # a full disk passes, and then somebody must be here
                LOG.exception("housekeeping")
            self.ending.wait(_CLEAN)

    def _grow(self) -> None:
        """Add a worker for each actor that the cluster has room for."""
        if self._options.ray:
            if self._cluster is None:
                model = ModelOptions(model=self._service.models()[0])
                self._cluster = RayCluster(model, self._options.ray, self._options.workers)
            for _ in range(self._cluster.room()[0] - self._employed):
                self._add(RayWorker(self._cluster))

    def _add(self, worker: Worker) -> None:
        self._employed += 1
        self.spawn(self.employ, worker)

    def _show(self, worker: Worker, state: Any) -> None:
        self._service.crew[worker] = WorkerState(id=worker.name, state=state)

    def _record(self, key: str, step: Callable[[Record], Record | None], outcome: Outcome | None) -> None:
        """Take a step of a job that has no worker any more."""
        record = self._patiently(lambda: self._service.store.change(key, step))
        LOG.info("job %s is %s", key, record.state if record else "not ours any more")
        self._service.progress.pop(key, None)
        if record:
            self._metrics.job_ended(record, outcome)
        tidy(self._service.folder(key), record or self._service.store.get(key))

    def _patiently(self, action: Callable[[], Answer]) -> Answer:
        """Try again while the disk is full."""
        while True:
            try:
                return action()
            except OSError as error:
                if error.errno not in DISK_FULL or self.ending.is_set():
                    raise
                LOG.error("the store cannot be written: %s", why_not_written(error))
                self.ending.wait(10 * _LOOK)
