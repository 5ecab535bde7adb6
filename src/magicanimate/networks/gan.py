"""A generator that draws each frame in one pass from the reference and two part maps, trained against a discriminator.

The family of Pix2pixHD, GFLA and the like, which the paper criticises: no diffusion, no temporal layers. The generator
is diffusers' UNet2DModel on space-to-depth pixels. Trained by train/gan.py.

Legend: B samples, H W pixels, h w pixels after space-to-depth, P planes.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.networks.coordinates import append_coordinates
from magicanimate.networks.pixels import depth_to_space, parts_to_planes, space_to_depth
from magicanimate.parts.densepose import PARTS

COORDINATES = 8


def build_generator(patch: int, channels: tuple[int, ...]) -> UNet2DModel:
    """Build a generator with attention at the two coarsest levels; the last one of `channels` is the coarsest."""
    levels = len(channels)
    attention = [index >= levels - 2 for index in range(levels)]
    return UNet2DModel(
        in_channels=3 * patch**2 + 2 * PARTS + COORDINATES,
        out_channels=3 * patch**2,
        block_out_channels=channels,
        layers_per_block=1,
        attention_head_dim=32,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
    )


def patch_of(generator: UNet2DModel) -> int:
    """Return the space-to-depth factor that a generator was built for."""
    return round((generator.config["out_channels"] / 3) ** 0.5)


def draw(generator: UNet2DModel, reference: Tensor, reference_parts: Tensor, parts: Tensor) -> Tensor:
    """Draw pictures [B,3,H,W] in about [0,1] from references [B,3,H,W] in [0,1] and part maps [B,H,W] of both."""
    patch = patch_of(generator)
    planes = [parts_to_planes(maps, patch) for maps in (reference_parts, parts)]
    x = append_coordinates(torch.cat([space_to_depth(reference * 2 - 1, patch), *planes], 1), COORDINATES)
    return depth_to_space(generator(x, 0, return_dict=False)[0], patch) * 0.5 + 0.5


@torch.no_grad()
def animate(
    generator: UNet2DModel, reference_HWC: np.ndarray, reference_parts_HW: np.ndarray, parts_FHW: np.ndarray
) -> np.ndarray:
    """Draw frames [F,H,W,3] uint8."""
    picture = torch.from_numpy(reference_HWC.copy()).permute(2, 0, 1)[None].float() / 255
    own = torch.from_numpy(reference_parts_HW.copy())[None]
    frames = []
    for chunk in torch.from_numpy(parts_FHW.copy()).split(16):
        many = len(chunk)
        out = draw(generator, picture.expand(many, -1, -1, -1), own.expand(many, -1, -1), chunk).clamp(0, 1)
        frames.append((out * 255).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(frames)


def load_generator(folder: Path) -> UNet2DModel:
    """Read what `magicanimate train` wrote. Raises InputError if it is not there."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no generator; train one with configs/baselines/gan.yaml.")
    return UNet2DModel.from_pretrained(folder).eval()


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of a picture together with the part map it was to show; hinge loss."""

    def __init__(self, patch: int, width: int = 64) -> None:
        super().__init__()
        sizes = (3 * patch**2 + PARTS, width, 2 * width, 2 * width)
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(before, after, 3, stride=1 + (index > 0), padding=1))
            for index, (before, after) in enumerate(itertools.pairwise(sizes))
        )
        self.head = nn.Conv2d(sizes[-1], 1, 3, padding=1)
        self.patch = patch

    def forward(self, pictures_BCHW: Tensor, planes_BPhw: Tensor) -> Tensor:
        """Return scores [B,1,h',w'], higher for real pictures."""
        x = torch.cat([space_to_depth(pictures_BCHW * 2 - 1, self.patch), planes_BPhw], 1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.head(x)
