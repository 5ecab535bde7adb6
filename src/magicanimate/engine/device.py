"""Device, number format, memory and processes: the only file that knows what machine this is."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from magicanimate.errors import InputError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def select_device(name: str = "auto") -> torch.device:
    """The device to compute on; "auto" takes CUDA, then Apple's MPS, then the CPU. InputError if it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"Unknown device {name!r}: choose auto, cpu, cuda, cuda:0 or mps.") from error
    there = {
        "cpu": lambda: True,
        "cuda": lambda: (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }.get(device.type)
    if there is None or not there():
        raise InputError(f"The device {name} is not available on this machine: choose auto or cpu.")
    return device


def select_dtype(name: str = "auto", device: torch.device | None = None) -> torch.dtype:
    """The networks' number format; "auto" is float16 on CUDA and float32 elsewhere."""
    if name == "auto":
        return torch.float16 if device is not None and device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise InputError(f"Unknown number format {name!r}: choose auto, {', '.join(DTYPES)}.")
    return DTYPES[name]


def fast_on_cpu(dtype: torch.dtype) -> bool:
    """Whether this CPU has convolutions and matrix products in a number format; else torch's are 5 to 100 times slower
    than those in float32."""
    if dtype == torch.float32:
        return True
    supported = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return torch.backends.mkldnn.is_available() and supported[dtype]()


def to_device(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A tensor on a device; from the host to a GPU through pinned memory, so that nobody waits for the copy."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.to(dtype).pin_memory().to(device, non_blocking=True)
    return x.to(device, dtype)


def begin_window(device: torch.device) -> None:
    """Tell CUDA graphs that nothing of what they returned before is needed any more.

    Without any, the call itself would load the compiler, which takes seconds.
    """
    if device.type == "cuda" and "torch._inductor.cudagraph_trees" in sys.modules:
        torch.compiler.cudagraph_mark_step_begin()


def peak_memory(device: torch.device | None = None) -> int:
    """The most bytes used so far: on a CUDA device its allocator's, else this process's resident memory."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


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
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def device(self, name: str = "auto") -> torch.device:
        """As `select_device`; processes on one machine take its CUDA devices in turn."""
        device = select_device(name)
        if self.size == 1 or device.type != "cuda" or device.index is not None:
            return device
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())

    def share(self, count: int, rank: int | None = None) -> range:
        """Which of `count` things in order a process does: a run of neighbours, as long as the others' or one more."""
        rank = self.rank if rank is None else rank
        each, more = divmod(count, self.size)
        start = rank * each + min(rank, more)
        return range(start, start + each + (rank < more))

    def meet(self) -> None:
        """Wait until all processes are here. Raises InputError if one of them has failed or is gone."""
        if self.size > 1:
            self._exchange(None)

    def in_order(self, own: Iterable[Tensor], count: int) -> Iterator[Tensor]:
        """All of `count` tensors of one shape, in order, of which every process gives its `share`.

        Alone they pass through as they are made.
        """
        if self.size == 1:
            yield from own
            return
        mine = list(own)
        self.meet()
        for rank in range(self.size):
            for position in range(len(self.share(count, rank))):
                tensor = mine[position] if rank == self.rank else torch.empty_like(mine[0])
                with self._explained():
                    dist.broadcast(tensor, rank)
                yield tensor

    def to_first(self, item: Any) -> list[Any]:
        """What every process gives, by rank, on the first one; nothing on the others."""
        if self.size == 1:
            return [item]
        self.meet()
        gathered: list[Any] | None = [None] * self.size if self.first else None
        with self._explained():
            dist.gather_object(item, gathered)
        return gathered or []

    def of_first(self, item: Any) -> Any:
        """What the first process gives, on all of them."""
        if self.size == 1:
            return item
        self.meet()
        held = [item]
        with self._explained():
            dist.broadcast_object_list(held)
        return held[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """If a process fails in the block, it fails on all of them, with the same sentence."""
        if self.size == 1:
            yield
            return
        try:
            yield
            self.meet()
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
