"""Stable Diffusion's UNet under the names of before diffusers, as in files of all its networks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

LAYERS = 2  # per block
OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
RESIDUAL = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip


def ldm_unet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under other names."""
    return {f"model.diffusion_model.{ldm_name(name, state)}": value for name, value in state.items()}


def ldm_name(name: str, state: Mapping[str, Tensor]) -> str:
    if found := re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", name):
        way, block, kind, index, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
        layers = LAYERS + 1 if way == "up" else LAYERS
        first = (LAYERS + 1) * block + (0 if way == "up" else 1)
        place = {"resnets": (first + index, 0), "attentions": (first + index, 1)}
        attends = any(other.startswith(f"{way}_blocks.{block}.attentions") for other in state)
        place |= {"downsamplers": (first + layers, 0), "upsamplers": (first + layers - 1, 1 + attends)}
        rest = rest.replace("conv.", "op.") if kind == "downsamplers" else inside(rest) if kind == "resnets" else rest
        return f"{'output' if way == 'up' else 'input'}_blocks.{place[kind][0]}.{place[kind][1]}.{rest}"
    if found := re.fullmatch(r"mid_block\.(\w+)\.(\d)\.(.+)", name):
        place = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{place}.{inside(found[3]) if found[1] == 'resnets' else found[3]}"
    layer, _, kind = name.rpartition(".")
    return f"{OUTSIDE[layer]}.{kind}"


def inside(rest: str) -> str:
    layer, _, kind = rest.rpartition(".")
    return f"{RESIDUAL[layer]}.{kind}"
