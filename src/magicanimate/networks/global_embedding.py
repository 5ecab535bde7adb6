"""A global image embedding in the appearance encoder's place: the baseline that the paper's Table 2 (b) compares with.

DisCo and DreamPose describe the picture by one CLIP embedding that all layers read, without any place in the picture.
Here a small convolutional network makes it from the reference's latents, and each reference-reading attention of the
denoiser gets it as a few tokens, through the same bank as the appearance encoder's (appearance.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor, nn

from magicanimate.networks.appearance import FUSION_BLOCKS
from magicanimate.networks.attention import reads_reference
from magicanimate.networks.build import build


class GlobalEmbedding(ModelMixin, ConfigMixin):
    """Called as the appearance encoder is; fills the same bank, with `tokens` entries per layer.

    layers: path of each self-attention that reads the reference -> its width.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int,
        layers: Mapping[str, int],
        cross_attention_dim: int | None = None,
        channels: tuple[int, ...] = (96, 128, 192),
        width: int = 256,
        tokens: int = 4,
    ) -> None:
        """cross_attention_dim: of the prompt, which is not read; it is kept so that models can be checked alike."""
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after))
            for before, after in itertools.pairwise(channels)
        )
        self.embed = nn.Sequential(nn.Linear(channels[-1], width), nn.SiLU(), nn.Linear(width, width))
        self.paths = tuple(layers)
        self.to_layers = nn.ModuleList(nn.Linear(width, tokens * layer) for layer in layers.values())
        self.norms = nn.ModuleList(nn.LayerNorm(layer) for layer in layers.values())  # as the encoder's entries are

    def embedding(self, sample_Bchw: Tensor) -> Tensor:
        """Embed the picture as one vector, `[B, width]`: the mean over all places."""
        x = F.silu(self.conv_in(sample_Bchw))
        for layer in self.down:
            x = F.silu(layer(x))
        return self.embed(x.mean((-2, -1)))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        encoder_hidden_states: Any,
        cross_attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """`[B, c, h, w]` -> the embedding; the bank's entries `[B, tokens, D]` go into `record`."""
        embedding = self.embedding(sample)
        record = (cross_attention_kwargs or {}).get("record")
        if record is not None:
            for path, layer, norm in zip(self.paths, self.to_layers, self.norms, strict=True):
                record[path] = norm(rearrange(layer(embedding), "b (t d) -> b t d", t=self.config["tokens"]))
        return (embedding,)


def reading_layers(denoiser: nn.Module) -> dict[str, int]:
    """Return the self-attentions of a denoiser that read the reference: path -> width."""
    return {
        path: module.to_q.in_features
        for path, module in denoiser.named_modules()
        if path.endswith(".attn1") and reads_reference(path, FUSION_BLOCKS)
    }


def build_global_embedding(config: Mapping[str, Any]) -> GlobalEmbedding:
    """Build it with fresh weights. Raises InputError for unknown arguments."""
    return build(GlobalEmbedding, config, "global embedding")
