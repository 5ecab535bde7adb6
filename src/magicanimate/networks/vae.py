"""Between pictures and latents, and the noise that sampling starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from magicanimate.errors import InputError
from magicanimate.networks.build import build
from magicanimate.networks.pixels import depth_to_space, require_multiple, space_to_depth

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderTiny

NoiseMode = Literal["shared", "independent", "static"]


def build_vae(config: Mapping[str, Any]) -> AutoencoderKL:
    """Build a VAE with fresh weights. config: the arguments of diffusers' AutoencoderKL."""
    from diffusers import AutoencoderKL

    return build(AutoencoderKL, config, "VAE")


def pixel_factor(config: Mapping[str, Any], patch: int) -> int:
    """Return pixels per latent along each axis. config: the VAE's."""
    return patch * 2 ** (len(config["block_out_channels"]) - 1)


def encode_images(vae: AutoencoderKL, images_BCHW: Tensor, patch: int = 1) -> Tensor:
    """Encode pictures in [0, 1] to latents `[B, c, h, w]`: the posterior's mean times the scaling factor."""
    require_multiple(images_BCHW.shape[-2], images_BCHW.shape[-1], pixel_factor(vae.config, patch))
    folded = space_to_depth(images_BCHW * 2 - 1, patch)
    return vae.encode(folded).latent_dist.mean * vae.config["scaling_factor"]


def decode_latents(vae: AutoencoderKL | AutoencoderTiny, latents_Bchw: Tensor, patch: int = 1) -> Tensor:
    """Decode latents to pictures `[B, C, H, W]`, clamped to [0, 1]."""
    folded = vae.decode(latents_Bchw / vae.config["scaling_factor"]).sample
    return (depth_to_space(folded, patch) / 2 + 0.5).clamp(0, 1)


def initial_noise(
    seed: int, frames: int, shape: tuple[int, int, int], mode: NoiseMode = "shared", window: int = 16
) -> Tensor:
    """Draw standard normal noise `[1, c, F, h, w]` float32 on the CPU, so that a seed is the same on every device.

    shape: (c, h, w). "shared", the published behavior: one draw of `window` frames, repeated, so that frames k and
    k + window start from identical noise. "independent": every frame its own. "static": all frames the same, so that
    what the motion does not touch stays as it is (less flicker, and texture sticks to the picture). In all modes the
    first frames do not depend on how many follow.
    """
    channels, height, width = shape
    generator = torch.Generator("cpu").manual_seed(seed)
    if mode == "shared":
        draw = torch.randn(1, channels, window, height, width, generator=generator)
        return draw[:, :, torch.arange(frames) % window]
    if mode == "independent":
        each = [torch.randn(1, channels, height, width, generator=generator) for _ in range(frames)]
        return torch.stack(each, dim=2)
    if mode == "static":
        return torch.randn(1, channels, 1, height, width, generator=generator).repeat(1, 1, frames, 1, 1)
    raise InputError(f"Unknown noise mode {mode!r}: choose shared, independent or static.")
