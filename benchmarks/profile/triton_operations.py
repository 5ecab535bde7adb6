"""Compare the Triton kernels with plain torch, one by one; a part of benchmarks/gpu.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from benchmarks.sized_models import SIZES
from torch import Tensor

from magicanimate.engine import operations

if TYPE_CHECKING:
    from benchmarks.gpu import Bench

FRAMES = 16


def kernels(bench: Bench) -> dict[str, Any]:
    """Compare each operation's kernel with plain torch: relative error against float32, and microseconds."""
    side, rows = bench.chosen.size // 8, FRAMES
    results = {}

    def each(work: Callable[..., Tensor], inputs: list[Tensor]) -> float:
        return bench.seconds(lambda: [work(*inputs) for _ in range(10)], 3) / 10

    for name, work, inputs in operation_cases(bench, rows, side, SIZES[bench.chosen.model][0][0]):
        exact, made = work(*(x.float() for x in inputs)), work(*inputs)
        spent, by_kernel = each(work, inputs), operations.takes_kernel
        operations.takes_kernel = lambda x: False  # the same in plain torch
        try:
            plain = each(work, inputs)
        finally:
            operations.takes_kernel = by_kernel
        results[name] = {
            "error": relative(made, exact), "control": relative(made.roll(1, -1), exact),
            "us": spent * 1e6, "plain_us": plain * 1e6,
        }  # fmt: skip
    return results


def operation_cases(bench: Bench, rows: int, side: int, channels: int) -> list[tuple[str, Callable[..., Tensor], Any]]:
    """Return the operations with inputs of the widest maps of the denoiser and of the decoder."""
    groups = SIZES[bench.chosen.model][4]

    def maps(n: int, c: int, h: int) -> Tensor:
        return torch.randn(n, c, h, h, device=bench.device, dtype=bench.dtype).to(memory_format=torch.channels_last)

    def vector(*shape: int) -> Tensor:
        return torch.randn(shape, device=bench.device, dtype=bench.dtype)

    def norm(x: Tensor, w: Tensor, b: Tensor, shift: Tensor) -> Tensor:
        return operations.group_norm(x, groups, w, b, 1e-5, frames=len(x), shift=shift, silu=True)

    def entrance(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return operations.group_norm(x, groups, w, b, 1e-6, frames=len(x), by_position=True)

    def few(*qkv: Tensor) -> Tensor:
        return operations.short_attention(*(x.unflatten(2, (8, -1)).transpose(1, 2) for x in qkv))

    def after(x: Tensor, y: Tensor, w: Tensor, b: Tensor, places: Tensor) -> Tensor:
        return operations.add_norm(x, y, w, b, 1e-5, places)[1]

    c, decoded = channels, maps(1, channels * 2 // 5 // groups * groups or groups, bench.chosen.size)
    affine = vector(c), vector(c)
    narrow = vector(decoded.shape[1]), vector(decoded.shape[1])
    return [
        ("group_norm window", norm, [maps(rows, c, side), *affine, vector(rows, c)]),
        ("group_norm decoder", norm, [decoded, *narrow, vector(1, decoded.shape[1])]),
        ("group_norm entrance", entrance, [maps(rows, c, side), *affine]),
        ("gated_gelu", operations.gated_gelu, [vector(rows, side * side, 8 * c)]),
        ("add_biased", operations.add_biased, [maps(rows, c, side), maps(rows, c, side), vector(c)]),
        ("add_norm", after, [vector(side * side, rows, c), vector(side * side, rows, c), *affine, vector(rows, c)]),
        ("short_attention", few, [vector(side * side, rows, c) for _ in range(3)]),
    ]


def relative(made: Tensor, exact: Tensor) -> float:
    """Return ||made - exact|| / ||exact||."""
    exact = exact.float()
    return float((made.float() - exact).norm() / exact.norm())
