"""The detail network: mends a drawing where geometry does not know the picture.

The drawing moves the picture's own pixels, and where these are seen and right nothing is better. This network sees it
beside the decoded frame of the diffusion model, and corrects it where the drawing was completed or guessed, and along
outlines:

    frame = drawing + u (s (decoded - drawing) + r),   u unsure, known before; s in [0, 1] and r any, both learned

A UNet2DModel of diffusers without attention, on space-to-depth pixels; fully convolutional, frame by frame, at the
video's size. In a model folder as `detail`.

Legend: N frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import UNet2DModel
from scipy import ndimage
from torch import Tensor, nn

from magicanimate.networks.build import build
from magicanimate.networks.pixels import depth_to_space, space_to_depth
from magicanimate.person.scene import COMPLETED, FILLED, GUESSED, KNOWN, DrawnFrame

PATCH, CHANNELS = 2, (16, 32, 64, 96)
"""Sizes of a fresh network. Fine levels place edges to the pixel, narrow ones cost little."""
KINDS = (KNOWN, COMPLETED, GUESSED, FILLED)
"""Kinds of a drawing's pixels with a plane each."""
SEEN = 3 + 3 + 2 + len(KINDS)
"""Planes: decoded, drawn, alpha, unsure, kinds."""
_MADE = 3 + 1  # correction, share of the decoded frame
_EDGE = 0.004  # of the longer side: half width of the band along outlines that is unsure
_SHARE = -2.0  # logit of the decoded frame's share before training


class Inputs(NamedTuple):
    """Network input: `planes_N12HW`, pictures in [-1, 1] and the rest in [0, 1]; and the drawing it mends."""

    planes: Tensor
    decoded_N3HW: Tensor
    drawn_N3HW: Tensor
    unsure_N1HW: Tensor


def build_detail(config: Mapping[str, Any]) -> UNet2DModel:
    """Build the network from arguments of UNet2DModel. Raises InputError for unknown arguments."""
    return build(UNet2DModel, config, "detail network")


def new_detail(patch: int, channels: tuple[int, ...], groups: int = 8) -> UNet2DModel:
    """Return a fresh network that passes the drawing on, nearly. `channels`: the last level is the coarsest."""
    network = build_detail(
        {
            "in_channels": SEEN * patch**2,
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
    network.conv_out.bias.data[3 * patch**2 :] = _SHARE
    return network


def patch_of(network: UNet2DModel) -> int:
    """Return the space-to-depth factor that a network was built for."""
    return round((network.config["out_channels"] / _MADE) ** 0.5)


def sizes_of(network: UNet2DModel) -> tuple[int, ...]:
    """Return the channels of a network's levels, the coarsest last."""
    return tuple(network.config["block_out_channels"])


def granularity(network: UNet2DModel) -> int:
    """Return the number of pixels that both sides of a picture must be a multiple of."""
    return patch_of(network) * 2 ** (len(sizes_of(network)) - 1)


def unsure_pixels(drawn: DrawnFrame) -> np.ndarray:
    """Return how much a drawing may change, [H, W] float32: 1 where completed or guessed and along outlines."""
    kind_HW = drawn.kind_HW
    guessed_HW = (kind_HW == COMPLETED) | (kind_HW == GUESSED)
    person_HW = guessed_HW | (kind_HW == KNOWN)
    band = max(1, round(_EDGE * max(kind_HW.shape)))
    wide, narrow = (
        ndimage.binary_dilation(person_HW, iterations=band), ndimage.binary_erosion(person_HW, iterations=band),
    )  # fmt: skip
    moved_HW = wide & ~narrow & (ndimage.maximum_filter(kind_HW == FILLED, 2 * band + 1) > 0)
    unsure = (ndimage.binary_dilation(guessed_HW, iterations=band) & wide) | moved_HW
    return np.clip(ndimage.gaussian_filter(unsure.astype(np.float32), band / 2) * 1.5, 0, 1)


def see(drawn: DrawnFrame, decoded_HWC: np.ndarray) -> Inputs:
    """Convert a drawing and the decoded frame [H, W, 3] uint8 to the network's input, N = 1."""
    decoded, frame = (
        torch.from_numpy(x.copy()).movedim(-1, 0)[None].float() / 255 for x in (decoded_HWC, drawn.frame_HWC)
    )
    unsure = torch.from_numpy(unsure_pixels(drawn))[None, None]
    alpha = torch.from_numpy(drawn.alpha_HW.copy())[None, None].float() / 255
    kinds = torch.stack([torch.from_numpy(drawn.kind_HW == kind) for kind in KINDS])[None].float()
    planes = torch.cat([decoded * 2 - 1, frame * 2 - 1, alpha, unsure, kinds], 1)
    return Inputs(planes, decoded, frame, unsure)


def mend(network: UNet2DModel, inputs: Inputs) -> Tensor:
    """Mend frames [N, 3, H, W] in about [0, 1]; both sides must be multiples of the network's granularity."""
    patch = patch_of(network)
    made = depth_to_space(network(space_to_depth(inputs.planes, patch), 0, return_dict=False)[0], patch)
    change = made[:, 3:].sigmoid() * (inputs.decoded_N3HW - inputs.drawn_N3HW) + made[:, :3]
    return inputs.drawn_N3HW + inputs.unsure_N1HW * change


def mend_drawing(network: UNet2DModel | None, drawn: DrawnFrame, decoded_HWC: np.ndarray) -> np.ndarray:
    """Mend a drawing with the decoded frame of the same size: [H, W, 3] uint8.

    Only the part of the frame that is unsure is computed. Without a network the drawing is returned.
    """
    if network is None:
        return drawn.frame_HWC
    rows, columns = np.nonzero(unsure_pixels(drawn) > 0)
    if not rows.size:
        return drawn.frame_HWC
    step = granularity(network)
    window = tuple(
        _widened(index, length, step) for index, length in zip((rows, columns), drawn.kind_HW.shape, strict=True)
    )
    piece = DrawnFrame(drawn.frame_HWC[window], drawn.alpha_HW[window], drawn.kind_HW[window])
    height, width = piece.kind_HW.shape
    below, right = -height % step, -width % step
    padded = [
        np.pad(x, ((0, below), (0, right)) + ((0, 0),) * (x.ndim - 2), mode="edge")
        for x in (*_planes(piece), decoded_HWC[window])
    ]
    device, dtype = next(network.parameters()).device, next(network.parameters()).dtype
    inputs = Inputs(*(x.to(device, dtype) for x in see(DrawnFrame(*padded[:3]), padded[3])))
    mended = mend(network, inputs)[0, :, :height, :width].float().clamp(0, 1)
    out = drawn.frame_HWC.copy()
    out[window] = (mended * 255).round().to(torch.uint8).movedim(0, -1).cpu().numpy()
    return out


def _planes(drawn: DrawnFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return drawn.frame_HWC, drawn.alpha_HW, drawn.kind_HW


def _widened(index: np.ndarray, length: int, step: int) -> slice:
    """Return the range of some rows or columns, with a margin that the network looks at."""
    return slice(max(0, int(index.min()) - 2 * step), min(length, int(index.max()) + 1 + 2 * step))
