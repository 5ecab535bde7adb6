"""Training at the original's size: Stable Diffusion 1.5 and AnimateDiff as the starting point of all networks."""

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers
from pydantic import BaseModel, ConfigDict, Field

from magicanimate.models.config import ModelConfig
from magicanimate.models.model import Model, check_sizes
from magicanimate.models.official import (
    State,
    accepted,
    fill,
    on_meta,
    read_empty_prompt,
    read_json,
    read_unet,
    read_vae,
)
from magicanimate.models.official_files import (
    CONFIG,
    FOLDERS,
    PARTS,
    STABLE_DIFFUSION,
    VAE,
    WEIGHTS,
    Part,
    locate_all,
)
from magicanimate.models.place_files import place_parts
from magicanimate.models.weights import is_computed, original_denoiser_config, read_state
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import Control, build_control
from magicanimate.networks.denoiser import Denoiser, build_denoiser

ANIMATEDIFF = {
    "v2": "guoyww/animatediff-motion-adapter-v1-5-2",
    "v3": "guoyww/animatediff-motion-adapter-v1-5-3",
}
ANIMATEDIFF_LENGTH = 32
"""Frames that the position tables of both versions have, where no configuration says it."""
OWN_CONTROL = ("controlnet_cond_embedding.", "controlnet_down_blocks.", "controlnet_mid_block.")


class InitialWeights(BaseModel):
    """Locations of pretrained weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(
        description="holds stable-diffusion-v1-5, sd-vae-ft-mse and AnimateDiff's folder; missing ones are downloaded"
    )
    motion: Literal["v2", "v3"] | Path = Field(
        "v2", description="AnimateDiff's motion modules: a version, or a file as AnimateDiff itself publishes them"
    )
    control: Path | None = Field(
        None, description="trained ControlNet (diffusers format); default: the UNet's encoder with zero outputs"
    )


def initial_model(config: ModelConfig, initial: InitialWeights) -> Model:
    """Return all networks in float32. Raises InputError for files that are missing, damaged or of another size."""
    root = initial.folder
    fetch_missing(root, initial.motion)
    files = locate_all(root, (STABLE_DIFFUSION, VAE), unet=True)
    unet, source = read_json(files["unet config"]), files["unet"]
    spatial = read_unet(source, unet)
    appearance = on_meta(lambda: build_appearance(accepted(UNet2DConditionModel, unet)))
    model = Model(
        config=config,
        denoiser=initial_denoiser(motion_modules(initial), unet, spatial, config),
        appearance=fill(appearance, own_copy(spatial), source, extra_is_error=False),
        control=initial_control(initial.control, unet, own_copy(spatial), source),
        vae=read_vae(files),
        empty_prompt=read_empty_prompt(files),
    )
    check_sizes(model, root)
    return model


def own_copy(state: State) -> State:
    """Give a network weights of its own: loading shares tensors, and networks that share them train each other."""
    return {name: value.clone() for name, value in state.items()}


@dataclass(frozen=True)
class MotionModules:
    """AnimateDiff's weights under diffusers' names, where from, their attention heads, and the frames of its tables."""

    state: State
    source: Path
    heads: int = 8
    length: int = ANIMATEDIFF_LENGTH


def motion_modules(initial: InitialWeights) -> MotionModules:
    """AnimateDiff's motion modules, the middle block's left out."""
    if isinstance(initial.motion, Path):
        plain = {name.removeprefix("module."): value for name, value in read_state(initial.motion).items()}
        found = MotionModules(convert_animatediff_checkpoint_to_diffusers(plain), initial.motion)
    else:
        folder = initial.folder / folder_of(ANIMATEDIFF[initial.motion])
        adapter = read_json(folder / CONFIG)
        found = MotionModules(
            read_state(folder / WEIGHTS),
            folder / WEIGHTS,
            adapter.get("motion_num_attention_heads", 8),
            adapter.get("motion_max_seq_length", ANIMATEDIFF_LENGTH),
        )
    kept = {
        name: value
        for name, value in found.state.items()
        if not name.startswith("mid_block.") and not is_computed(name)
    }
    return replace(found, state=kept)


def initial_denoiser(motion: MotionModules, unet: dict, spatial: State, config: ModelConfig) -> Denoiser:
    """Stable Diffusion's spatial layers and AnimateDiff's motion modules."""
    sizes = {"num_attention_heads": motion.heads, "temporal_position_encoding_max_len": motion.length}
    network = on_meta(lambda: build_denoiser(original_denoiser_config(unet, sizes), config.norm_scope))
    return fill(network, spatial | motion.state, f"Stable Diffusion's weights and {motion.source}")


def initial_control(folder: Path | None, unet: dict, spatial: State, source: Path) -> Control:
    """Load a trained ControlNet, or copy the UNet's encoder with a fresh condition embedding and zero outputs."""
    if folder is not None:
        trained = accepted(ControlNetModel, read_json(folder / CONFIG))
        return fill(on_meta(lambda: build_control(trained)), read_state(folder / WEIGHTS), folder / WEIGHTS)
    shared = inspect.signature(ControlNetModel).parameters
    network = build_control({key: value for key, value in unet.items() if key in shared})
    fresh = network.state_dict()
    own = {name: value for name, value in fresh.items() if name.startswith(OWN_CONTROL)}
    copied = {name: value for name, value in spatial.items() if name in fresh}
    return fill(network, copied | own, source)


def fetch_missing(root: Path, motion: str | Path) -> None:
    """Download the repositories that have no folder under `root` yet. Raises InputError that says what to get by hand.

    A folder that is there is taken as it is: what it lacks is said when it is read.
    """
    parts = [part for part in PARTS.values() if part.hub in (STABLE_DIFFUSION, VAE)]
    if isinstance(motion, str):
        hub = ANIMATEDIFF[motion]
        parts += [Part((f"{folder_of(hub)}/{name}",), hub) for name in (WEIGHTS, CONFIG)]
    place_parts([part for part in parts if not (root / folder_of(part.hub)).is_dir()], root)


def folder_of(hub: str) -> str:
    """The folder that a hub repository has here."""
    return FOLDERS.get(hub, hub.partition("/")[2])
