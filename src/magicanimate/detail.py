"""The detail network: takes back from the picture what the latents could not hold.

A VAE's latents blur faces, prints and backgrounds. This network sees each decoded frame beside the picture warped to it
(motion/warp.py), says for every pixel how much of the warp to take, and corrects the rest:

    frame = decoded + a (warped - decoded) + r,   a in [0, 1], r any

A UNet2DModel of diffusers without attention, on space-to-depth pixels; frame by frame. In a model folder as `detail`.

Legend: N frames, H W pixels, h w pixels after space-to-depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from magicanimate.config import PARTS
from magicanimate.control import parts_to_planes
from magicanimate.errors import InputError
from magicanimate.latents import depth_to_space, space_to_depth
from magicanimate.motion.warp import KNOWN, PartWarp

_SEEN = 3 + 3 + 1  # decoded, warped, how far the warp is known
_MADE = 3 + 1  # correction, share of the warp
_FIRST_SHARE = -2.0  # the share's logit before training: mostly the decoded frame


def build_detail(config: Mapping[str, Any]) -> UNet2DModel:
    """From the arguments of UNet2DModel. Raises InputError for arguments that it does not have."""
    try:
        return UNet2DModel(**{key: value for key, value in config.items() if not key.startswith("_")})
    except (TypeError, ValueError) as error:
        raise InputError(f"The detail network's configuration cannot be used: {error}") from error


def new_detail(patch: int, channels: tuple[int, ...], groups: int = 8) -> UNet2DModel:
    """A fresh network that passes the decoded frame on, nearly. `channels`: the last level is the coarsest."""
    network = build_detail(
        {
            "in_channels": _SEEN * patch**2 + PARTS,
            "out_channels": _MADE * patch**2,
            "block_out_channels": channels,
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D",) * len(channels),
            "up_block_types": ("UpBlock2D",) * len(channels),
            "norm_num_groups": groups,
            "add_attention": False,
        }
    )
    nn.init.zeros_(network.conv_out.weight)
    nn.init.zeros_(network.conv_out.bias)
    network.conv_out.bias.data[3 * patch**2 :] = _FIRST_SHARE
    return network


def patch_of(network: UNet2DModel) -> int:
    """The space-to-depth factor that a network was built for."""
    return round((network.config["out_channels"] / _MADE) ** 0.5)


def granularity(network: UNet2DModel) -> int:
    """Pixels that both sides of a picture must be a multiple of."""
    return patch_of(network) * 2 ** (len(network.config["block_out_channels"]) - 1)


def add_detail(
    network: UNet2DModel, decoded_N3HW: Tensor, warped_N3HW: Tensor, known_N1HW: Tensor, parts_NHW: Tensor
) -> Tensor:
    """Frames [N,3,H,W] in about [0,1], of decoded and warped ones in [0,1], the latter's certainty in [0,1], and part
    maps uint8."""
    patch = patch_of(network)
    seen = torch.cat([decoded_N3HW * 2 - 1, (warped_N3HW * 2 - 1) * (known_N1HW > 0), known_N1HW], 1)
    planes = parts_to_planes(parts_NHW, patch).to(seen.dtype)
    made = depth_to_space(network(torch.cat([space_to_depth(seen, patch), planes], 1), 0, return_dict=False)[0], patch)
    share_N1HW = made[:, 3:].sigmoid()
    return decoded_N3HW + share_N1HW * (warped_N3HW - decoded_N3HW) + made[:, :3]


class DetailSource:
    """What the detail network sees of one job's picture [H,W,3] with its own parts [H,W]; None: nobody was found."""

    def __init__(self, picture_HWC: np.ndarray, own_HW: np.ndarray | None) -> None:
        self._warp = None if own_HW is None else PartWarp(picture_HWC, own_HW)

    def __call__(self, network: UNet2DModel, decoded_N3HW: Tensor, parts_NHW: np.ndarray) -> Tensor:
        """Decoded frames with detail, clamped to [0,1]. Without parts of the picture they stay as they are."""
        if self._warp is None:
            return decoded_N3HW
        warped = [self._warp(parts_HW) for parts_HW in parts_NHW]
        pictures_N3HW, known_N1HW = to_tensors(warped)
        where = {"device": decoded_N3HW.device, "dtype": decoded_N3HW.dtype}
        maps_NHW = torch.from_numpy(np.ascontiguousarray(parts_NHW)).to(decoded_N3HW.device)
        return add_detail(
            network, decoded_N3HW, pictures_N3HW.to(**where), known_N1HW.to(**where), maps_NHW
        ).clamp(0, 1)  # fmt: skip


def to_tensors(warped: list[Any]) -> tuple[Tensor, Tensor]:
    """Warped pictures [N,3,H,W] and their certainty [N,1,H,W], both in [0,1]."""
    pictures = torch.from_numpy(np.stack([each.picture_HWC for each in warped])).movedim(-1, 1).float() / 255
    known = torch.from_numpy(np.stack([each.known_HW for each in warped]))[:, None].float() / KNOWN
    return pictures, known
