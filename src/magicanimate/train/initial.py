"""Training at the original's size: Stable Diffusion 1.5 and AnimateDiff as the starting point of all networks."""

import inspect
from pathlib import Path

from diffusers import ControlNetModel, UNet2DConditionModel
from pydantic import BaseModel, ConfigDict, Field

from magicanimate.errors import InputError
from magicanimate.models.config import ModelConfig
from magicanimate.models.model import Model, check_sizes
from magicanimate.models.official import (
    State,
    accepted,
    fill,
    on_meta,
    read_empty_prompt,
    read_json,
    read_vae,
)
from magicanimate.models.official_files import (
    CONFIG,
    FOLDERS,
    STABLE_DIFFUSION,
    VAE,
    WEIGHTS,
    first_alternatives,
    locate_all,
)
from magicanimate.models.weights import is_computed, original_denoiser_config, read_state
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import Control, build_control
from magicanimate.networks.denoiser import Denoiser, build_denoiser

ANIMATEDIFF = "guoyww/animatediff-motion-adapter-v1-5-2"
SOURCES = {
    STABLE_DIFFUSION: (FOLDERS[STABLE_DIFFUSION], first_alternatives(STABLE_DIFFUSION)),
    VAE: (FOLDERS[VAE], first_alternatives(VAE)),
    ANIMATEDIFF: (ANIMATEDIFF.partition("/")[2], [WEIGHTS, CONFIG]),
}
"""Hub repository -> its folder here, and the files that are read from it."""
OWN_CONTROL = ("controlnet_cond_embedding.", "controlnet_down_blocks.", "controlnet_mid_block.")


class InitialWeights(BaseModel):
    """Locations of pretrained weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(description="holds one folder for each of SOURCES; those that are missing are downloaded")
    control: Path | None = Field(
        None, description="trained ControlNet (diffusers format); default: the UNet's encoder with zero outputs"
    )


def initial_model(config: ModelConfig, initial: InitialWeights) -> Model:
    """Return all networks in float32. Raises InputError for files that are missing, damaged or of another size."""
    root = initial.folder
    fetch_missing(root)
    files = locate_all(root, (STABLE_DIFFUSION, VAE))
    unet, source = read_json(files["unet config"]), files["unet"]
    spatial = read_state(source)
    appearance = on_meta(lambda: build_appearance(accepted(UNet2DConditionModel, unet)))
    model = Model(
        config=config,
        denoiser=initial_denoiser(root / SOURCES[ANIMATEDIFF][0], unet, spatial, config),
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


def initial_denoiser(folder: Path, unet: dict, spatial: State, config: ModelConfig) -> Denoiser:
    """Return Stable Diffusion's spatial layers and AnimateDiff's motion modules, the middle block's left out."""
    adapter = read_json(folder / CONFIG)
    motion = {
        "num_attention_heads": adapter.get("motion_num_attention_heads", 8),
        "temporal_position_encoding_max_len": adapter.get("motion_max_seq_length", 32),
    }
    network = on_meta(lambda: build_denoiser(original_denoiser_config(unet, motion), config.norm_scope))
    state = {
        name: value
        for name, value in read_state(folder / WEIGHTS).items()
        if not name.startswith("mid_block.") and not is_computed(name)
    }
    return fill(network, spatial | state, f"Stable Diffusion's weights and {folder / WEIGHTS}")


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


def fetch_missing(root: Path) -> None:
    """Download the repositories that have no folder under `root` yet. Raises InputError that says what to get by hand.

    A folder that is there is taken as it is: what it lacks is said when it is read.
    """
    missing = {hub: place for hub, place in SOURCES.items() if not (root / place[0]).is_dir()}
    if not missing:
        return
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    for hub, (folder, files) in missing.items():
        try:
            snapshot_download(hub, local_dir=root / folder, allow_patterns=files)
        except (HfHubHTTPError, HTTPError, OfflineModeIsEnabled, FileNotFoundError, ConnectionError) as error:
            lists = [f"{', '.join(names)} from {hub} into {root / place}" for hub, (place, names) in missing.items()]
            raise InputError(
                f"The Hugging Face hub cannot be reached: connect, or get by hand {'; '.join(lists)}."
            ) from error
        except OSError as error:
            raise InputError(f"{root / folder} cannot be written: {error}.") from error
