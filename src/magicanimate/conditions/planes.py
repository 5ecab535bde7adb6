"""Control planes: the motion as a model's ControlNet reads it, the same in training and inference.

Legend: N frames, P planes, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from magicanimate.models.config import ControlEncoding
from magicanimate.networks.pixels import parts_to_planes, space_to_depth
from magicanimate.parts.densepose import PALETTE_25


def control_planes(control: Tensor, encoding: ControlEncoding, stride: int) -> Tensor:
    """Encode control frames as planes `[N, P, H/stride, W/stride]`, float32.

    Args:
        control: part indices or depth levels `[N, H, W]` uint8; or pictures `[N, H, W, 3]`, uint8 or in [0, 1].
        encoding: parts: 25 planes, each part's share of a cell, of pictures by the nearest DensePose color. rgb:
            3*stride**2 planes, of part indices their colors. depth: stride**2 planes, of pictures the first channel.
        stride: pixels per cell along each axis.
    """
    pictures = control.ndim == 4
    if encoding == "parts":
        return parts_to_planes(nearest_parts(control) if pictures else control, stride)
    if encoding == "depth":
        return space_to_depth(_unit(control[..., 0] if pictures else control)[:, None], stride)
    return space_to_depth((_unit(control) if pictures else _colors(control)).movedim(-1, 1), stride)


def nearest_parts(pictures_NHW3: Tensor) -> Tensor:
    """Return part indices `[N, H, W]` uint8 of pictures, uint8 or in [0, 1], by the nearest DensePose color."""
    palette = torch.as_tensor(PALETTE_25, dtype=torch.float32, device=pictures_NHW3.device)
    pixels = _unit(pictures_NHW3).float() * 255
    # |x - p|^2 without its term |x|^2, which is the same for all colors
    distance = palette.square().sum(1) - 2 * pixels @ palette.T
    return distance.argmin(-1).to(torch.uint8)


def _colors(parts_NHW: Tensor) -> Tensor:
    palette = torch.as_tensor(PALETTE_25, dtype=torch.float32, device=parts_NHW.device) / 255
    return palette[parts_NHW.long()]


def _unit(levels: Tensor) -> Tensor:
    """Return levels of 8 bit as numbers in [0, 1]; others as they are."""
    return levels.float() / 255 if levels.dtype == torch.uint8 else levels
