"""A complete folder in the official layout, with the goldens' tiny networks under the original's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from golden_networks import original_state, read_json, sinusoidal_table
from magicanimate.models.official_files import CONFIG, PICKLE, WEIGHTS

GOLDENS = Path(__file__).resolve().parent / "golden"
OLD_VAE_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def write_official_folder(root: Path) -> Path:
    """Write every file of the layout, with the quirks that the published ones have or may have."""
    configs = read_json(GOLDENS / "tiny_configs.json")
    unet = original_state(GOLDENS, "unet")
    spatial = {name: value for name, value in unet.items() if "motion_modules" not in name}
    diffusion, original = root / "stable-diffusion-v1-5", root / "MagicAnimate"

    write_config(diffusion / "unet", spatial_config(configs["unet"]), "UNet2DConditionModel")
    save_pickle(spatial, diffusion / "unet" / PICKLE)
    write_config(diffusion / "text_encoder", configs["text_encoder"], "CLIPTextModel")
    save_pickle(text_state(), diffusion / "text_encoder" / "pytorch_model.bin")
    write_tokenizer(diffusion / "tokenizer")

    save_pickle(
        {"state_dict": decorated(temporal_state()), "epoch": 3}, original / "temporal_attention/temporal_attention.ckpt"
    )
    write_config(original / "densepose_controlnet", configs["controlnet"], "ControlNetModel")
    save(original_state(GOLDENS, "controlnet"), original / "densepose_controlnet" / WEIGHTS)
    nested = original / "appearance_encoder" / "appearance_encoder"
    write_config(nested, configs["appearance_encoder"], "AppearanceEncoderModel")
    save(original_state(GOLDENS, "appearance_encoder"), nested / WEIGHTS)

    write_config(root / "sd-vae-ft-mse", configs["vae"], "AutoencoderKL")
    save(old_names(original_state(GOLDENS, "vae")), root / "sd-vae-ft-mse" / WEIGHTS)
    return root


def temporal_state() -> dict[str, Tensor]:
    """The temporal layers with their position tables, which the goldens' list of parameters leaves out."""
    unet = original_state(GOLDENS, "unet")
    temporal = {name: value for name, value in unet.items() if "motion_modules" in name}
    queries = {name: value for name, value in temporal.items() if name.endswith(".to_q.weight")}
    tables = {
        name.replace("to_q.weight", "pos_encoder.pe"): sinusoidal_table((1, 24, value.shape[1]))
        for name, value in queries.items()
    }
    return temporal | tables


def spatial_config(config: dict[str, Any]) -> dict[str, Any]:
    """The 2D configuration that ships with Stable Diffusion, which the original rewrites to its 3D one."""
    blocks = {key: [name.replace("3D", "2D") for name in config[key]] for key in ("down_block_types", "up_block_types")}
    own = {key: value for key, value in config.items() if "motion_module" not in key and not key.startswith("unet_")}
    return {**own, **blocks}


def decorated(temporal: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the prefix of a data-parallel wrapper, and a middle block's layer, which the original drops."""
    middle = "mid_block.motion_modules.0.temporal_transformer.proj_in.weight"
    return {f"module.{name}": value for name, value in {**temporal, middle: torch.ones(64, 64)}.items()}


def old_names(vae: dict[str, Tensor]) -> dict[str, Tensor]:
    def renamed(name: str) -> str:
        for new, old in OLD_VAE_NAMES.items():
            name = name.replace(new, old)
        return name

    return {renamed(name): value for name, value in vae.items()}


def text_state() -> dict[str, Tensor]:
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    return {**original_state(GOLDENS, "text_encoder"), **positions}


def write_tokenizer(folder: Path) -> None:
    """A vocabulary of 64 tokens that ends in the start and end tokens, as the tiny text encoder expects."""
    vocabulary = {f"w{index}</w>": index for index in range(62)} | {"<|startoftext|>": 62, "<|endoftext|>": 63}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def write_config(folder: Path, config: dict[str, Any], name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({"_class_name": name, "_diffusers_version": "0.21.4", **config}))


def save(state: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, path)


def save_pickle(content: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
