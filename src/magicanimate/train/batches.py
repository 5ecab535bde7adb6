"""Which batch a step sees, and batches that other processes draw ahead of the step that needs them.

A batch is a function of the run's seed, the step and its number in the step alone. So it makes no difference who draws
it and when, and a resumed run needs no stored random state.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Drawn = TypeVar("Drawn", bound=tuple[Any, ...])
Random = tuple[np.random.Generator, int]
"""For what is drawn on the host, and the seed of what is drawn on the device."""


class DrawsAhead(ABC):
    """A stage whose batches are drawn without its networks, so that other processes can do it."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, batch: int) -> Any:
        """A batch on the host: a NamedTuple of tensors and plain values."""

    @abstractmethod
    def loss_of(self, drawn: Any, generator: torch.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Loss and figures of a batch that may still be on the host."""

    def loss(
        self, rng: np.random.Generator, generator: torch.Generator, batch: int
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Both at once, as the loop asks for it."""
        return self.loss_of(self.draw(rng, batch), generator)


def batch_random(seed: int, step: int, number: int) -> Random:
    """Randomness of one batch."""
    rng = np.random.default_rng([seed, step, number] if number else [seed, step])
    return rng, int(rng.integers(2**62))


def moved(drawn: Drawn, device: torch.device) -> Drawn:
    """A NamedTuple with its tensors on the device."""
    return type(drawn)(*(x.to(device, non_blocking=True) if isinstance(x, Tensor) else x for x in drawn))


class _Places(Dataset[tuple[int, Any]]):
    """All batches of a run from some step on, by their place."""

    def __init__(
        self, stage: Any, seed: int, batch: int, accumulate: int, steps: range, numbers: Sequence[int]
    ) -> None:
        self._stage, self._seed, self._batch = stage, seed, batch
        self._accumulate, self._steps, self._numbers = accumulate, steps, numbers

    def __len__(self) -> int:
        return len(self._steps) * len(self._numbers)

    def __getitem__(self, place: int) -> tuple[int, Any]:
        step, number = self._steps[place // len(self._numbers)], self._numbers[place % len(self._numbers)]
        if hasattr(self._stage, "turn"):
            self._stage.turn(step * self._accumulate + number)
        rng, seed = batch_random(self._seed, step, number)
        return seed, self._stage.draw(rng, self._batch)


def drawn_ahead(
    stage: DrawsAhead, seed: int, batch: int, accumulate: int, steps: range, numbers: Sequence[int], workers: int,
    device: torch.device,
) -> Iterator[tuple[int, Any]]:  # fmt: skip
    """(seed for the device, batch) of each step's numbers in order, drawn by `workers` processes.

    They are forked: they share the data sets that are mapped into memory, and never touch the device. There are no
    more of them than this process may use cores.
    """
    places = _Places(stage, seed, batch, accumulate, steps, numbers)
    return iter(
        DataLoader(
            places, batch_size=None, num_workers=at_most(workers), multiprocessing_context="fork",
            pin_memory=device.type == "cuda", worker_init_fn=_one_thread,
        )
    )  # fmt: skip


def at_most(workers: int) -> int:
    """So many, or as many as there are cores."""
    return min(workers, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _one_thread(worker: int) -> None:
    """The processes share the machine's cores already."""
    torch.set_num_threads(1)
