"""Training in several processes: joined through accelerate, one gradient for all."""

import os
from collections.abc import Iterator
from datetime import timedelta

import torch
from torch import Tensor, nn

from magicanimate.engine.device import select_device
from magicanimate.engine.ranks import Ranks
from magicanimate.errors import InputError


def sum_gradients(ranks: Ranks, weights: list[nn.Parameter], loss: Tensor) -> Tensor:
    """Give every weight the sum of all processes' gradients, zero where no sample reached it. -> the sum of losses.

    Every step's batches are sharded, so that the sum does not depend on the number of processes.
    Raises InputError if another process has failed.
    """
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    if ranks.size == 1:
        return loss
    ranks.barrier()
    for bucket in buckets([weight.grad for weight in weights if weight.grad is not None]):
        total = _sum(torch.cat([gradient.flatten() for gradient in bucket]))
        for gradient, part in zip(bucket, total.split([g.numel() for g in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))
    return _sum(loss.view(1))[0]


def _sum(flat: Tensor) -> Tensor:
    from accelerate.utils import reduce

    try:
        return reduce(flat, "sum")
    except RuntimeError as error:
        raise InputError(
            "Another training process ended without a word, killed or out of memory; start all of them again."
        ) from error


def buckets(tensors: list[Tensor], most: int = 2**25) -> Iterator[list[Tensor]]:
    """Neighbors whose elements together are about `most`: few messages, and no second copy of all gradients."""
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


def join_processes(device: str) -> tuple[Ranks, torch.device]:
    """Join the processes that torchrun or `accelerate launch` started; -> they, and this one's device.

    Raises InputError if accelerate is not installed.
    """
    chosen = select_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return Ranks(), chosen
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise InputError(
            "Training in several processes needs accelerate: pip install 'magicanimate[train]'."
        ) from error
    # The first process may encode a data set or draw samples for an hour while the others wait.
    state = PartialState(cpu=chosen.type == "cpu", timeout=timedelta(days=7))
    ranks = Ranks(state.process_index, state.num_processes)
    return ranks, ranks.device(device)
