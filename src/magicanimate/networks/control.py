"""The motion signal and its ControlNet F_p: control frames -> planes -> per-frame residuals for the denoiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from diffusers import ControlNetModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.networks.attention import Text, expand_rows, install_attention
from magicanimate.networks.build import build
from magicanimate.networks.coordinates import append_coordinates


class Residuals(NamedTuple):
    """ControlNet's additions to the denoiser's skip connections and middle block; rows as in the latents.

    A shallow call has only the first skips' and no middle.
    """

    down: tuple[Tensor, ...]
    mid: Tensor | None


class ConditionFeatures(NamedTuple):
    """Control planes that went through the ControlNet's condition embedding, `[N, D, h, w]`; see `embed_control`."""

    features: Tensor


class ConditionEmbedding(ControlNetConditioningEmbedding):
    """The ControlNet's condition embedding, computed once per video by `embed`; inside the network it is a no-op."""

    def __init__(self, stock: ControlNetConditioningEmbedding) -> None:
        nn.Module.__init__(self)
        self.conv_in, self.blocks, self.conv_out = stock.conv_in, stock.blocks, stock.conv_out

    def embed(self, planes_NChw: Tensor) -> Tensor:
        return super().forward(planes_NChw)

    def forward(self, conditioning: Tensor) -> Tensor:
        return conditioning


class Control(ControlNetModel):
    """ControlNetModel that takes its condition as planes or as features. Build it with `build_control`."""

    controlnet_cond_embedding: ControlNetConditioningEmbedding

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.controlnet_cond_embedding = ConditionEmbedding(self.controlnet_cond_embedding)
        install_attention(self)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        encoder_hidden_states: Text,
        condition: Tensor | ConditionFeatures,
        scale: float = 1.0,
    ) -> Residuals:
        """See `control_residuals`, which adds the coordinates."""
        features = condition.features if isinstance(condition, ConditionFeatures) else self.embed(condition)
        down, mid = super().forward(
            sample, timestep, encoder_hidden_states, features, conditioning_scale=scale, return_dict=False
        )
        return Residuals(tuple(down), mid)

    def shallow(
        self,
        sample_Nchw: Tensor,
        timestep: Tensor | int,
        text: Text,
        condition: ConditionFeatures,
        scale: float,
        skips: int,
    ) -> Residuals:
        """Compute only the residuals of the denoiser's first `skips` skips, which lie inside the first block."""
        times_N = torch.as_tensor(timestep, device=sample_Nchw.device).expand(sample_Nchw.shape[0])
        emb_ND = self.time_embedding(self.time_proj(times_N).to(sample_Nchw.dtype))
        x = self.conv_in(sample_Nchw) + condition.features
        block, levels = self.down_blocks[0], [x]
        for index in range(skips - 1):
            x = block.resnets[index](x, emb_ND)
            if hasattr(block, "attentions"):
                x = block.attentions[index](x, encoder_hidden_states=text, return_dict=False)[0]
            levels.append(x)
        outputs = zip(self.controlnet_down_blocks, levels, strict=False)
        return Residuals(tuple(out(level) * scale for out, level in outputs), None)

    def embed(self, planes_NChw: Tensor) -> Tensor:
        return self.controlnet_cond_embedding.embed(planes_NChw)


def build_control(config: Mapping[str, Any]) -> Control:
    """Build a ControlNet with fresh weights (zero residuals).

    config: the arguments of diffusers' ControlNetModel. Raises InputError for arguments that it does not have, and
    for channel orders other than RGB.
    """
    if config.get("controlnet_conditioning_channel_order", "rgb") != "rgb":
        raise InputError("The ControlNet's configuration cannot be used: only the channel order rgb is supported.")
    return build(Control, config, "ControlNet")


def embed_control(network: Control, planes_NPhw: Tensor) -> ConditionFeatures:
    """Compute the condition embedding, which depends on neither noise nor timestep: once per video is enough."""
    return ConditionFeatures(network.embed(planes_NPhw))


def control_residuals(
    network: Control,
    latents_Nchw: Tensor,
    condition: Tensor | ConditionFeatures,
    timestep: Tensor | int,
    text: Text,
    scale: float = 1.0,
    coordinates: int = 0,
    shallow: int | None = None,
) -> Residuals:
    """Compute residuals y_p = F_p(z_t | p, t) for N noisy frames, each with its own control planes (or features).

    timestep: one for all, or B of them; text: B rows; N must be a multiple of B (frames of a sample adjacent).
    coordinates: as in the model's configuration. shallow: only those of the denoiser's first so many skips.
    """
    if isinstance(timestep, Tensor) and timestep.ndim:
        timestep = expand_rows(timestep, latents_Nchw.shape[0])
    sample = append_coordinates(latents_Nchw, coordinates)
    if shallow:
        features = condition if isinstance(condition, ConditionFeatures) else embed_control(network, condition)
        return network.shallow(sample, timestep, text, features, scale, shallow)
    return network(sample, timestep, text, condition, scale)
