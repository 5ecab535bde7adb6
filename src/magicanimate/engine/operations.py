"""Small operations between convolutions and matrix products, each in two ways: plain torch, and a Triton kernel.

Kernels run on CUDA in 16 bit where nothing is trained, and only if Triton is installed, which torch brings along there.
They need one pass through memory instead of several, and never leave the channels-last format.

Legend: N rows (B samples of K frames, sample first), C channels, h w positions, T frames or tokens, g heads, d width of
a head.
"""

from __future__ import annotations

import subprocess
import warnings
from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

MOST = 2**31
"""Elements that a kernel can count."""
LONGEST = 32
"""Frames of attention that one program holds."""
WIDEST = 256
"""Width of a head that one program holds."""


@cache
def has_triton() -> bool:
    """Return True if kernels compile on this GPU: Triton needs a C compiler and Python's headers, so it is tried."""
    if find_spec("triton") is None or not torch.cuda.is_available():
        return False
    from magicanimate.engine import triton_kernels as kernels

    one = torch.ones(1, 8, 1, 1, device="cuda", dtype=torch.float16)
    try:
        kernels.add_biased(one, one, one.flatten())
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        warnings.warn(f"Triton's kernels cannot be compiled; plain torch is slower: {error}", stacklevel=2)
        return False
    return True


def takes_kernel(x: Tensor) -> bool:
    """Return True if a kernel handles this tensor."""
    trained = torch.is_grad_enabled() and x.requires_grad
    return x.is_cuda and x.element_size() == 2 and x.numel() < MOST and not trained and has_triton()


def group_norm(
    x_NChw: Tensor,
    groups: int,
    weight_C: Tensor,
    bias_C: Tensor,
    eps: float,
    *,
    frames: int = 1,
    shift: Tensor | None = None,
    silu: bool = False,
    by_position: bool = False,
) -> Tensor:
    """Group norm of `x + shift`, then SiLU if asked: `[N, C, h, w]`.

    frames: K; statistics run over the whole window. shift: `[N, C]` or `[1, C]`, for all positions the same.
    by_position: statistics run over single frames, and the result is `[B, C, K, h, w]`, a view of contiguous
    `[B, h, w, K, C]`.
    """
    if takes_kernel(x_NChw):
        from magicanimate.engine import triton_kernels as kernels

        x_NChw = x_NChw.contiguous(memory_format=torch.channels_last)
        shift = None if shift is None else shift.contiguous()
        return kernels.group_norm(x_NChw, groups, weight_C, bias_C, eps, frames, shift, silu, by_position)
    x = x_NChw if shift is None else x_NChw + shift[:, :, None, None]
    if by_position or frames == 1:
        normed = F.group_norm(x, groups, weight_C, bias_C, eps)
    else:
        folded = rearrange(x, "(b k) c h w -> b c k h w", k=frames)
        normed = rearrange(F.group_norm(folded, groups, weight_C, bias_C, eps), "b c k h w -> (b k) c h w")
    normed = F.silu(normed, inplace=not torch.is_grad_enabled()) if silu else normed
    if by_position:
        rows = rearrange(normed, "(b k) c h w -> b h w k c", k=frames).contiguous()
        return rearrange(rows, "b h w k c -> b c k h w")
    return normed


def gated_gelu(x_ND: Tensor) -> Tensor:
    """Multiply the first half of the channels by the GELU of the second: `[..., 2D] -> [..., D]`."""
    if takes_kernel(x_ND) and x_ND.is_contiguous():
        from magicanimate.engine import triton_kernels as kernels

        return kernels.gated_gelu(x_ND)
    value, gate = x_ND.chunk(2, dim=-1)
    if torch.is_grad_enabled():
        return value * F.gelu(gate)
    # On CPUs the fast GELU, oneDNN's, takes nothing but tensors in one piece
    return torch.ops.aten.gelu_(gate.clone(memory_format=torch.contiguous_format)).mul_(value)


def add_biased(x_NChw: Tensor, y_NChw: Tensor, bias_C: Tensor) -> Tensor:
    """Add `x + y + bias`."""
    if takes_kernel(x_NChw):
        from magicanimate.engine import triton_kernels as kernels

        x_NChw, y_NChw = (z.contiguous(memory_format=torch.channels_last) for z in (x_NChw, y_NChw))
        return kernels.add_biased(x_NChw, y_NChw, bias_C)
    return x_NChw + y_NChw + bias_C[:, None, None]


def add_to(x: Tensor, y: Tensor) -> Tensor:
    """Return `x + y` in the memory of x, which nobody else may read any more; unless a gradient may be wanted."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def add_norm(
    x_NTC: Tensor,
    y_NTC: Tensor | None,
    weight_C: Tensor,
    bias_C: Tensor,
    eps: float,
    places_TC: Tensor | None = None,
    later_C: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Add `x + y`, and take its layer norm over the channels, plus the position's code in the sequence if there is one.

    Without y the first result is x itself. later: with y only, what is added to the sum after the norm was taken.
    """
    if takes_kernel(x_NTC) and x_NTC.is_contiguous() and (y_NTC is None or y_NTC.is_contiguous()):
        from magicanimate.engine import triton_kernels as kernels

        return kernels.add_norm(x_NTC, y_NTC, weight_C, bias_C, eps, places_TC, later_C)
    total = x_NTC if y_NTC is None else x_NTC + y_NTC
    normed = F.layer_norm(total, (total.shape[-1],), weight_C, bias_C, eps)
    if later_C is not None:
        total = total + later_C
    return total, normed if places_TC is None else add_to(normed, places_TC)


def short_attention(query_NgTd: Tensor, key_NgTd: Tensor, value_NgTd: Tensor) -> Tensor:
    """Attend over a few frames. The fused attention of GPUs is made for long sequences: it would fill an eighth of
    each of its tiles. All three are `split_heads` of contiguous tensors, or of equal shares of one."""
    _, _, frames, width = query_NgTd.shape
    step = query_NgTd.stride(2)
    alike = all(
        x.shape == query_NgTd.shape and x.stride() == (frames * step, width, step, 1)
        for x in (query_NgTd, key_NgTd, value_NgTd)
    )
    if takes_kernel(query_NgTd) and alike and frames <= LONGEST and width <= WIDEST:
        from magicanimate.engine import triton_kernels as kernels

        return kernels.short_attention(query_NgTd, key_NgTd, value_NgTd)
    return F.scaled_dot_product_attention(query_NgTd, key_NgTd, value_NgTd)
