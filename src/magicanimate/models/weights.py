"""Names and formats of weights: the original's names, strict loading, int8 storage, safe files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.files import atomic_path
from magicanimate.untrusted import read_tensors

PROMPT_KEY = "embedding"
COMPUTED = ("pos_embed.pe",)  # sinusoidal position tables: the same in every model of a size, so never stored
STORAGE_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SCALE_SUFFIX = ".scale"
INT8_MAX = 127
LFS_POINTER = b"version https://git-lfs"  # how a file begins that was cloned without git-lfs
SMALLEST_SCALE = 1e-7  # above float16's smallest number, so that a row of zeros does not divide by zero

# Original name of a part of a temporal transformer -> diffusers' name. The original wraps each transformer once more.
TEMPORAL_NAMES = (
    (re.compile(r"\.temporal_transformer\."), "."),
    (re.compile(r"\.attention_blocks\.0\."), ".attn1."),
    (re.compile(r"\.attention_blocks\.1\."), ".attn2."),
    (re.compile(r"\.norms\.0\."), ".norm1."),
    (re.compile(r"\.norms\.1\."), ".norm2."),
    (re.compile(r"\.ff_norm\."), ".norm3."),
)
ORIGINAL_TEMPORAL_GROUPS = 32  # hard-coded in the original, whatever the spatial layers have


def map_original_key(name: str) -> str | None:
    """Map a parameter's name in the original's video UNet to diffusers'; None for position tables, which are computed.

    Spatial names are the same in both.
    """
    if name.endswith("pos_encoder.pe"):
        return None
    if ".motion_modules." in name:
        for pattern, replacement in TEMPORAL_NAMES:
            name = pattern.sub(replacement, name)
    return name


def original_denoiser_config(unet: Mapping[str, Any], motion: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration for `build_denoiser` of an original checkpoint.

    unet: config.json of the spatial UNet; what it calls attention_head_dim is the number of heads.
    motion: `motion_module_kwargs` of the original's inference settings.
    """
    same = (
        "in_channels", "out_channels", "block_out_channels", "layers_per_block", "downsample_padding",
        "mid_block_scale_factor", "act_fn", "norm_num_groups", "norm_eps", "cross_attention_dim", "sample_size",
    )  # fmt: skip
    blocks = {
        key: tuple(re.sub(r"(2D|3D)$", "Motion", block) for block in unet[key])
        for key in ("down_block_types", "up_block_types")
    }
    return {
        **{key: unet[key] for key in same if key in unet},
        **blocks,
        "num_attention_heads": unet["attention_head_dim"],
        "motion_num_attention_heads": motion["num_attention_heads"],
        "motion_max_seq_length": motion["temporal_position_encoding_max_len"],
        "motion_norm_num_groups": ORIGINAL_TEMPORAL_GROUPS,
        "use_motion_mid_block": False,
    }


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file. Raises InputError that names the file if it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"The weights {path} are missing.") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"The weights {path} are damaged or not in safetensors format: {error}.") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Read weights by name from a safetensors file or a pickle, which may run no code and keep them in `state_dict`.

    Raises InputError that names the file if it is missing, damaged, or holds anything but tensors.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise InputError(f"The weights {path} are missing.") from error
    if start == LFS_POINTER:
        raise InputError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull`, or fetch the file itself.")
    if path.suffix == ".safetensors":
        state: Any = read_safetensors(path)
    else:
        state = read_tensors(path, "The weights file", "fetch it again")
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not (isinstance(state, Mapping) and state and all(isinstance(value, Tensor) for value in state.values())):
        raise InputError(f"The weights {path} hold no state dict, that is no tensors by name.")
    return dict(state)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write atomically: a temporary file in the same folder, then renamed."""
    try:
        with atomic_path(path) as temporary:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
    except (SafetensorError, OSError) as error:
        raise InputError(f"The weights {path} cannot be written: {error}.") from error


def read_prompt(path: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    """Read the empty prompt's embedding `[T, D]`. Raises InputError for missing, damaged, or other files."""
    prompt = dequantize(read_safetensors(path), dtype).get(PROMPT_KEY)
    if prompt is None or prompt.ndim != 2:
        raise InputError(f"{path} must hold one tensor {PROMPT_KEY!r} of two dimensions.")
    return prompt


def write_prompt(path: Path, prompt: Tensor, storage: str) -> None:
    """Write the empty prompt's embedding `[T, D]`.

    One row of two dimensions would be quantized like a weight; it is small, so it is not.
    """
    write_safetensors(path, to_storage({PROMPT_KEY: prompt}, storage, exact=(PROMPT_KEY,)))


def stored_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state without what is computed anyway."""
    return {name: value for name, value in network.state_dict().items() if not is_computed(name)}


def is_computed(name: str) -> bool:
    """Return True if a name belongs to a table that is computed and neither stored nor read: see COMPUTED."""
    return name.endswith(COMPUTED)


def load_strict(network: nn.Module, state: Mapping[str, Tensor], source: object) -> None:
    """Put weights into a network that was built on the meta device.

    Raises one InputError with every missing, unexpected and misshapen name; `source` says where the weights are from.
    Computed tables may be missing or present.
    """
    wanted = stored_state(network)
    given = {name: value for name, value in state.items() if not is_computed(name)}
    if problems := misfits(wanted, given):
        raise InputError(f"The weights {source} do not fit the network ({len(problems)}): {'; '.join(problems)}.")
    network.load_state_dict(given, strict=False, assign=True)
    fill_computed(network)


def misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Say which weights are missing, unexpected or of another shape."""
    problems = [f"missing {name}" for name in wanted if name not in given]
    problems += [f"unexpected {name}" for name in given if name not in wanted]
    return problems + [
        f"{name} has shape {list(given[name].shape)} instead of {list(value.shape)}"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]


def fill_computed(network: nn.Module) -> None:
    """Compute the position tables that the meta device left empty, in the network's number format."""
    dtype = next(network.parameters()).dtype
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SinusoidalPositionalEmbedding) and child.pe.is_meta:
                _, length, width = child.pe.shape
                setattr(module, name, SinusoidalPositionalEmbedding(width, length).to(dtype))


def to_storage(state: Mapping[str, Tensor], storage: str, exact: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Convert floating point weights for storage: float32, float16, bfloat16 or int8; exact: see `quantize_int8`."""
    if storage == "int8":
        return quantize_int8(state, exact)
    dtype = STORAGE_DTYPES[storage]
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}


def quantize_int8(state: Mapping[str, Tensor], exact: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Store weights of two and more dimensions as int8 with a float16 scale per output channel, the others as float16.

    `name` becomes int8 and `name.scale` holds one factor per first index; name * scale is the weight again.
    exact: weights whose names have one of these in them are float16 too.
    """
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if not value.is_floating_point():
            stored[name] = value
        elif value.ndim < 2 or any(part in name for part in exact):
            stored[name] = value.to(torch.float16)
        else:
            weight = value.float()
            scale = (weight.flatten(1).abs().amax(1) / INT8_MAX).clamp(min=SMALLEST_SCALE).to(torch.float16)
            levels = (weight / align(scale, weight)).round().clamp(-INT8_MAX, INT8_MAX)
            stored[name], stored[name + SCALE_SUFFIX] = levels.to(torch.int8), scale
    return stored


def dequantize(state: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Undo `quantize_int8`, and bring all floating point weights to `dtype`."""
    full: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(SCALE_SUFFIX) and name.removesuffix(SCALE_SUFFIX) in state:
            continue
        scale = state.get(name + SCALE_SUFFIX)
        if scale is not None:
            full[name] = (value.float() * align(scale, value)).to(dtype)
        else:
            full[name] = value.to(dtype) if value.is_floating_point() else value
    return full


def align(scale_O: Tensor, weight: Tensor) -> Tensor:
    """Reshape a scale per output channel, float32, to multiply a weight `[O, ...]`."""
    return scale_O.float().reshape(-1, *[1] * (weight.ndim - 1))
