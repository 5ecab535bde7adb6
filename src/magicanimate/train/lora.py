"""Low-rank changes (LoRA, Hu et al., arXiv 2106.09685) of a finished model's networks, instead of their weights."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from magicanimate.models.lora import DOWN, PREFIXES, UP
from magicanimate.models.model import Model
from magicanimate.models.weights import write_safetensors

LORA_FILE = "lora.safetensors"
MARK = ".parametrizations.weight.0."
"""In the names of all weights that are trained."""


class LoraSettings(BaseModel):
    """Size of the changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(16, ge=1, description="rank of every layer's change")


class LowRankChange(nn.Module):
    """Adds to a weight `[out, in, ...]` the product of `up` `[out, r]` and `down` `[r, in * ...]`, zero at first."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        columns = weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(len(weight), rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        return weight + (self.up @ self.down).view_as(weight)


def add_lora(model: Model, settings: LoraSettings) -> None:
    """Let low-rank changes act on all spatial linear layers and convolutions of denoiser and appearance encoder, in
    place."""
    for name in PREFIXES:
        for layer, module in list(model.networks[name].named_modules()):
            if isinstance(module, nn.Linear | nn.Conv2d) and ".motion_modules." not in layer:
                register_parametrization(module, "weight", LowRankChange(module.weight, settings.rank))


def write_lora(model: Model, path: Path) -> None:
    """Write the changes as `models convert --lora` reads them."""
    state = {}
    for name, prefix in PREFIXES.items():
        for layer, module in model.networks[name].named_modules():
            if is_parametrized(module, "weight"):
                change, shape = module.parametrizations.weight[0], module.weight.shape
                state[f"{prefix}{layer}{DOWN}"] = change.down.detach().view(-1, *shape[1:])
                state[f"{prefix}{layer}{UP}"] = change.up.detach().view(-1, len(change.down), *[1] * (len(shape) - 2))
    write_safetensors(path, state)
