"""The detail network: takes back from the picture what the latents could not hold.

A VAE's latents blur faces, prints and backgrounds. This network sees each decoded frame beside the picture warped to it
(motion/warp.py) and beside what may be hair and loose cloth in it, says for every pixel how much of each to take, and
corrects the rest:

    frame = a decoded + b warped + c beyond + r,   a + b + c = 1, r any

A UNet2DModel of diffusers without attention, on space-to-depth pixels; frame by frame. In a model folder as `detail`.

Legend: N frames, H W pixels, h w pixels after space-to-depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from magicanimate.networks.build import build
from magicanimate.networks.pixels import depth_to_space, parts_to_planes, space_to_depth
from magicanimate.parts.densepose import HEAD, PARTS
from magicanimate.person.warp import KNOWN, PartWarp, each_frame

PATCH, CHANNELS = 2, (16, 32, 64, 96)
"""Of a fresh network. Fine levels place edges to the pixel, narrow ones cost little."""
_SOURCES = 3  # decoded, warped, beyond
_SEEN = 3 * _SOURCES + 2  # and how far the latter two are known
_MADE = 3 + _SOURCES  # correction, share of each source
_AT_ONCE = 4  # frames: more of them no longer fit a processor's cache, fewer leave it idle between layers
_TRUST_ELSEWHERE = 0.25  # of that in heads: of a face a blur is the worst, of an arm a tear
_TRUST_IN_HAIR = 0.4  # likewise: more of it shows the hair's cut edges
_FIRST = 2.0  # logit of the decoded frame's share before training: mostly that


def build_detail(config: Mapping[str, Any]) -> UNet2DModel:
    """From the arguments of UNet2DModel. Raises InputError for arguments that it does not have."""
    return build(UNet2DModel, config, "detail network")


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
    network.conv_out.bias.data[3 * patch**2 : 4 * patch**2] = _FIRST
    return network


def patch_of(network: UNet2DModel) -> int:
    """The space-to-depth factor that a network was built for."""
    return round((network.config["out_channels"] / _MADE) ** 0.5)


def sizes_of(network: UNet2DModel) -> tuple[int, ...]:
    """The channels of a network's levels, the coarsest last."""
    return tuple(network.config["block_out_channels"])


def granularity(network: UNet2DModel) -> int:
    """Pixels that both sides of a picture must be a multiple of."""
    return patch_of(network) * 2 ** (len(sizes_of(network)) - 1)


class Sources(NamedTuple):
    """What one frame may take pixels from, besides the decoded one, all in [0,1]."""

    warped_N3HW: Tensor
    known_N1HW: Tensor
    beyond_N3HW: Tensor
    moved_N1HW: Tensor
    hair_N1HW: Tensor


def find_sources(warp: PartWarp, parts_NHW: np.ndarray, people_NHW: np.ndarray | None = None) -> Sources:
    """For the motion's part maps [N,H,W] uint8, and whose their pixels are where there are several people."""
    warped, beyond = zip(*(warp.with_surroundings(*maps) for maps in each_frame(parts_NHW, people_NHW)), strict=True)
    pictures = [torch.from_numpy(np.stack([one[0] for one in many])).movedim(-1, 1) / 255 for many in (warped, beyond)]
    known, moved = (torch.from_numpy(np.stack([one[1] for one in many]))[:, None] for many in (warped, beyond))
    return Sources(pictures[0], known / KNOWN, pictures[1], (moved > 0).float(), (moved == KNOWN).float())


def add_detail(
    network: UNet2DModel, decoded_N3HW: Tensor, sources: Sources, parts_NHW: Tensor, trust: float = 0.0
) -> Tensor:
    """Frames [N,3,H,W] in about [0,1], of decoded ones in [0,1] and part maps uint8.

    trust: logits that the picture's own pixels are given beyond what was learnt, in heads; some of it in hair and on
    other parts. The network learns to be right on average, which is blurred where it is not sure; with trust, faces are
    sharper and a little less exact.
    """
    patch = patch_of(network)
    warped, known, beyond, moved, hair = sources
    pictures = (decoded_N3HW, warped, beyond)
    seen = torch.cat([*(picture * 2 - 1 for picture in pictures), known, moved], 1)
    planes = parts_to_planes(parts_NHW, patch).to(seen.dtype)
    made = depth_to_space(network(torch.cat([space_to_depth(seen, patch), planes], 1), 0, return_dict=False)[0], patch)
    decoded, own, loose = made[:, 3:].split(1, 1)
    in_heads = torch.where(parts_NHW[:, None] >= HEAD[0], 1.0, _TRUST_ELSEWHERE).to(seen.dtype)
    # Not for loose cloth, of which it is less sure whose it is
    shares = torch.cat([decoded, own + trust * in_heads * known, loose + trust * _TRUST_IN_HAIR * hair], 1).softmax(1)
    frames = made[:, :3]
    for share, picture in zip(shares.split(1, 1), pictures, strict=True):
        frames = torch.addcmul(frames, share, picture)
    return frames


class DetailSource:
    """What the detail network sees of one job's picture [H,W,3] with its own parts [H,W] (None: nobody was found), and
    whose these are [H,W] where there are several people."""

    def __init__(self, picture_HWC: np.ndarray, own_HW: np.ndarray | None, people_HW: np.ndarray | None = None) -> None:
        self._warp = None if own_HW is None else PartWarp(picture_HWC, own_HW, people_HW)

    def __call__(
        self, network: UNet2DModel, decoded_N3HW: Tensor, parts_NHW: np.ndarray, trust: float = 0.0,
        people_NHW: np.ndarray | None = None,
    ) -> Tensor:  # fmt: skip
        """Decoded frames with detail, clamped to [0,1]. Without parts of the picture they stay as they are, and so do
        people whom the picture does not show: the background would shine through them."""
        if self._warp is None:
            return decoded_N3HW
        sources = (plane.to(decoded_N3HW) for plane in find_sources(self._warp, parts_NHW, people_NHW))
        maps_NHW = torch.from_numpy(np.ascontiguousarray(parts_NHW)).to(decoded_N3HW.device)
        few = zip(*(x.split(_AT_ONCE) for x in (decoded_N3HW, maps_NHW, *sources)), strict=True)
        frames = [add_detail(network, decoded, Sources(*given), maps, trust) for decoded, maps, *given in few]
        detailed_N3HW = torch.cat(frames).clamp(0, 1)
        if people_NHW is None:
            return detailed_N3HW
        missing_N1HW = torch.from_numpy(self._warp.missing(people_NHW))[:, None].to(decoded_N3HW.device)
        return torch.where(missing_N1HW, decoded_N3HW, detailed_N3HW)
