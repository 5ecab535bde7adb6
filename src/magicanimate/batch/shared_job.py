"""One video on several machines: actors on Ray that share its windows as the processes of torchrun do."""

from __future__ import annotations

import os
import socket
from typing import Any

from magicanimate.animation.settings import ModelOptions
from magicanimate.batch.crew import WorkerGone
from magicanimate.batch.on_ray import RayCluster, delivered, explained
from magicanimate.batch.worker import Animator, Outcome, Task, carried, succeeded
from magicanimate.errors import InputError
from magicanimate.progress import Progress

_BEAT = 0.2  # seconds between looks at the progress


class RankActor:
    """One process of a job. Every process reads the inputs; the first one writes the video."""

    def __init__(self, options: ModelOptions) -> None:
        self._options = options
        self._animator: Animator | None = None

    def address(self) -> dict[str, str]:
        """Return where the other processes find this one, as environment variables of torch.distributed."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return {"MASTER_ADDR": ray.util.get_node_ip_address(), "MASTER_PORT": str(free.getsockname()[1])}

    def animate(self, task: Task, rank: int, size: int, address: dict[str, str]) -> Outcome:
        """Join the other processes, then compute this one's share. The first process's outcome has the video."""
        from magicanimate.engine.ranks import Ranks

        os.environ.update(address, RANK=str(rank), WORLD_SIZE=str(size))
        ranks = Ranks.from_environment()
        with ranks.together():
            self._animator = Animator(self._options, ranks)
            return succeeded(self._animator.animate(task))

    def report(self, key: str) -> Any:
        """Return the job's `Status`, None before it has one."""
        return self._animator and self._animator.report(key)


def animate_on_ray(cluster: RayCluster, task: Task, progress: Progress) -> Outcome:
    """Animate one task with all actors of a cluster at once; inputs and video travel through Ray.

    Raises:
        InputError: anything wrong with the inputs; too few CPUs or GPUs for so many actors; an actor died.
    """
    count, resources = cluster.room()
    ray = cluster.ray
    for name, wanted in (("GPU", resources.get("num_gpus", 0)), ("CPU", resources["num_cpus"])):
        if count * wanted > (there := int(ray.cluster_resources().get(name, 0))):
            raise InputError(
                f"{count} workers need {count * wanted} {name}s and the cluster has {there}; ask for fewer."
            )
    try:
        given = ray.put(carried(task))
    except OSError as error:
        raise InputError(f"The inputs cannot be read: {error.strerror or error}.") from error
    actors = [cluster.actor(RankActor, resources) for _ in range(count)]
    try:
        with explained():
            address = ray.get(actors[0].address.remote())
            calls = [actor.animate.remote(given, rank, count, address) for rank, actor in enumerate(actors)]
            waiting = calls
            while waiting:
                done, waiting = ray.wait(waiting, timeout=_BEAT)
                ray.get(done)  # raises what a process raised
                if status := ray.get(actors[0].report.remote(task.key)):
                    progress(*status)
            return succeeded(delivered(task, ray.get(calls[0])))
    except WorkerGone as error:
        raise InputError(f"A worker on Ray failed: {error}; start the job again.") from error
    finally:
        for actor in actors:
            ray.kill(actor)
