"""The tiny networks of a goldens folder: their weights are made from parameter names, by the rule in its README."""

from __future__ import annotations

import gzip
import json
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn

from magicanimate.models.weights import map_original_key, original_denoiser_config
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import Control, build_control
from magicanimate.networks.denoiser import Denoiser, build_denoiser

Network = TypeVar("Network", bound=nn.Module)


def named_weight(network: str, name: str, shape: tuple[int, ...]) -> Tensor:
    """The value of one parameter, float32 (rounded to float16), derived from its name."""
    r = np.random.RandomState(zlib.crc32(f"{network}/{name}".encode())).standard_normal(shape)
    if len(shape) == 1:
        value = 1 + 0.2 * r if name.endswith("weight") else 0.1 * r
    else:
        fan = 1 if "embedding.weight" in name else int(np.prod(shape[1:]))
        gain = 1.5 if "to_q." in name or "to_k." in name else 1.0
        value = r * gain / np.sqrt(fan)
    return torch.from_numpy(value.astype(np.float16).astype(np.float32))


def sinusoidal_table(shape: tuple[int, ...]) -> Tensor:
    """A position table `[1, length, width]`: sine at even, cosine at odd indices, base 10000."""
    _, length, width = shape
    angle = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-np.log(10000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(shape).float()


@lru_cache
def original_state(folder: Path, network: str) -> dict[str, Tensor]:
    """One network's weights under the original's names."""
    shapes: dict[str, list[int]] = read_json(folder / "tiny_shapes.json")[network]
    return {
        name: sinusoidal_table(tuple(shape)) if name.endswith("pos_encoder.pe")
        else named_weight(network, name, tuple(shape))
        for name, shape in shapes.items()
    }  # fmt: skip


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, which may be compressed."""
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def denoiser_config(folder: Path) -> dict[str, Any]:
    """The golden denoiser's configuration in our terms."""
    unet = read_json(folder / "tiny_configs.json")["unet"]
    return original_denoiser_config(unet, unet["motion_module_kwargs"])


def network_config(folder: Path, network: str) -> dict[str, Any]:
    """The configuration of a network whose constructor arguments are diffusers' own."""
    return read_json(folder / "tiny_configs.json")[network]


def denoiser_state(folder: Path) -> dict[str, Tensor]:
    """The golden denoiser's weights under diffusers' names, without position tables."""
    mapped = {map_original_key(name): value for name, value in original_state(folder, "unet").items()}
    return {name: value for name, value in mapped.items() if name is not None}


def golden_denoiser(folder: Path, norm_scope: str = "window") -> Denoiser:
    """Our denoiser with the golden weights."""
    return filled(build_denoiser(denoiser_config(folder), norm_scope), denoiser_state(folder))


def stock_denoiser(folder: Path) -> UNetMotionModel:
    """The negative control: diffusers' own class with the same weights, perfectly mapped."""
    config = {key: value for key, value in denoiser_config(folder).items() if key != "motion_norm_num_groups"}
    return filled(UNetMotionModel(**config), denoiser_state(folder))


def golden_appearance(folder: Path) -> UNet2DConditionModel:
    """Our appearance encoder with the golden weights."""
    network = build_appearance(network_config(folder, "appearance_encoder"))
    return filled(network, original_state(folder, "appearance_encoder"))


def golden_control(folder: Path) -> Control:
    """Our ControlNet with the golden weights."""
    return filled(build_control(network_config(folder, "controlnet")), original_state(folder, "controlnet"))


def golden_vae(folder: Path) -> AutoencoderKL:
    """The VAE with the golden weights."""
    return filled(AutoencoderKL(**network_config(folder, "vae")), original_state(folder, "vae"))


def filled(network: Network, state: dict[str, Tensor]) -> Network:
    """Load strictly; only the position tables, which are computed, may be missing."""
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("pos_embed.pe")]
    if missing or unexpected:
        raise ValueError(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    return network.eval().requires_grad_(False)
