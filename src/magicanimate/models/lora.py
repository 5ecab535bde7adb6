"""LoRAs added to a model's weights: of Stable Diffusion 1.5, such as those for few steps, or trained from the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.utils import convert_unet_state_dict_to_peft
from torch import Tensor, nn

from magicanimate.errors import InputError, first_line
from magicanimate.models.model import Model
from magicanimate.models.weights import read_state

DOWN, UP = ".lora_A.weight", ".lora_B.weight"
PREFIXES = {"denoiser": "unet.", "appearance": "appearance."}
"""Start of the names of each network's layers. Those of Stable Diffusion 1.5 have the denoiser's only."""


def fuse_lora(model: Model, path: Path, scale: float = 1.0) -> Model:
    """Add a LoRA to the denoiser's and the appearance encoder's spatial layers, in place; returns the model.

    Layers of the appearance encoder have changes of their own if the LoRA was trained from a model, else the
    denoiser's. What it has for a text encoder, which is not run, is left out. Raises InputError for a file that is no
    LoRA, or one of networks of another size.
    """
    changes = read_lora(path)
    apart = {name: change for name, change in changes.items() if name.startswith(PREFIXES["appearance"])}
    shared = {name: change for name, change in changes.items() if name not in apart}
    own = {name.removeprefix(PREFIXES["appearance"]): change for name, change in apart.items()}
    for title, network, factors, needed in (
        ("denoiser", model.denoiser, shared, shared),
        ("appearance encoder", model.appearance, own or shared, own),
    ):
        fused = fuse_network(network, factors, scale, path)
        if missing := sorted(set(needed) - set(fused)):
            raise InputError(f"The LoRA {path} is for another network: the {title} has no {missing[0]}.")
    note = f"A LoRA ({path.name}, scale {scale:g}) was added to the weights; how well it works was not measured."
    return replace(model, config=model.config.model_copy(update={"limits": [*model.config.limits, note]}))


def read_lora(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Read a LoRA: layer -> factors `[r, in, ...]` and `[out, r, ...]`, alpha included. InputError as `fuse_lora`."""
    try:
        state, _ = StableDiffusionLoraLoaderMixin.lora_state_dict(with_alpha(read_state(path)))
    except (ValueError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a LoRA for a denoiser: {first_line(error)}.") from error
    networks = {name: value for name, value in state.items() if not name.startswith("text_encoder")}
    own = {name.removeprefix(PREFIXES["denoiser"]): value for name, value in networks.items()}
    named: Mapping[str, Tensor] = convert_unet_state_dict_to_peft(own)
    factors = {
        name.removesuffix(DOWN): (value, named[name.removesuffix(DOWN) + UP])
        for name, value in named.items()
        if name.endswith(DOWN) and name.removesuffix(DOWN) + UP in named
    }
    if not factors or len(named) != 2 * len(factors):
        raise InputError(f"{path} is not a LoRA for a denoiser: it has weights other than pairs of factors.")
    return factors


def with_alpha(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with the factor alpha / rank in the first matrices, as other names have no place for it."""
    result = {name: value.float() for name, value in state.items() if not name.endswith(".alpha")}
    for name, alpha in state.items():
        down = name.removesuffix(".alpha") + ".lora_down.weight"
        if name.endswith(".alpha") and down in result:
            result[down] = result[down] * (alpha.float() / len(result[down]))
    return result


def fuse_network(
    network: nn.Module, changes: Mapping[str, tuple[Tensor, Tensor]], scale: float, path: Path
) -> list[str]:
    """Add the changes of those layers that a network has; returns their names. InputError: shapes that do not fit."""
    weights = dict(network.named_parameters())
    fused = [name for name in changes if f"{name}.weight" in weights]
    for name in fused:
        weight, (down, up) = weights[f"{name}.weight"], changes[name]
        change = up.flatten(1) @ down.flatten(1)
        if change.numel() != weight.numel() or len(change) != len(weight):
            raise InputError(f"The LoRA {path} is for another network: {name} has shape {list(weight.shape)} here.")
        with torch.no_grad():
            weight += scale * change.reshape(weight.shape).to(weight)
    return fused
