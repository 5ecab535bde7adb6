"""The processes that share one job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from magicanimate.engine.device import select_device
from magicanimate.errors import InputError


@dataclass
class Ranks:
    """The processes that share one job, started by torchrun; by default this one alone.

    What they exchange rests on the host, so they talk through gloo whatever they compute on.
    """

    rank: int = 0
    size: int = 1
    _broken: bool = field(default=False, init=False, repr=False)

    @classmethod
    def from_environment(cls) -> Ranks:
        """Join the processes that torchrun started; without torchrun this one alone."""
        size = int(os.environ.get("WORLD_SIZE", 1))
        if size == 1:
            return cls()
        # A process can be busy with its share for hours before it meets the others; a dead one is noticed at once.
        dist.init_process_group("gloo", timeout=timedelta(days=7))
        return cls(dist.get_rank(), size)

    @property
    def first(self) -> bool:
        """True in the process that prints and writes."""
        return self.rank == 0

    def device(self, name: str = "auto") -> torch.device:
        """Select a device by name; processes on one machine take its CUDA devices in turn."""
        device = select_device(name)
        if self.size == 1 or device.type != "cuda" or device.index is not None:
            return device
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())

    def shard(self, count: int, rank: int | None = None) -> range:
        """Return the contiguous share of `count` items of a process, at most one longer than the others."""
        rank = self.rank if rank is None else rank
        each, more = divmod(count, self.size)
        start = rank * each + min(rank, more)
        return range(start, start + each + (rank < more))

    def barrier(self) -> None:
        """Wait until all processes are here. Raises InputError if one of them has failed or is gone."""
        if self.size > 1:
            self._exchange(None)

    def ordered_all_gather(self, own: Iterable[Tensor], count: int) -> Iterator[Tensor]:
        """Yield all of `count` tensors of one shape, in order, of which every process gives its `shard`.

        Alone they pass through as they are made.
        """
        if self.size == 1:
            yield from own
            return
        mine = list(own)
        self.barrier()
        for rank in range(self.size):
            for position in range(len(self.shard(count, rank))):
                tensor = mine[position] if rank == self.rank else torch.empty_like(mine[0])
                with self._explained():
                    dist.broadcast(tensor, rank)
                yield tensor

    def gather(self, item: Any) -> list[Any]:
        """Gather every process's item, by rank, on the first process; an empty list on the others."""
        if self.size == 1:
            return [item]
        self.barrier()
        gathered: list[Any] | None = [None] * self.size if self.first else None
        with self._explained():
            dist.gather_object(item, gathered)
        return gathered or []

    def all_gather(self, item: Any) -> list[Any]:
        """Gather every process's item, by rank, on all processes."""
        return self.broadcast(self.gather(item))

    def broadcast(self, item: Any) -> Any:
        """Broadcast the first process's item to all."""
        if self.size == 1:
            return item
        self.barrier()
        held = [item]
        with self._explained():
            dist.broadcast_object_list(held)
        return held[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make a failure in the block of one process fail all of them, with the same sentence."""
        if self.size == 1:
            yield
            return
        try:
            yield
            self.barrier()
        except Exception as error:
            if not self._broken:
                sentence = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                self._exchange(f"Process {self.rank + 1} of {self.size}: {sentence}")
            raise
        finally:
            dist.destroy_process_group()

    def _exchange(self, failure: str | None) -> None:
        """Tell the others how it goes; raise what the first failed process tells, unless it is this one."""
        told: list[str | None] = [None] * self.size
        with self._explained():
            dist.all_gather_object(told, failure)
        failures = [sentence for sentence in told if sentence]
        if failures:
            self._broken = True
            if failure is None:
                raise InputError(failures[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            self._broken = True
            raise InputError(
                "Another process of this job ended without a word, killed or out of memory; start all of them again."
            ) from error
