"""Inception v3 as FID uses it: the network of December 2015, ported from TensorFlow.

After Szegedy et al., Rethinking the Inception Architecture (arXiv 1512.00567). Where the port differs from the usual
Inception v3: average pooling inside the blocks does not count the padding, and the very last block pools by maximum.
Names are those of the published file, so blocks are tables of named convolutions.

Shape legend: N pictures, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

FEATURES = 2048
EPSILON = 1e-3


class Spec(NamedTuple):
    """A convolution: output channels, kernel, stride. Padded to the same size if the stride is 1."""

    width: int
    kernel: tuple[int, int]
    stride: int = 1


Step = Spec | tuple[Spec, Spec]  # of a branch; two: side by side on the same input, named a and b

mean_pool = partial(avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
max_pool = partial(max_pool2d, kernel_size=3, stride=1, padding=1)
halving_pool = partial(max_pool2d, kernel_size=3, stride=2)


class Conv(nn.Module):
    """Convolution, batch normalization, ReLU."""

    def __init__(self, channels: int, spec: Spec, pad: bool | None = None) -> None:
        """pad: to the same size; None: where the stride is 1."""
        super().__init__()
        pad = spec.stride == 1 if pad is None else pad
        padding = (spec.kernel[0] // 2, spec.kernel[1] // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(channels, spec.width, spec.kernel, spec.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(spec.width, eps=EPSILON)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x_NCHW)))


class Block(nn.Module):
    """Branches of convolutions side by side, and a pooled branch, all concatenated.

    Args:
        channels: of the input.
        branches: name -> steps. A lone step bears the branch's name, several are numbered from 1.
        pool: of the last branch. pool_width: channels of the convolution after it; 0: there is none.
    """

    def __init__(
        self, channels: int, branches: Mapping[str, tuple[Step, ...]], pool: Callable[[Tensor], Tensor], pool_width: int
    ) -> None:
        super().__init__()
        self.routes: list[list[list[str]]] = []  # per branch, per step: names of the convolutions
        self.pool = pool
        self.width = 0
        for branch, steps in branches.items():
            route, width = [], channels
            for number, step in enumerate(steps, 1):
                name = branch if len(steps) == 1 else f"{branch}_{number}"
                twins = {name: step} if isinstance(step, Spec) else {f"{name}a": step[0], f"{name}b": step[1]}
                for key, spec in twins.items():
                    self.add_module(key, Conv(width, spec))
                route.append(list(twins))
                width = sum(spec.width for spec in twins.values())
            self.routes.append(route)
            self.width += width
        self.branch_pool = Conv(channels, Spec(pool_width, (1, 1))) if pool_width else None
        self.width += pool_width or channels

    def forward(self, x_NCHW: Tensor) -> Tensor:
        outputs = []
        for route in self.routes:
            y = x_NCHW
            for names in route:
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)
            outputs.append(y)
        pooled = self.pool(x_NCHW)
        return torch.cat([*outputs, self.branch_pool(pooled) if self.branch_pool else pooled], 1)


def block_a(channels: int, pool_width: int) -> Block:
    """35x35 pixels."""
    branches: dict[str, tuple[Step, ...]] = {
        "branch1x1": (Spec(64, (1, 1)),),
        "branch5x5": (Spec(48, (1, 1)), Spec(64, (5, 5))),
        "branch3x3dbl": (Spec(64, (1, 1)), Spec(96, (3, 3)), Spec(96, (3, 3))),
    }
    return Block(channels, branches, mean_pool, pool_width)


def block_b(channels: int) -> Block:
    """35x35 to 17x17 pixels."""
    branches: dict[str, tuple[Step, ...]] = {
        "branch3x3": (Spec(384, (3, 3), 2),),
        "branch3x3dbl": (Spec(64, (1, 1)), Spec(96, (3, 3)), Spec(96, (3, 3), 2)),
    }
    return Block(channels, branches, halving_pool, 0)


def block_c(channels: int, inner: int) -> Block:
    """17x17 pixels, kernels of 7 split into a row and a column; inner: channels between them."""
    row, column = Spec(inner, (1, 7)), Spec(inner, (7, 1))
    branches: dict[str, tuple[Step, ...]] = {
        "branch1x1": (Spec(192, (1, 1)),),
        "branch7x7": (Spec(inner, (1, 1)), row, Spec(192, (7, 1))),
        "branch7x7dbl": (Spec(inner, (1, 1)), column, row, column, Spec(192, (1, 7))),
    }
    return Block(channels, branches, mean_pool, 192)


def block_d(channels: int) -> Block:
    """17x17 to 8x8 pixels."""
    branches: dict[str, tuple[Step, ...]] = {
        "branch3x3": (Spec(192, (1, 1)), Spec(320, (3, 3), 2)),
        "branch7x7x3": (Spec(192, (1, 1)), Spec(192, (1, 7)), Spec(192, (7, 1)), Spec(192, (3, 3), 2)),
    }
    return Block(channels, branches, halving_pool, 0)


def block_e(channels: int, pool: Callable[[Tensor], Tensor]) -> Block:
    """8x8 pixels, kernels of 3 as a row and a column side by side."""
    fork = (Spec(384, (1, 3)), Spec(384, (3, 1)))
    branches: dict[str, tuple[Step, ...]] = {
        "branch1x1": (Spec(320, (1, 1)),),
        "branch3x3": (Spec(384, (1, 1)), fork),
        "branch3x3dbl": (Spec(448, (1, 1)), Spec(384, (3, 3)), fork),
    }
    return Block(channels, branches, pool, 192)


class InceptionV3(nn.Module):
    """Pictures [N, 3, 299, 299] in -1..1 -> features [N, 2048], the mean of the last block over its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, Spec(32, (3, 3), 2))
        self.Conv2d_2a_3x3 = Conv(32, Spec(32, (3, 3)), pad=False)
        self.Conv2d_2b_3x3 = Conv(32, Spec(64, (3, 3)))
        self.Conv2d_3b_1x1 = Conv(64, Spec(80, (1, 1)))
        self.Conv2d_4a_3x3 = Conv(80, Spec(192, (3, 3)), pad=False)
        self.Mixed_5b = block_a(192, 32)
        self.Mixed_5c = block_a(self.Mixed_5b.width, 64)
        self.Mixed_5d = block_a(self.Mixed_5c.width, 64)
        self.Mixed_6a = block_b(self.Mixed_5d.width)
        self.Mixed_6b = block_c(self.Mixed_6a.width, 128)
        self.Mixed_6c = block_c(self.Mixed_6b.width, 160)
        self.Mixed_6d = block_c(self.Mixed_6c.width, 160)
        self.Mixed_6e = block_c(self.Mixed_6d.width, 192)
        self.Mixed_7a = block_d(self.Mixed_6e.width)
        self.Mixed_7b = block_e(self.Mixed_7a.width, mean_pool)
        self.Mixed_7c = block_e(self.Mixed_7b.width, max_pool)

    def forward(self, x_N3HW: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x_N3HW)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(halving_pool(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(halving_pool(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))
