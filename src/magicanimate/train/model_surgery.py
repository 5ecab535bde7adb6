"""Models that are changed before training goes on: another VAE, another kind of control, the warp as an input,
other noise, motion modules."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.models.config import ControlKind, ModelConfig
from magicanimate.models.model import Model
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import Control, build_control
from magicanimate.networks.denoiser import build_denoiser
from magicanimate.networks.vae import NoiseMode

_FIRST = "controlnet_cond_embedding.conv_in.weight"
"""Weights through which control planes enter the ControlNet."""
_STEM, _HEAD = "conv_in.weight", ("conv_out.weight", "conv_out.bias")


def with_vae(model: Model, vae: AutoencoderKL) -> Model:
    """Return a model around another VAE, whose latents may have further channels after those that it knows.

    Until it is trained, the networks do not see these, and what they predict for them is 0.

    Raises:
        InputError: the VAE has fewer channels, or its pixels are folded in another way.
    """
    own, new = model.latent_channels, vae.config["latent_channels"]
    if new < own or vae.config["in_channels"] != model.vae.config["in_channels"]:
        raise InputError(
            f"The VAE has {new} latent channels of {vae.config['in_channels']} folded pixels, but the model needs at "
            f"least {own} of {model.vae.config['in_channels']}; train it from the model's own VAE."
        )
    latents, coordinates = (own, new), (model.config.coordinates,) * 2
    stem = [latents, coordinates]
    wide = {"in_channels": sum(after for _, after in stem)}
    inside = [*stem, latents] if model.config.reference_input else stem
    denoiser = build_denoiser(
        dict(model.denoiser.config) | {"in_channels": sum(after for _, after in inside), "out_channels": new},
        model.config.norm_scope,
    )
    _take_over(denoiser, model.denoiser, inside)
    appearance = build_appearance(dict(model.appearance.config) | wide)
    _take_over(appearance, model.appearance, stem)
    control = build_control(dict(model.control.config) | wide)
    _take_over(control, model.control, stem)
    return replace(model, vae=vae, denoiser=denoiser, appearance=appearance, control=control)


def _take_over(wide: nn.Module, network: nn.Module, channels: list[tuple[int, int]]) -> None:
    """Copy all weights of a network into a wider one, with zeros for further channels. channels: of each kind of input,
    before and after."""
    weights = dict(network.state_dict())
    pieces = weights[_STEM].split([before for before, _ in channels], 1)
    weights[_STEM] = torch.cat([_padded(x, 1, after) for x, (_, after) in zip(pieces, channels, strict=True)], 1)
    for name in _HEAD:
        if name in weights:
            weights[name] = _padded(weights[name], 0, channels[0][1])
    wide.load_state_dict(weights)


def _padded(x: Tensor, axis: int, size: int) -> Tensor:
    """Return zeros after the end of an axis, up to a size."""
    return F.pad(x, (0, 0) * (x.ndim - 1 - axis) + (0, size - x.shape[axis]))


def _control_for(config: ModelConfig, model: Model) -> Control:
    """Return a ControlNet that takes a configuration's planes: the model's own, but for where planes enter it."""
    control = build_control(dict(model.control.config) | {"conditioning_channels": config.control_planes})
    weights = model.control.state_dict()
    del weights[_FIRST]
    control.load_state_dict(weights, strict=False)
    return control


def with_new_control(model: Model, kind: ControlKind) -> Model:
    """Return a model with a ControlNet of another kind, which starts as its own but for how the motion enters it."""
    if kind == model.config.control:
        return model
    config = model.config.with_control(kind)
    control = _control_for(config, model)
    if config.warp_input:
        own = model.control.state_dict()[_FIRST]
        control.state_dict()[_FIRST][:, config.motion_planes :] = own[:, model.config.motion_planes :]
    return replace(model, config=config, control=control)


def with_warp_input(model: Model) -> Model:
    """Return a model whose ControlNet is also given the warped picture, which changes nothing yet."""
    if model.config.warp_input:
        return model
    config = model.config.model_copy(update={"warp_input": True})
    control = _control_for(config, model)
    first = control.state_dict()[_FIRST].zero_()
    first[:, : model.config.control_planes] = model.control.state_dict()[_FIRST]
    return replace(model, config=config, control=control)


def with_motion_modules(model: Model) -> Model:
    """Return a model with motion modules, fresh ones, which change nothing yet, where it has none."""
    if model.denoiser.has_motion_modules:
        return model
    config = dict(model.denoiser.config) | {"temporal_transformer_layers_per_block": 1}
    denoiser = build_denoiser(config, model.config.norm_scope)
    denoiser.load_state_dict(model.denoiser.state_dict(), strict=False)
    return replace(model, denoiser=denoiser)


def without_motion_modules(model: Model) -> Model:
    """Return a model of the same spatial layers alone."""
    config = dict(model.denoiser.config) | {"temporal_transformer_layers_per_block": 0}
    denoiser = build_denoiser(config, model.config.norm_scope)
    kept = {key: value for key, value in model.denoiser.state_dict().items() if ".motion_modules." not in key}
    denoiser.load_state_dict(kept)
    return replace(model, denoiser=denoiser)


def with_noise(model: Model, mode: NoiseMode) -> Model:
    """Return a model whose frames have another kind of noise, in training and unless a job says otherwise."""
    return replace(model, config=model.config.model_copy(update={"noise": mode}))
