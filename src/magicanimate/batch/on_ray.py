"""Workers on Ray: actors that hold the model. Used by `batch` and by the service."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from magicanimate.animation.settings import ModelOptions
from magicanimate.batch.carried import deliver
from magicanimate.batch.crew import Ending, WorkerGone
from magicanimate.batch.worker import Animator, Outcome, Status, Task, carried, failed
from magicanimate.errors import InputError, first_line
from magicanimate.media import check_output

LOG = logging.getLogger(__name__)
_BEAT = 0.5  # seconds between words about a task


class RayCluster:
    """A cluster, which is connected to when it is needed.

    Args:
        options: what the actors load.
        address: of a running cluster, to which inputs and results are carried; without it one is started on this
            machine and ended with `close`.
        workers: how many actors Ray is asked for; default: one for each GPU or, without GPUs, for each machine.

    Raises:
        InputError: Ray is missing.
    """

    def __init__(self, options: ModelOptions, address: str | None = None, workers: int | None = None) -> None:
        self.options, self.address, self._workers = options, address, workers
        self.ray = _ray()
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Connect, or connect again.

        Raises:
            InputError: no cluster answers.
        """
        with self._lock:
            if self.ray.is_initialized():
                return
            own = {} if self.address else {"include_dashboard": False}
            try:
                self.ray.shutdown()  # what is left of a connection that broke
                self.ray.init(address=self.address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                where = f"at {self.address}" if self.address else "on this machine"
                raise InputError(f"No Ray {where}: {first_line(error)}; check the address.") from error

    def close(self) -> None:
        """Disconnect, which ends the actors, and a cluster that was started for them."""
        with self._lock:
            self.ray.shutdown()

    def room(self) -> tuple[int, dict[str, int]]:
        """Count the actors that there should be, and what each of them takes."""
        self.connect()
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
        gpus = sum(int(node.get("GPU", 0)) for node in nodes) if self.options.device != "cpu" else 0
        count = self._workers or gpus or len(cpus)
        if gpus:
            return count, {"num_gpus": 1, "num_cpus": 1}
        return count, {"num_cpus": max(1, min([sum(cpus) // max(1, count), *cpus]))}

    def actor(self, kind: type, resources: dict[str, int]) -> Any:
        """Ask for an actor that loads the model; two calls at once: a task, and a word about it."""
        options = {"max_concurrency": 2, "scheduling_strategy": "SPREAD"} | resources
        return self.ray.remote(kind).options(**options).remote(self.options)


class RayWorker:
    """An actor on a cluster; see `crew.Worker`. Ray starts it where there is room, now or later."""

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster, self._ray = cluster, cluster.ray
        self.name = "on Ray"
        self._actor: Any = None

    def start(self, follow: Callable[[], None]) -> None:
        with explained():
            _, resources = self._cluster.room()
            self._actor = self._cluster.actor(Animator, resources)
            name = self._actor.name.remote()
            while not self._ray.wait([name], timeout=_BEAT)[0]:
                follow()
            self.name = self._ray.get(name)

    def check(self) -> None:
        with explained():
            self._ray.get(self._actor.name.remote())

    def animate(self, task: Task, follow: Callable[[Status | None], bool]) -> Outcome:
        """See `crew.Worker`. Where the cluster has an address, files are carried there and back."""
        try:
            given = carried(task) if self._cluster.address else task
        except OSError as error:
            return failed(task, error)
        with explained():
            call, stop = self._actor.animate.remote(given), False
            while not self._ray.wait([call], timeout=_BEAT)[0]:
                stop = follow(self._ray.get(self._actor.report.remote(task.key, stop)))
            outcome = self._ray.get(call)
        return delivered(task, outcome)

    def close(self) -> None:
        actor, self._actor = self._actor, None
        try:
            if actor is not None:
                self._ray.kill(actor)
        except Exception as error:  # noqa: BLE001, it is gone already, or the cluster is
            LOG.debug("%s: %s", self.name, first_line(error))


@contextmanager
def explained() -> Iterator[None]:
    """Raise WorkerGone for whatever Ray raises; InputError where the model cannot be loaded, now and later."""
    try:
        yield
    except (Ending, InputError):
        raise
    except Exception as error:
        cause = str(getattr(error, "cause", None) or error)
        if "InputError: " in cause:
            raise InputError(cause.strip().splitlines()[-1].partition("InputError: ")[2]) from error
        raise WorkerGone(first_line(error)) from error


def delivered(task: Task, outcome: Outcome) -> Outcome:
    """Write the files that an actor made."""
    try:
        if outcome.made:
            task.out.parent.mkdir(parents=True, exist_ok=True)
            check_output(task.out, task.overwrite, "add --overwrite")
            deliver(outcome.made, task.out.parent)
    except (InputError, OSError) as error:
        return replace(failed(task, error), seconds=outcome.seconds)
    return replace(outcome, made={})


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Seconds that the actors of a killed server keep their places.
    os.environ.setdefault("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "10")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError("Ray is not installed: pip install 'magicanimate[scale]'.") from error
    return ray
