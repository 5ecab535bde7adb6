"""Measure a guided step without its convolutions, matrix products, and attention: engine and plain twin.

    OMP_NUM_THREADS=1 python benchmarks/profile/non_gemm_time.py --size 256 --frames 16 --dtype bfloat16

Those three are not computed: memory of the result's shape takes their place. So a CPU without 16-bit arithmetic can
tell what everything else costs in 16 bit, and any CPU can in seconds. Times are of the operations alone, without
Python's; the second of two turns is printed. `pages` are those that the process got new, whoever asked for them.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import torch  # noqa: E402
from benchmarks.sized_models import SIZES, sized_model  # noqa: E402
from benchmarks.speed import denoising, on_the_same_weights, plain_denoising  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from magicanimate.engine.acceleration import arrange_networks  # noqa: E402
from magicanimate.engine.device import DTYPES  # noqa: E402
from magicanimate.sampling.settings import SampleSettings  # noqa: E402

LIKE = 0.5
"""Value of results that are not computed: as they might be, neither zero nor too small to be normal."""
LARGEST = 6
"""Operations that are printed by name."""


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    """Measure and print one line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="official", choices=list(SIZES))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--dtype", default="float32", choices=list(DTYPES))
    chosen = parser.parse_args(arguments)
    model, settings = sized_model(chosen.model, dtype=DTYPES[chosen.dtype]), SampleSettings(steps=1, guidance=7.5)
    twin = on_the_same_weights(model)
    arrange_networks(model, model.device, fuse=True)  # as `accelerate_model` does, but for packed weights
    works = {
        "engine": denoising(model, chosen.size, chosen.frames, settings),
        "twin": plain_denoising(twin, chosen.size, chosen.frames, settings),
    }
    for turn in range(2):
        for name, work in works.items():
            with work.around():
                spent, pages = spent_beside_products(work.run)
            if turn:
                largest = {key: round(seconds, 3) for key, seconds in spent.most_common(LARGEST)}
                total = round(sum(spent.values()), 3)
                print(json.dumps({"of": name, "seconds": total, "pages": pages, **largest}), flush=True)


def spent_beside_products(work: Callable[[], Any]) -> tuple[Counter[str], int]:
    """Processor seconds by operation, and new pages of memory."""
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with BesideProducts() as mode:
        work()
    return mode.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - pages


class BesideProducts(TorchDispatchMode):
    """Leaves out convolutions, matrix products and attention, and times everything else."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if name in STAND_INS:
            return STAND_INS[name](*args)
        begun = time.thread_time()
        result = func(*args, **(kwargs or {}))
        self.seconds[name] += time.thread_time() - begun
        return result


def like_convolution(x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, *unused: Any) -> Tensor:
    """oneDNN's result has the memory format of either argument."""
    last = any(z.is_contiguous(memory_format=torch.channels_last) and not z.is_contiguous() for z in (x, weight))
    sides = (
        (side + 2 * pad - kernel) // step + 1
        for side, pad, kernel, step in zip(x.shape[2:], padding, weight.shape[2:], stride, strict=True)
    )
    shape = (x.shape[0], weight.shape[0], *sides)
    return made(x, shape, torch.channels_last if last else torch.contiguous_format)


def like_product(*args: Any) -> Tensor:
    """The last two arguments are the factors, rows of one and columns of the other."""
    left, right = [x for x in args if isinstance(x, Tensor)][-2:]
    return made(left, (*left.shape[:-1], right.shape[-1]))


def like_attention(query: Tensor, key: Tensor, value: Tensor, *unused: Any, **unused_too: Any) -> tuple[Tensor, Tensor]:
    """Laid out by tokens, then heads."""
    rows, heads, tokens, width = query.shape
    return made(query, (rows, tokens, heads, width)).transpose(1, 2), query.new_empty(rows, heads, tokens)


def made(x: Tensor, shape: tuple[int, ...], memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    """A result that has been written, as a real one."""
    return torch.empty(shape, dtype=x.dtype, memory_format=memory_format).fill_(LIKE)


STAND_INS: dict[str, Callable[..., Any]] = {
    "convolution": like_convolution, "mm": like_product, "addmm": like_product,
    "_scaled_dot_product_flash_attention_for_cpu": like_attention,
}  # fmt: skip


if __name__ == "__main__":
    main()
