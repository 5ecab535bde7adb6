"""Convolutions and linear layers of a CPU in 16 bit, whose weights lie as oneDNN's kernels read them.

Torch lays a convolution's weights out anew in every call, which for small pictures takes longer than the convolution
itself. Here that is done once, by the operations that torch's own compiler uses on CPUs; they also add the bias,
activate and gate before anything is rounded and goes to memory. For inference alone: they have no gradients, and packed
weights can no longer be read or saved.
"""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from einops import rearrange
from torch import Tensor, nn

from magicanimate.engine.device import fast_on_cpu

_MACHINES = ("x86_64", "AMD64")  # elsewhere oneDNN has other kernels behind it, which nobody has measured
_FEW = 16  # positions of a picture: 4x4


def can_pack(dtype: torch.dtype) -> bool:
    """Return True if packing weights of this dtype pays here. In float32 products take nearly all the time anyway."""
    return dtype != torch.float32 and has_packed_layers() and fast_on_cpu(dtype)


def has_packed_layers() -> bool:
    """Return True if this torch has the operations below."""
    names = ("_convolution_pointwise", "_linear_pointwise", "_reorder_linear_weight")
    there = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
    return there and platform.machine() in _MACHINES


class PackedConv2d(nn.Module):
    """A convolution in place of `stock`: channels last, as its result.

    A kernel of oneDNN's works on 16 positions of a row. Where rows are shorter than that, one matrix product with all
    windows is faster, so it is packed for the one or the other in the first call, and anew when the size changes: what
    a picture gives must not depend on those before it.
    """

    def __init__(self, stock: nn.Conv2d) -> None:
        super().__init__()
        self.bias = stock.bias
        self.geometry = (stock.padding, stock.stride, stock.dilation, stock.groups)
        self.simple = (stock.kernel_size, *self.geometry) == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
        self.packed = stock.weight.detach()
        self.by_windows: bool | None = None  # it is not packed yet

    def forward(self, input: Tensor) -> Tensor:
        """`[N, C, h, w] -> [N, C', h', w']`."""
        return self.convolve(input, self.bias)

    def convolve(self, x_NChw: Tensor, bias_C: Tensor | None) -> Tensor:
        """Convolve with the caller's bias."""
        height, width = x_NChw.shape[2:]
        by_windows = self.simple and height * width <= _FEW
        if by_windows != self.by_windows:
            self._pack(by_windows)
        x_NChw = x_NChw.contiguous(memory_format=torch.channels_last)
        mkldnn = torch.ops.mkldnn
        if not by_windows:
            return mkldnn._convolution_pointwise(x_NChw, self.packed, bias_C, *self.geometry, "none", [], None)
        rows_PD = mkldnn._linear_pointwise(all_windows(x_NChw), self.packed, bias_C, "none", [], None)
        return rearrange(rows_PD, "(n h w) d -> n d h w", h=height, w=width)

    def _pack(self, by_windows: bool) -> None:
        weight = self.packed if self.by_windows is None else self.packed.to_dense()
        if self.by_windows:
            weight = rearrange(weight, "d (i j c) -> d c i j", i=3, j=3)
        if by_windows:
            self.packed = pack(rearrange(weight, "d c i j -> d (i j c)"))
        else:
            self.packed = torch._C._nn.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *self.geometry)
        self.by_windows = by_windows

    @staticmethod
    def replaces(stock: nn.Module) -> bool:
        """Return True if this layer computes the same as the convolution."""
        return type(stock) is nn.Conv2d and stock.padding_mode == "zeros" and not isinstance(stock.padding, str)


class PackedLinear(nn.Module):
    """A linear layer in place of `stock`, or of a convolution of single positions that is used as one."""

    def __init__(self, stock: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.bias = stock.bias
        self.packed = pack(stock.weight.flatten(1))

    def forward(self, input: Tensor) -> Tensor:
        """`[..., D] -> [..., D']`."""
        return torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, "none", [], None)


class PackedGEGLU(GEGLU):
    """A gated activation with a bias, in place of `stock`: GELU and gate belong to the two products."""

    def __init__(self, stock: GEGLU) -> None:
        nn.Module.__init__(self)
        self.value, self.gate = (pack(half) for half in stock.proj.weight.chunk(2))
        self.value_bias, self.gate_bias = stock.proj.bias.detach().chunk(2)

    def forward(self, hidden_states: Tensor, *unused: object, **unused_too: object) -> Tensor:
        """`[..., D] -> [..., D']`."""
        mkldnn = torch.ops.mkldnn
        gate = mkldnn._linear_pointwise(hidden_states, self.gate, self.gate_bias, "gelu", [], "none")
        return mkldnn._linear_pointwise.binary(hidden_states, gate, self.value, self.value_bias, "mul")


def all_windows(x_NChw: Tensor) -> Tensor:
    """Unfold the windows of a padded 3x3 convolution: `[N*h*w, 9*C]`, channels last."""
    padded_NhwC = F.pad(rearrange(x_NChw, "n c h w -> n h w c"), (0, 0, 1, 1, 1, 1))
    return rearrange(padded_NhwC.unfold(1, 3, 1).unfold(2, 3, 1), "n h w c i j -> (n h w) (i j c)")


def pack(weight: Tensor) -> Tensor:
    """Return the weight `[D', D]` of a linear layer."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
