"""The published checkpoints in the layout that the original reads: a `pretrained_models` folder -> networks.

Quirks of those files, and what becomes of them, stand beside the code that meets them. Loading is strict: keys that
are missing are an error; keys too many are one as well, except where `TOLERATED` says why not.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    LDM_UNET_KEY,
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
)
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.models.config import ORIGINAL_SCHEDULE, ModelConfig
from magicanimate.models.official_files import FOLDERS, Files, locate_all
from magicanimate.models.weights import (
    load_strict,
    map_original_key,
    original_denoiser_config,
    read_prompt,
    read_state,
    stored_state,
)
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import Control, build_control
from magicanimate.networks.denoiser import Denoiser, build_denoiser
from magicanimate.networks.vae import build_vae, pixel_factor
from magicanimate.untrusted import read_json_object, tensor_names

if TYPE_CHECKING:
    from transformers import CLIPTextModel

Network = TypeVar("Network", bound=nn.Module)
T = TypeVar("T")
State = dict[str, Tensor]
log = logging.getLogger(__name__)

# The original's inference settings that decide shapes; they are in none of the checkpoints' own config files.
MOTION = {"num_attention_heads": 8, "temporal_position_encoding_max_len": 24}

# Keys that a file may have although the network does not, by network and by how they begin.
TOLERATED = {
    "temporal layers": {"mid_block.motion_modules.": "the original has none in the middle block and drops them"},
    "text encoder": {"embeddings.position_ids": "older libraries stored 0..76 with the weights"},
}


@dataclass
class OfficialModel:
    """The official checkpoints as networks; fields as in `models.Model`."""

    config: ModelConfig
    denoiser: Denoiser
    appearance: UNet2DConditionModel
    control: Control
    vae: AutoencoderKL
    empty_prompt: Tensor


def read_official(root: Path) -> OfficialModel:
    """Read all networks of a folder in the official layout, in float32, on the CPU.

    Raises InputError for a file that is missing, damaged, unsafe or of another model: which, and where to get it.
    """
    files = locate_all(root)
    return OfficialModel(
        config=official_config(files),
        denoiser=read_denoiser(files),
        appearance=read_appearance(files),
        control=read_control(files),
        vae=read_vae(files),
        empty_prompt=read_empty_prompt(files),
    )


def official_config(files: Files) -> ModelConfig:
    """Return the model description of the official checkpoints, with the published inference settings."""
    factor = pixel_factor(meta_vae(files).config, patch=1)
    resolution = int(read_json(files["unet config"]).get("sample_size", 64)) * factor
    return ModelConfig(
        name="magicanimate",
        version="official",
        resolution=(resolution, resolution),
        fps=25.0,
        norm_scope="window",
        window=16,
        overlap=4,
        scheduler=ORIGINAL_SCHEDULE,  # the file that ships with Stable Diffusion is not read
        steps=25,
        guidance=7.5,
        training={"by": "the authors of MagicAnimate (arXiv 2311.16498); " + ", ".join(FOLDERS)},
        licence="see NOTICE.md: BSD-3-Clause, CreativeML OpenRAIL-M (with use restrictions) and MIT",
        limits=[
            "The released checkpoint is not the one of the paper's tables.",
            "Wants motion at 25 frames per second and pictures cropped like the motion.",
        ],
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration file without the library's own entries (those that begin with `_`)."""
    content = read_json_object(path, "The configuration", "fetch it again")
    return {key: value for key, value in content.items() if not key.startswith("_")}


def read_denoiser(files: Files) -> Denoiser:
    """Read the video UNet: Stable Diffusion's spatial layers and MagicAnimate's temporal ones.

    As in the original, spatial weights in the temporal checkpoint win; if it has all of them, Stable Diffusion's UNet
    is not read.
    """
    config, path = read_json(files["unet config"]), files["temporal"]
    network = meta_denoiser(config, files["unet config"])
    state = temporal_state(read_state(path), network, path)
    if missing_spatial(state, network):
        state = read_unet(files["unet"], config) | state
        return fill(network, state, f"{files['unet']} and {path}")
    return fill(network, state, path)


def meta_denoiser(config: Mapping[str, Any], source: Path) -> Denoiser:
    """Build the video UNet of Stable Diffusion's configuration, without storage. InputError: it is another kind's."""
    middle = config.get("mid_block_type") or "UNetMidBlock2DCrossAttn"
    if middle not in ("UNetMidBlock2DCrossAttn", "UNetMidBlock3DCrossAttn"):
        raise InputError(f"{source} names a middle block that this model has not: {middle}.")
    return on_meta(lambda: build_denoiser(original_denoiser_config(config, MOTION)))


def missing_spatial(names: Collection[str | None], network: Denoiser) -> list[str]:
    """Return spatial weights of the network that are not among some names."""
    return [name for name in stored_state(network) if ".motion_modules." not in name and name not in names]


def needs_unet(checkpoint: IO[bytes], config: Path) -> bool:
    """Return True if Stable Diffusion's UNet is needed beside a temporal checkpoint, whose names alone are read.

    checkpoint: local, or on the hub and read in pieces. config: the UNet's. Raises InputError if it cannot be read.
    """
    network = meta_denoiser(read_json(config), config)
    named = plain_names(dict.fromkeys(tensor_names(checkpoint, "The temporal checkpoint")), network)
    return bool(missing_spatial({map_original_key(name) for name in named}, network))


def read_unet(path: Path, config: Mapping[str, Any]) -> State:
    """Read Stable Diffusion's UNet, from its own file or from one of all its networks."""
    state = read_state(path)
    if not any(name.startswith(LDM_UNET_KEY) for name in state):
        return state
    try:
        return dict(convert_ldm_unet_checkpoint(state, config))
    except KeyError as error:
        raise InputError(f"{path} is not Stable Diffusion 1.5 in one file: it lacks {error}.") from error


def plain_names(raw: Mapping[str, T], network: Denoiser) -> dict[str, T]:
    """Read a temporal checkpoint's entries under the original's names.

    Keys that begin with `module.` lose everything up to its last occurrence. If keys are then unknown, only those of
    motion modules count, without a leading `unet.`.
    """
    known = set(network.state_dict())
    named = {name.rpartition("module.")[2] if name.startswith("module.") else name: raw[name] for name in raw}
    if unknown_keys(named, known):
        named = {name.removeprefix("unet."): value for name, value in named.items() if "motion_modules" in name}
    return named


def temporal_state(raw: Mapping[str, Tensor], network: Denoiser, path: Path) -> State:
    """Return the temporal checkpoint's weights under diffusers' names.

    Position tables must be the ordinary ones of the right length: they are computed, not loaded. Raises InputError for
    keys that are unknown.
    """
    named = plain_names(raw, network)
    unknown = unknown_keys(named, set(network.state_dict()))
    if unknown or not named:
        raise InputError(f"{path} is not MagicAnimate's temporal checkpoint: {listed(unknown) or 'no motion modules'}.")
    state = {}
    for name, value in named.items():
        if is_tolerated("temporal layers", name):
            continue
        mapped = map_original_key(name)
        if mapped is None:
            check_position_table(name, value, path)
        else:
            state[mapped] = value
    return state


def unknown_keys(named: Collection[str], known: set[str]) -> list[str]:
    """Return original names that the denoiser has no place for; a position table belongs to its attention layer."""

    def is_known(name: str) -> bool:
        if is_tolerated("temporal layers", name):
            return True
        mapped = map_original_key(name)
        if mapped is None:
            mapped = map_original_key(name.replace("pos_encoder.pe", "to_q.weight"))
        return mapped in known

    return [name for name in named if not is_known(name)]


def check_position_table(name: str, table: Tensor, path: Path) -> None:
    """Raise InputError unless a stored table `[1, T, D]` is the sinusoidal one of the expected length."""
    length = MOTION["temporal_position_encoding_max_len"]
    if table.ndim != 3 or table.shape[1] != length:
        raise InputError(f"{path}: the position table {name} has shape {list(table.shape)}, not length {length}.")
    expected = SinusoidalPositionalEmbedding(table.shape[2], max_seq_length=length).pe
    if not torch.allclose(table.float(), expected, atol=0.01):  # files may be in 16 bit
        raise InputError(f"{path}: the position table {name} is not the sinusoidal one, and no other is supported.")


def read_control(files: Files) -> Control:
    """Read the DensePose ControlNet; its names are diffusers' own."""
    config = accepted(ControlNetModel, read_json(files["control config"]))
    path = files["control"]
    return fill(on_meta(lambda: build_control(config)), read_state(path), path, extra_is_error=False)


def read_appearance(files: Files) -> UNet2DConditionModel:
    """Read the appearance encoder: a 2D UNet without its unread end."""
    config = accepted(UNet2DConditionModel, read_json(files["appearance config"]))
    path = files["appearance"]
    network = on_meta(lambda: build_appearance(config))
    return fill(network, read_state(path), path, extra_is_error=False)


def read_vae(files: Files) -> AutoencoderKL:
    """Read the VAE, whose attention layers may have the names of older diffusers versions."""
    path = files["vae"]
    return fill(meta_vae(files), rename_vae_attention(read_state(path)), path)


def meta_vae(files: Files) -> AutoencoderKL:
    """Build the VAE without storage."""
    config = accepted(AutoencoderKL, read_json(files["vae config"]))
    return on_meta(lambda: build_vae(config))


def rename_vae_attention(state: Mapping[str, Tensor]) -> State:
    """Old names of the attention projections, `query key value proj_attn`, to today's."""
    names = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

    def renamed(name: str) -> str:
        layer, _, kind = name.rpartition(".")
        parent, _, last = layer.rpartition(".")
        return f"{parent}.{names[last]}.{kind}" if ".attentions." in name and last in names else name

    return {renamed(name): value for name, value in state.items()}


def read_empty_prompt(files: Files) -> Tensor:
    """Compute the text encoder's last hidden states `[77, D]` for the empty prompt, which all official programs use.

    They are computed only where they do not lie beside the checkpoints.
    """
    if files.prompt:
        return read_prompt(files.prompt)
    try:
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise InputError(
            "Reading the official text encoder needs transformers: pip install 'magicanimate[official]'."
        ) from error
    config = CLIPTextConfig(**read_json(files["text encoder config"]))
    path = files["text encoder"]
    encoder = CLIPTextModel(config)
    fill(text_model(encoder), text_state(read_state(path)), path)
    tokenizer = CLIPTokenizer.from_pretrained(files["vocabulary"].parent)
    length = config.max_position_embeddings
    ids = tokenizer("", padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(ids).last_hidden_state[0]


def text_model(encoder: CLIPTextModel) -> nn.Module:
    """Return the module that holds the weights: one level down in older versions of transformers."""
    return getattr(encoder, "text_model", encoder)


def text_state(state: Mapping[str, Tensor]) -> State:
    """Return the text encoder's own weights, of those in its file or in one of all networks."""
    state = convert_ldm_clip_checkpoint(state) or state
    named = {name.removeprefix("text_model."): value for name, value in state.items()}
    return {name: value for name, value in named.items() if not is_tolerated("text encoder", name)}


def accepted(network: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that the class takes today; others, of files of other versions, are reported."""
    names = inspect.signature(network).parameters
    extra = sorted(set(config) - set(names))
    if extra:
        log.warning("%s: settings without a counterpart are ignored: %s", network.__name__, listed(extra))
    return {key: value for key, value in config.items() if key in names}


def on_meta(make: Callable[[], Network]) -> Network:
    """A network without storage, which `fill` provides: no time is spent on drawing weights to be replaced."""
    with torch.device("meta"):
        return make()


def fill(network: Network, state: State, source: object, extra_is_error: bool = True) -> Network:
    """Load strictly, in float32, for inference. source: where the weights are from.

    extra_is_error=False: as in the original, keys too many are reported and left out.
    """
    if not extra_is_error:
        wanted = stored_state(network)
        extra = [name for name in state if name not in wanted]
        if extra:
            log.warning("%s: %d weights are not needed: %s", source, len(extra), listed(extra))
        state = {name: value for name, value in state.items() if name in wanted}
    load_strict(network, {name: value.float() for name, value in state.items()}, source)
    return network.eval().requires_grad_(False)


def is_tolerated(what: str, name: str) -> bool:
    return any(name.startswith(prefix) for prefix in TOLERATED[what])


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names for a message: the first few, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
