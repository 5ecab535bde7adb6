"""Figures for Prometheus: requests by route, jobs by state, how long they wait and take, why they fail, workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from magicanimate.batch.worker import Failure, Outcome
from magicanimate.serve.clock import now
from magicanimate.serve.job_states import Record
from magicanimate.serve.service import Service

_WAITING = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
_FRAME = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class Metrics:
    """One registry per service, so that several can live in one process."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        labels = ["method", "route"]
        self.requests = Counter(
            "magicanimate_requests", "Requests answered.", [*labels, "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "magicanimate_request_seconds", "Until the answer begins.", labels, registry=self._registry
        )
        self.waiting = Histogram(
            "magicanimate_waiting_seconds", "From submission to the first attempt.", buckets=_WAITING,
            registry=self._registry,
        )  # fmt: skip
        self.frame_seconds = Histogram(
            "magicanimate_frame_seconds", "Computing time of a finished job by its frames.", buckets=_FRAME,
            registry=self._registry,
        )  # fmt: skip
        self.failures = Counter("magicanimate_failures", "Jobs that failed.", ["kind"], registry=self._registry)
        for kind in get_args(Failure)[1:]:
            self.failures.labels(kind)
        self._registry.register(_Jobs(service))

    def job_begun(self, job: Record) -> None:
        """A worker has taken a job."""
        if job.attempts == 1:
            self.waiting.observe(max(0.0, now() - job.created))

    def job_ended(self, job: Record, outcome: Outcome | None) -> None:
        """A job has taken its last step; `outcome` is what its worker said, if it said anything."""
        if job.state == "failed":
            self.failures.labels(job.failure).inc()
        if job.state == "done" and outcome and outcome.frames:
            self.frame_seconds.observe(outcome.seconds / outcome.frames)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def counting(self, app: ASGIApp) -> Callable[[Scope, Receive, Send], Any]:
        """Return ASGI middleware that counts. Routes go by their pattern, so that no id becomes a label."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            started = time.perf_counter()

            async def sent(message: Message) -> None:
                if message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", "other")
                    self.requests.labels(scope["method"], route, message["status"]).inc()
                    self.seconds.labels(scope["method"], route).observe(time.perf_counter() - started)
                await send(message)

            return await app(scope, receive, sent)

        return counted


class _Jobs(Collector):
    """Read when asked."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("magicanimate_jobs", "Jobs that are known.", labels=["state"])
        for state, count in self._service.store.counts().items():
            jobs.add_metric([state], count)
        yield jobs
        workers = GaugeMetricFamily("magicanimate_workers", "Workers that are alive.", labels=["state"])
        states: list[str] = [worker.state for worker in self._service.workers()]
        for state in ("loading", "ready", "busy"):
            workers.add_metric([state], states.count(state))
        yield workers

    def describe(self) -> list[GaugeMetricFamily]:
        return []
