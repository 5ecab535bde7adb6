"""Model folders: where they are, what is in them, reading and writing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel, UNet2DModel
from torch import Tensor, nn

from magicanimate.errors import InputError, first_line
from magicanimate.files import write_json
from magicanimate.models.compute import Compute
from magicanimate.models.config import FILE_NAME, ModelConfig, read_config
from magicanimate.models.description import (
    DETAIL,
    WEIGHTS_NAME,
    Description,
    chosen_control,
    no_control,
    read_network_config,
)
from magicanimate.models.locations import is_model_folder, model_folder
from magicanimate.models.official import read_official
from magicanimate.models.official_files import PROMPT_NAME
from magicanimate.models.weights import (
    dequantize,
    load_strict,
    read_prompt,
    read_safetensors,
    stored_state,
    to_storage,
    write_prompt,
    write_safetensors,
)
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import Control, build_control
from magicanimate.networks.denoiser import Denoiser, build_denoiser
from magicanimate.networks.detail import build_detail, granularity
from magicanimate.networks.vae import build_vae, pixel_factor

if TYPE_CHECKING:
    from magicanimate.networks.global_embedding import GlobalEmbedding

Storage = Literal["float32", "float16", "bfloat16", "int8"]
INDEX_NAME = "model_index.json"
DIFFUSERS_CLASSES = {
    "denoiser": "UNetMotionModel",
    "appearance": "UNet2DConditionModel",
    "control": "ControlNetModel",
    "vae": "AutoencoderKL",
}
"""The four networks of a model folder, and what diffusers calls them."""
GLOBAL_EMBEDDING = "GlobalEmbedding"  # of a baseline, whose code no other model loads
SHARES = "_shares"
"""Entry of config.json: the network has all weights that its file lacks in common with the one that is named."""
_VAE_EXACT = ("encoder.conv_out", "quant_conv", "decoder.conv_in", "shortcut", "upsamplers")
"""Weights of a VAE that stay float16 among int8 ones: the latents and all pixels pass them, beside no other way."""


@dataclass(frozen=True)
class Model:
    """A complete model: four networks, the empty prompt's embedding `[T, D]`, and the description.

    detail: adds to decoded frames what the picture shows; see networks/detail.py. small_decoder: decodes instead of
    the VAE, if there is one. compute: how the networks are called; see `engine.acceleration`.
    """

    config: ModelConfig
    denoiser: Denoiser
    appearance: UNet2DConditionModel | GlobalEmbedding  # the latter in a baseline of the study
    control: Control
    vae: AutoencoderKL
    empty_prompt: Tensor
    detail: UNet2DModel | None = None
    small_decoder: AutoencoderTiny | None = None
    compute: Compute = field(default_factory=Compute)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by folder name, in the order of data flow."""
        always = {name: getattr(self, name) for name in DIFFUSERS_CLASSES}
        return always if self.detail is None else always | {DETAIL: self.detail}

    @property
    def running(self) -> list[nn.Module]:
        """Return all that compute: the networks, and the small decoder if there is one."""
        return [*self.networks.values(), *([] if self.small_decoder is None else [self.small_decoder])]

    @property
    def device(self) -> torch.device:
        """Device of the networks, taken from one weight: diffusers' own property looks at every layer's hooks, which
        takes milliseconds, and it is read many times a step."""
        return self.compute.device or self.denoiser.conv_norm_out.weight.device

    @property
    def decoder(self) -> AutoencoderKL | AutoencoderTiny:
        """Decoder of latents into pictures."""
        return self.small_decoder or self.vae

    @property
    def dtype(self) -> torch.dtype:
        """The number format that the networks compute in; of one weight, as the device."""
        return self.compute.dtype or self.denoiser.conv_norm_out.weight.dtype

    @property
    def description(self) -> Description:
        """Description of the model, for which no network is needed."""
        return Description(self.config, self.pixel_factor, self.detail is not None)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents that are denoised."""
        return self.vae.config["latent_channels"]

    @property
    def pixel_factor(self) -> int:
        """Pixels per latent along each axis."""
        return pixel_factor(self.vae.config, self.config.patch)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Model:
        """Move the networks in place, and the prompt; returns the model that has both."""
        # Only what is asked for: diffusers warns about every cast, even one to None.
        where = {key: value for key, value in {"device": device, "dtype": dtype}.items() if value is not None}
        self.compute.forget()
        for network in self.running:
            network.to(**where)
        return replace(self, empty_prompt=self.empty_prompt.to(**where))


def load_model(name_or_path: str | Path, dtype: torch.dtype = torch.float32, control: str | None = None) -> Model:
    """Read a model folder, or one in the official layout, ready for inference on the CPU.

    control: the kind of its ControlNet, where the folder has several; by default the model's own.

    Raises InputError that names the file if one is missing, damaged, or does not fit the others; or the kinds of
    control that the model has, if the wanted one is not among them.
    """
    folder = model_folder(name_or_path)
    if not is_model_folder(folder):
        if control not in (None, "densepose"):
            raise no_control(folder, str(control), ["densepose"])
        return Model(**vars(read_official(folder))).to(dtype=dtype)
    config, control_folder = chosen_control(folder, control)
    networks: dict[str, Any] = {
        "denoiser": load_network(folder / "denoiser", lambda c: build_denoiser(c, config.norm_scope), dtype),
        "appearance": load_network(folder / "appearance", build_appearance_kind, dtype),
        "control": load_network(control_folder, build_control, dtype, folder / "control"),
        "vae": load_network(folder / "vae", build_vae, dtype),
        DETAIL: load_network(folder / DETAIL, build_detail, dtype) if (folder / DETAIL).is_dir() else None,
    }
    model = Model(config=config, empty_prompt=read_prompt(folder / PROMPT_NAME, dtype), **networks)
    check_sizes(model, folder)
    return model


def build_appearance_kind(config: Mapping[str, Any]) -> nn.Module:
    """Build the network that takes the reference in: an appearance encoder, or the global embedding of a baseline."""
    if config.get("_class_name") == GLOBAL_EMBEDDING:
        from magicanimate.networks.global_embedding import build_global_embedding

        return build_global_embedding(config)
    return build_appearance(config)


def load_network(
    folder: Path, build: Callable[[Mapping[str, Any]], nn.Module], dtype: torch.dtype, shared: Path | None = None
) -> nn.Module:
    """Load one network of a model folder, for inference.

    shared: folder of the network that it takes all further weights from, if its config.json says that it shares them.
    """
    config = read_network_config(folder / "config.json")
    try:
        with torch.device("meta"):
            network = build(config)
    except Exception as error:  # diffusers checks few of its arguments: anything can come of a spoilt description
        raise InputError(
            f"The network description {folder / 'config.json'} describes no network that can be built "
            f"({first_line(error)}); fetch or save the model again."
        ) from error
    path = folder / WEIGHTS_NAME
    weights = dequantize(read_safetensors(path), dtype)
    if shared is not None and config.get(SHARES):
        weights = dequantize(read_safetensors(shared / WEIGHTS_NAME), dtype) | weights
    load_strict(network, weights, path)
    return network.eval().requires_grad_(False)


def add_control(folder: Path, model: Model) -> Path:
    """Give a model folder a ControlNet of a further kind: that of a model which was trained from this one.

    Weights that are the same as the folder's own ControlNet's are not stored again. Returns the ControlNet's folder.
    Raises InputError if the folder's own ControlNet is of that kind.
    """
    config = read_config(folder)
    kind = model.config.control
    if kind == config.control:
        raise InputError(f"The model {folder.name} has a ControlNet for {kind} already, which is its own.")
    own = dequantize(read_safetensors(folder / "control" / WEIGHTS_NAME), torch.float32)
    new = {
        name: value
        for name, value in stored_state(model.control).items()
        if name not in own or value.shape != own[name].shape or not torch.equal(value.float(), own[name])
    }
    target = folder / f"control_{kind}"
    target.mkdir(exist_ok=True)
    write_safetensors(target / WEIGHTS_NAME, to_storage(new, config.storage))
    arguments = network_config(model.control, DIFFUSERS_CLASSES["control"])
    write_json(target / "config.json", arguments | {SHARES: "control"})
    return target


def check_sizes(model: Model, source: object) -> None:
    """Raise InputError unless the networks of a model fit together."""
    config = model.config
    stem = model.latent_channels + config.coordinates
    width = model.empty_prompt.shape[1]
    expected = {
        ("denoiser", "in_channels"): stem + model.latent_channels * config.reference_input,
        ("denoiser", "out_channels"): model.latent_channels,
        ("appearance", "in_channels"): stem,
        ("control", "in_channels"): stem,
        ("control", "conditioning_channels"): config.control_planes,
        ("vae", "in_channels"): 3 * config.patch**2,
        ("vae", "out_channels"): 3 * config.patch**2,
        ("denoiser", "cross_attention_dim"): width,
        ("appearance", "cross_attention_dim"): width,
        ("control", "cross_attention_dim"): width,
    }
    problems = [
        f"{network}'s {key} is {model.networks[network].config[key]} instead of {value}"
        for (network, key), value in expected.items()
        if model.networks[network].config[key] != value
    ]
    strides = 2 ** (len(model.control.config["conditioning_embedding_out_channels"]) - 1)
    if strides * config.control_stride != model.pixel_factor:
        problems.append(
            f"control shrinks pictures {strides * config.control_stride} times, the VAE {model.pixel_factor} times"
        )
    longest = model.denoiser.config["motion_max_seq_length"]
    if config.window > longest:
        problems.append(f"the window of {config.window} frames exceeds the position table of {longest}")
    if model.detail is not None and model.pixel_factor % granularity(model.detail):
        problems.append(
            f"detail needs pictures in steps of {granularity(model.detail)} pixels, the VAE {model.pixel_factor}"
        )
    if problems:
        raise InputError(f"The parts of the model {source} do not fit together: {'; '.join(problems)}.")


def save_model(model: Model, folder: str | Path, storage: Storage | None = None) -> None:
    """Write a model folder, storing the weights as `storage` (default: as the model's description says).

    The description is written last: a folder is complete if it has one. Raises InputError if it cannot be written.
    """
    folder = Path(folder)
    config = model.config.model_copy(update={"storage": storage or model.config.storage})
    check_sizes(model, folder)
    check_plain(model)
    try:
        for name, network in model.networks.items():
            save_network(folder, name, network, config.storage)
        write_prompt(folder / PROMPT_NAME, model.empty_prompt, config.storage)
        write_description(folder, config, list(model.networks))
    except OSError as error:
        raise InputError(f"The model folder {folder} cannot be written: {error}.") from error


def save_network(folder: Path, name: str, network: nn.Module, storage: str) -> None:
    """Write one network of a model folder; its weights last, so that they tell whether it is complete."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    kind = DIFFUSERS_CLASSES.get(name, UNet2DModel.__name__)
    kind = GLOBAL_EMBEDDING if type(network).__name__ == GLOBAL_EMBEDDING else kind
    write_json(folder / name / "config.json", network_config(network, kind))
    exact = _VAE_EXACT if name == "vae" else ()
    write_safetensors(folder / name / WEIGHTS_NAME, to_storage(stored_state(network), storage, exact))


def write_description(folder: Path, config: ModelConfig, networks: Sequence[str]) -> None:
    """Write what says that a model folder is complete."""
    write_json(folder / INDEX_NAME, model_index(networks))
    write_json(folder / FILE_NAME, config.model_dump(mode="json"))


def check_plain(model: Model) -> None:
    """Raise InputError if weights are no longer as they are stored: in 8 bit, or packed for a CPU."""
    changed = model.compute.fingerprint is not None or any(
        type(weight.data) is not Tensor for network in model.networks.values() for weight in network.parameters()
    )
    if changed:
        raise InputError(
            "The weights of this model are in 8 bit or packed for this processor; load it once more with "
            "dtype='float32' and without quantize, and save that."
        )


def model_index(networks: Sequence[str]) -> dict[str, Any]:
    """Return model_index.json, by which diffusers and the hub know a pipeline's networks."""
    classes = DIFFUSERS_CLASSES | {DETAIL: UNet2DModel.__name__}
    return {
        "_class_name": "MagicAnimatePipeline",
        "_diffusers_version": diffusers.__version__,
        **{name: ["diffusers", classes[name]] for name in networks},
    }


def network_config(network: nn.Module, class_name: str) -> dict[str, Any]:
    """Return a network's config.json, in diffusers' own format."""
    arguments = {key: value for key, value in network.config.items() if not key.startswith("_")}
    return {"_class_name": class_name, "_diffusers_version": diffusers.__version__, **arguments}
