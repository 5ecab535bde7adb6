"""Pictures as the networks want them.

Shape legend: N pictures or windows, T frames of a window, H W pixels, S side of the square that a network takes.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate

INCEPTION_SIDE = 299
RESNET3D_SIDE = 112
I3D_SIDE = 224
KINETICS_MEAN = (114.7748, 107.7354, 99.4750)  # R, G, B of 255, as DisCo subtracts it


def planes(pictures_NHWC: np.ndarray, device: torch.device) -> Tensor:
    """Convert uint8 [..., H, W, 3] to float32 [..., 3, H, W], still 0 to 255."""
    pictures = torch.from_numpy(np.array(pictures_NHWC)).to(device)  # a copy: views of windows cannot be written to
    return rearrange(pictures, "... h w c -> ... c h w").float()


def for_inception(x_N3HW: Tensor) -> Tensor:
    """[N, 3, H, W] in 0..255 -> [N, 3, 299, 299] in -1..1: bilinear without antialiasing, as pytorch-fid does it."""
    side = (INCEPTION_SIDE, INCEPTION_SIDE)
    return interpolate(x_N3HW / 255, side, mode="bilinear", align_corners=False) * 2 - 1


def for_resnet3d(x_NT3HW: Tensor) -> Tensor:
    """[N, T, 3, H, W] in 0..255 -> [N, 3, T, 112, 112]: bicubic, minus the mean color, not scaled."""
    resized = bicubic(x_NT3HW, RESNET3D_SIDE)
    mean_3 = torch.tensor(KINETICS_MEAN, device=x_NT3HW.device)
    return rearrange(resized - mean_3[:, None, None], "n t c h w -> n c t h w")


def for_i3d(x_NT3HW: Tensor) -> Tensor:
    """[N, T, 3, H, W] in 0..255 -> [N, 3, T, 224, 224], bicubic, divided by 127.5, minus 1."""
    return rearrange(bicubic(x_NT3HW, I3D_SIDE) / 127.5 - 1, "n t c h w -> n c t h w")


def bicubic(x_NT3HW: Tensor, side: int) -> Tensor:
    """[N, T, 3, H, W] -> [N, T, 3, S, S] with antialiasing, in float and without clipping: Pillow's bicubic.

    DisCo resizes each channel as a float picture with Pillow; overshoots stay.
    """
    frames = rearrange(x_NT3HW, "n t c h w -> (n t) c h w")
    resized = interpolate(frames, (side, side), mode="bicubic", align_corners=False, antialias=True)
    return rearrange(resized, "(n t) c h w -> n t c h w", n=len(x_NT3HW))
