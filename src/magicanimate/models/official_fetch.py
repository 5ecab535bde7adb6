"""Fetches the official checkpoints: pinned, checked, resumed; from the hub's own cache what is there already."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from magicanimate.errors import InputError
from magicanimate.media.claim import claimed
from magicanimate.models.notices import write_notices
from magicanimate.models.official_files import (
    FOLDERS,
    PARTS,
    PROMPT_NAME,
    SINGLE_FILES,
    STABLE_DIFFUSION,
    TEXT_PARTS,
    Files,
    find,
    needed_parts,
)
from magicanimate.models.place_files import link, place_parts

Say = Callable[[str], object]
_NETWORKS = {
    "vae": ("vae config", "vae"),
    "control": ("control config", "control"),
    "appearance": ("appearance config", "appearance"),
    "denoiser": ("unet config", "temporal", "unet"),
}
"""Network of a model folder -> the parts that it is read from."""


def fetch_official(root: Path, single_file: Path | None, say: Say) -> None:
    """Download what is missing of the official checkpoints to `root`, a folder in the official layout.

    Stable Diffusion's UNet is left out if the temporal checkpoint has all its weights, and the text encoder if the
    empty prompt's embedding is there. single_file: see `use_single_file`. say: is told what is left out.

    Raises:
        InputError: the hub cannot be reached (it says which files to get, and where), or a file is not the expected
            one.
    """
    root.mkdir(parents=True, exist_ok=True)
    with claimed(root):
        if single_file:
            use_single_file(root, single_file)
        fetch_parts(root, needed_parts(root), say)


def fetch_converted(out: Path, storage: str, single_file: Path | None, say: Say) -> None:
    """Download the official checkpoints and write them as a model folder, one network after the other.

    A network's files are removed when it is written, so that only one network is there twice. Until all are written
    they lie in a folder beside `out`, from which a later call goes on.

    Raises:
        InputError: as `fetch_official`, and for files that cannot be read.
    """
    from magicanimate.models import official
    from magicanimate.models.description import WEIGHTS_NAME
    from magicanimate.models.model import save_network, write_description
    from magicanimate.models.weights import write_prompt

    part = out.with_name(f"{out.name}.{storage}.part")
    root = part / "checkpoints"
    files = Files(root)
    root.mkdir(parents=True, exist_ok=True)
    with claimed(part):
        if single_file:
            use_single_file(root, single_file)
        if not (part / PROMPT_NAME).is_file():
            fetch_parts(root, TEXT_PARTS, say)
            write_prompt(part / PROMPT_NAME, official.read_empty_prompt(files), storage)
        for name, parts in _NETWORKS.items():
            if not (part / name / WEIGHTS_NAME).is_file():
                fetch_parts(root, parts, say)
                say(f"Converting {name} to {storage}.")
                save_network(part, name, getattr(official, f"read_{name}")(files), storage)
            remove_parts(root, [name for name in parts if "config" not in name])
        fetch_parts(root, ["unet config", "vae config"], say)  # which may be gone if this was interrupted below
        config = official.official_config(files).model_copy(update={"storage": storage})
        write_notices(part, root, official=True)
        write_description(part, config, list(_NETWORKS))
        shutil.rmtree(root)
        os.replace(part, out)


def fetch_parts(root: Path, names: Sequence[str], say: Say) -> None:
    """Put parts that are missing where they belong. InputError as of `fetch_official`."""
    missing = [name for name in names if not find(root, name)]
    unet = [PARTS["unet"]] if "unet" in missing else []
    place_parts([PARTS[name] for name in missing if name != "unet"], root, later=unet)
    if unet and unet_is_needed(root):
        place_parts(unet, root)
    elif unet:
        say("The temporal checkpoint has all weights of Stable Diffusion's UNet, which is not fetched.")


def unet_is_needed(root: Path) -> bool:
    """Return True if the temporal checkpoint lacks spatial weights."""
    from magicanimate.models.official import needs_unet

    files = Files(root)
    with files["temporal"].open("rb") as file:
        return needs_unet(file, files["unet config"])


def use_single_file(root: Path, path: Path) -> None:
    """Take Stable Diffusion's UNet and text encoder from one file. InputError: it is not there or no safetensors."""
    if path.suffix != ".safetensors" or not path.is_file():
        raise InputError(f"{path} is not a safetensors file of Stable Diffusion 1.5.")
    target = root / FOLDERS[STABLE_DIFFUSION] / SINGLE_FILES[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    link(path, target)


def remove_parts(root: Path, names: Sequence[str]) -> None:
    """Remove the files of parts."""
    for name in names:
        for path in PARTS[name].alternatives:
            (root / path).unlink(missing_ok=True)
