"""The processes that train together: joined through accelerate, one gradient, the same sentence when one fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from magicanimate.engine.device import Ranks, select_device
from magicanimate.errors import InputError


@dataclass(frozen=True)
class Processes:
    """By default this one alone. Every step's batches are shared out, so that their sum does not depend on `size`."""

    ranks: Ranks = field(default_factory=Ranks)

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.ranks.first

    def share(self, batches: int) -> range:
        """Which of a step's batches are this process's own."""
        return self.ranks.share(batches)

    def sum_gradients(self, weights: list[nn.Parameter], loss: Tensor) -> Tensor:
        """Give every weight the sum of all processes' gradients, zero where no sample reached it. -> the sum of losses.

        Raises InputError if another process has failed.
        """
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        if self.ranks.size == 1:
            return loss
        self.ranks.meet()
        for bucket in buckets([weight.grad for weight in weights if weight.grad is not None]):
            total = self._sum(torch.cat([gradient.flatten() for gradient in bucket]))
            for gradient, part in zip(bucket, total.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))
        return self._sum(loss.view(1))[0]

    def gathered(self, item: Any) -> list[Any]:
        """What every process gives, by rank, on all of them."""
        return self.ranks.of_first(self.ranks.to_first(item))

    def of_first(self, item: Any) -> Any:
        """What the first process gives, on all of them."""
        return self.ranks.of_first(item)

    def meet(self) -> None:
        """Wait for all. Raises InputError if one has failed."""
        self.ranks.meet()

    @contextmanager
    def together(self) -> Iterator[None]:
        """If a process fails in the block, all do, with the same sentence."""
        with self.ranks.together():
            yield

    def _sum(self, flat: Tensor) -> Tensor:
        from accelerate.utils import reduce

        try:
            return reduce(flat, "sum")
        except RuntimeError as error:
            raise InputError(
                "Another training process ended without a word, killed or out of memory; start all of them again."
            ) from error


def buckets(tensors: list[Tensor], most: int = 2**25) -> Iterator[list[Tensor]]:
    """Neighbours whose elements together are about `most`: few messages, and no second copy of all gradients."""
    bucket: list[Tensor] = []
    held = 0
    for tensor in tensors:
        bucket.append(tensor)
        held += tensor.numel()
        if held >= most:
            yield bucket
            bucket, held = [], 0
    if bucket:
        yield bucket


def join_processes(device: str) -> tuple[Processes, torch.device]:
    """Join the processes that torchrun or `accelerate launch` started; -> they, and this one's device.

    Raises InputError if accelerate is not installed.
    """
    chosen = select_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return Processes(), chosen
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise InputError(
            "Training in several processes needs accelerate: pip install 'magicanimate[train]'."
        ) from error
    # The first process may encode a data set or draw samples for an hour while the others wait.
    state = PartialState(cpu=chosen.type == "cpu", timeout=timedelta(days=7))
    ranks = Ranks(state.process_index, state.num_processes)
    return Processes(ranks), ranks.device(device)
