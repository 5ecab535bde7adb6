"""Pixels folded into channels, and part indices as planes."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from magicanimate.errors import InputError
from magicanimate.parts.densepose import PARTS


def space_to_depth(x_NCHW: Tensor, patch: int) -> Tensor:
    """Fold `patch` x `patch` pixels into channels: `[N, C, H, W] -> [N, C*patch*patch, H/patch, W/patch]`."""
    if patch == 1:
        return x_NCHW
    require_multiple(x_NCHW.shape[-2], x_NCHW.shape[-1], patch)
    return rearrange(x_NCHW, "n c (h p) (w q) -> n (c p q) h w", p=patch, q=patch)


def depth_to_space(x_Nchw: Tensor, patch: int) -> Tensor:
    """Undo `space_to_depth`."""
    if patch == 1:
        return x_Nchw
    return rearrange(x_Nchw, "n (c p q) h w -> n c (h p) (w q)", p=patch, q=patch)


def require_multiple(height: int, width: int, factor: int) -> None:
    """Raise InputError unless both sides of a picture are multiples of `factor`."""
    if height % factor or width % factor:
        raise InputError(
            f"The size {height}x{width} (height x width) is not a multiple of {factor}; pad or resize it first."
        )


def parts_to_planes(parts_FHW: Tensor, patch: int = 1) -> Tensor:
    """Convert part indices `[F, H, W]` to 25 planes `[F, 25, H/patch, W/patch]`: each part's share of a patch."""
    labels_FQhw = space_to_depth(parts_FHW[:, None], patch).long()
    frames, pixels, height, width = labels_FQhw.shape
    planes = torch.zeros(frames, PARTS, height, width, device=parts_FHW.device)
    # Counts of whole pixels are exact in any order
    return planes.scatter_add_(1, labels_FQhw, planes.new_ones(()).expand(labels_FQhw.shape)) / pixels
