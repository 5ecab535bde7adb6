"""Description of a model folder, for which no network is read. Imports no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicanimate.errors import InputError
from magicanimate.models.config import ENCODINGS, ModelConfig, read_config
from magicanimate.networks.vae import pixel_factor
from magicanimate.untrusted import read_json_object

WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
DETAIL = "detail"
"""Folder of the network that mends drawings, a UNet2DModel, which not every model has."""
_LARGEST, _LARGEST_LIST = 2**20, 64  # numbers, and lengths of lists, in descriptions of networks


@dataclass(frozen=True)
class Description:
    """A model without its networks. pixel_factor: pixels per latent along each axis, of which canvases are multiples.
    has_detail: it has a detail network, which mends drawings."""

    config: ModelConfig
    pixel_factor: int
    has_detail: bool

    @property
    def draws_alone(self) -> bool:
        """True if a picture's people are drawn as they move, and no network changes the drawing."""
        return self.config.warp_input and not self.has_detail


def describe_model(folder: Path, control: str | None = None) -> Description:
    """Read a model folder's description. Raises InputError for what is missing, or a kind of control it has not."""
    config, control_folder = chosen_control(folder, control)
    has_detail = (folder / DETAIL).is_dir()
    networks = [folder / name for name in ("denoiser", "appearance", "vae", *([DETAIL] if has_detail else []))]
    for path in (network / WEIGHTS_NAME for network in [*networks, control_folder]):
        if not path.is_file():
            raise InputError(f"The weights {path} are missing.")
    path = folder / "vae" / "config.json"
    vae = read_network_config(path)
    if not isinstance(vae.get("block_out_channels"), list):
        raise InputError(f"The network description {path} has no block_out_channels; fetch or save the model again.")
    return Description(config, pixel_factor(vae, config.patch), has_detail)


def control_folders(folder: Path, config: ModelConfig) -> dict[str, Path]:
    """Return the ControlNets of a model folder by kind: `control` is of the model's own, `control_KIND` of another."""
    others = {kind: folder / f"control_{kind}" for kind in ENCODINGS if kind != config.control}
    own: dict[str, Path] = {config.control: folder / "control"}
    return own | {kind: path for kind, path in others.items() if path.is_dir()}


def chosen_control(folder: Path, control: str | None) -> tuple[ModelConfig, Path]:
    """Return a model folder's description with one of its ControlNets, and that one's folder.

    control: its kind; default: the model's own. Raises InputError that names the kinds there are.
    """
    config = read_config(folder)
    kinds = control_folders(folder, config)
    if control and control not in kinds:
        raise no_control(folder, control, list(kinds))
    kind = control or config.control
    return config.with_control(kind), kinds[kind]


def no_control(folder: Path, control: str, present: list[str]) -> InputError:
    """Return the error for a kind of control that a model has no ControlNet for."""
    return InputError(
        f"The model {folder.name} has no ControlNet for {control}; it takes {' and '.join(present)} as --control."
    )


def read_network_config(path: Path) -> dict[str, Any]:
    """Read a network's config.json. Raises InputError that names the file."""
    config = read_json_object(path, "The network description", "fetch or save the model again")
    for name, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) > _LARGEST_LIST or any(isinstance(n, int | float) and not abs(n) <= _LARGEST for n in numbers):
            raise InputError(f"The network description {path} has a {name} that no network has; fetch the model again.")
    return config
