"""Jobs on Ray: actors hold the model, each takes the next job when it is free."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from magicanimate.batch.jobs import BatchJob
from magicanimate.batch.worker import Animator, Outcome, WorkerOptions
from magicanimate.errors import InputError

ATTEMPTS = 2


def ray_outcomes(
    jobs: list[BatchJob],
    options: WorkerOptions,
    *,
    address: str | None = None,
    workers: int | None = None,
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    """How the jobs end, in the order in which they do.

    Args:
        jobs: what is to be done.
        options: what the workers share.
        address: of a running cluster; without it one is started on this machine and ended afterwards.
        workers: how many; default: one for each GPU or, without GPUs, for each machine.
        say: told what is worth knowing: that a worker ended and its job is tried again.

    Raises:
        InputError: Ray is missing, the cluster does not answer, or no worker can be started.
    """
    ray = _ray()
    _connect(ray, address)
    try:
        make, count = _actors(ray, options, min(workers or 10**6, len(jobs)))
        waiting = deque((job, 1) for job in jobs)
        actors = [make() for _ in range(count)]
        running: dict[Any, tuple[BatchJob, int, Any]] = {}
        while waiting or running:
            while waiting and actors:
                actor, (job, attempt) = actors.pop(), waiting.popleft()
                running[actor.animate.remote(job)] = (job, attempt, actor)
            (finished,), _ = ray.wait(list(running))
            job, attempt, actor = running.pop(finished)
            outcome = _outcome(ray, finished, job)
            if outcome is None:
                actors.append(make())
                if attempt < ATTEMPTS:
                    say(f"Line {job.line}: its worker ended in the middle of the job, which is tried once more.")
                    waiting.appendleft((job, attempt + 1))
                    continue
                outcome = Outcome(job, "Two workers ended in the middle of this job: killed, or too little memory.")
            else:
                actors.append(actor)
            yield replace(outcome, attempts=attempt)
    finally:
        ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError(
            "Ray is not installed: pip install 'magicanimate[scale]', or add --local to run one job after the other."
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    try:
        own = {} if address else {"include_dashboard": False}
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"at {address}" if address else "on this machine"
        raise InputError(f"No Ray {where}: {error}; check the address, or add --local.") from error


def _actors(ray: Any, options: WorkerOptions, most: int) -> tuple[Callable[[], Any], int]:
    """What starts a worker, and how many there are to be."""
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if options.model.device != "cpu" else 0
    count = max(1, min(most, gpus or len(ray.nodes())))
    each = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": max(1, int(resources.get("CPU", 1)) // count)}
    actor = ray.remote(Animator).options(**each)
    return lambda: actor.remote(options), count


def _outcome(ray: Any, finished: Any, job: BatchJob) -> Outcome | None:
    """What a worker returned; None if it was killed."""
    try:
        return ray.get(finished)
    except ray.exceptions.ActorDiedError as error:
        cause = getattr(error, "cause", None) or error
        if "InputError" in str(cause):  # the model could not be loaded: no worker will ever start
            raise InputError(str(cause).strip().splitlines()[-1].partition("InputError: ")[2]) from error
        return None
    except ray.exceptions.RayActorError:
        return None
    except ray.exceptions.RayTaskError as error:
        return Outcome(job, f"Our fault, please report it: {error.cause!r}")
