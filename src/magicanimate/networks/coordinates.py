"""Two-dimensional sine and cosine coordinates, appended as extra channels at the networks' stems."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHANNELS_PER_FREQUENCY = 4  # sine and cosine, along the width and along the height


def coordinate_planes(height: int, width: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Return sine and cosine coordinates of a picture of any size, `[channels, height, width]` float32.

    With u, v in [-1, 1] the pixel-center coordinates along width and height of the whole picture, frequency i gives
    sin(pi/2 2^i u), cos(pi/2 2^i u), sin(pi/2 2^i v), cos(pi/2 2^i v). `channels` must be a multiple of 4.
    """
    if channels % CHANNELS_PER_FREQUENCY:
        raise ValueError(f"coordinate channels come in fours, got {channels}")
    u = (torch.arange(width, device=device) * 2 + 1) / width - 1
    v = (torch.arange(height, device=device) * 2 + 1) / height - 1
    planes = []
    for i in range(channels // CHANNELS_PER_FREQUENCY):
        frequency = math.pi / 2 * 2**i
        for axis in (u.expand(height, width), v[:, None].expand(height, width)):
            planes += [torch.sin(frequency * axis), torch.cos(frequency * axis)]
    return torch.stack(planes)


def append_coordinates(x_Bchw: Tensor, channels: int) -> Tensor:
    """Append `channels` coordinate channels to pictures `[B, c, h, w]` or videos `[B, c, K, h, w]`."""
    if channels == 0:
        return x_Bchw
    planes = coordinate_planes(x_Bchw.shape[-2], x_Bchw.shape[-1], channels, x_Bchw.device).to(x_Bchw)
    if x_Bchw.ndim == 5:
        planes = planes[:, None]
    shape = (x_Bchw.shape[0], channels, *x_Bchw.shape[2:])
    return torch.cat([x_Bchw, planes.expand(shape)], dim=1)
