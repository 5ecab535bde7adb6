"""Draw the batches of each step, ahead of time in other processes if wanted.

A batch is a function of the run's seed, the step and its number in the step alone. So it makes no difference who draws
it and when, and a resumed run needs no stored random state.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Drawn = TypeVar("Drawn", bound=tuple[Any, ...])
Random = tuple[np.random.Generator, int]
"""Generator for draws on the host, and seed of draws on the device."""


class Prefetched(ABC):
    """A stage whose batches are drawn without its networks, so that other processes can do it."""

    def turn(self, number: int) -> None:
        """Told before a batch is drawn which one of the run it is, for stages whose clips come in turn."""
        return

    @abstractmethod
    def draw(self, rng: np.random.Generator, batch: int) -> Any:
        """Return a batch on the host: a NamedTuple of tensors and plain values."""

    @abstractmethod
    def loss_of(self, drawn: Any, generator: torch.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Return the loss and figures of a batch that may still be on the host."""

    def loss(
        self, rng: np.random.Generator, generator: torch.Generator, batch: int
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Both at once, as the loop asks for it."""
        return self.loss_of(self.draw(rng, batch), generator)


def batch_random(seed: int, step: int, number: int, echo: int = 1) -> Random:
    """Return the randomness of one batch. echo: so many steps see the same one, but for what is drawn on the device."""
    first = step // echo
    rng = np.random.default_rng([seed, first, number] if number else [seed, first])
    return rng, int(rng.integers(2**62)) + step % echo


def moved(drawn: Drawn, device: torch.device) -> Drawn:
    """Return a NamedTuple with its tensors on the device."""
    return type(drawn)(*(x.to(device, non_blocking=True) if isinstance(x, Tensor) else x for x in drawn))


@dataclass(frozen=True)
class Order:
    """Order of a run's batches from some step on; numbers: of each step's batches, this process's own."""

    seed: int
    batch: int
    accumulate: int
    echo: int
    steps: range
    numbers: Sequence[int]


def begin_batch(stage: Any, seed: int, accumulate: int, step: int, number: int, echo: int = 1) -> Random:
    """Tell a stage that draws ahead which batch of the run comes now; -> its randomness."""
    if isinstance(stage, Prefetched):
        stage.turn(step // echo * accumulate + number)
    return batch_random(seed, step, number, echo)


class _Places(Dataset[tuple[int, Any]]):
    """All batches in their order, each once."""

    def __init__(self, stage: Prefetched, order: Order) -> None:
        self._stage, self._order = stage, order

    def __len__(self) -> int:
        steps, echo = self._order.steps, self._order.echo
        return len(range(steps.start // echo, -(-steps.stop // echo))) * len(self._order.numbers)

    def __getitem__(self, place: int) -> tuple[int, Any]:
        order = self._order
        group, index = divmod(place, len(order.numbers))
        group, number = order.steps.start // order.echo + group, order.numbers[index]
        rng, seed = begin_batch(self._stage, order.seed, order.accumulate, group, number)
        return seed, self._stage.draw(rng, order.batch)


def prefetch(stage: Prefetched, order: Order, workers: int, device: torch.device) -> Iterator[tuple[int, Any]]:
    """(seed for the device, batch) of each step's numbers in order, drawn by `workers` processes."""
    drawn = iter(loaded_by(workers, _Places(stage, order), pinned=device.type == "cuda"))
    held: list[tuple[int, Any]] = []
    for step in order.steps:
        if not held or step % order.echo == 0:
            held = [next(drawn) for _ in order.numbers]
        yield from ((seed + step % order.echo, batch) for seed, batch in held)


def loaded_by(workers: int, items: Dataset[Any], pinned: bool = False) -> DataLoader[Any]:
    """Return single items in their order, made by so many processes ahead of time, or by this one.

    They are forked: they share the data sets that are mapped into memory, and never touch the device. There are no
    more of them than this process may use cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return DataLoader(
        items, batch_size=None, num_workers=min(workers, cores), pin_memory=pinned, worker_init_fn=_one_thread,
        multiprocessing_context="fork" if workers else None,
    )  # fmt: skip


def _one_thread(worker: int) -> None:
    """The processes share the machine's cores already."""
    torch.set_num_threads(1)
