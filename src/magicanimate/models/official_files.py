"""Which files the official checkpoints consist of, where they lie and where to get them. Imports no network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from magicanimate.errors import InputError


@dataclass(frozen=True)
class Part:
    """A file of the layout: alternatives of which the first that exists is read, and where to get it."""

    alternatives: tuple[str, ...]
    hub: str


MAGICANIMATE = "zcxu-eric/MagicAnimate"
STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
VAE = "stabilityai/sd-vae-ft-mse"
FOLDERS = {MAGICANIMATE: "MagicAnimate", STABLE_DIFFUSION: "stable-diffusion-v1-5", VAE: "sd-vae-ft-mse"}

WEIGHTS, PICKLE, CONFIG = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "config.json"


def part(hub: str, *alternatives: str) -> Part:
    """A part by its paths inside a hub repository."""
    return Part(tuple(f"{FOLDERS[hub]}/{path}" for path in alternatives), hub)


PARTS = {
    # Where there are two, the original reads the pickle only; its twin holds the same numbers and is safer to open.
    "unet": part(STABLE_DIFFUSION, f"unet/{WEIGHTS}", f"unet/{PICKLE}"),
    "unet config": part(STABLE_DIFFUSION, f"unet/{CONFIG}"),
    "text encoder": part(STABLE_DIFFUSION, "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"),
    "text encoder config": part(STABLE_DIFFUSION, f"text_encoder/{CONFIG}"),
    "vocabulary": part(STABLE_DIFFUSION, "tokenizer/vocab.json"),
    "merges": part(STABLE_DIFFUSION, "tokenizer/merges.txt"),
    "vae": part(VAE, WEIGHTS, PICKLE),
    "vae config": part(VAE, CONFIG),
    "temporal": part(MAGICANIMATE, "temporal_attention/temporal_attention.ckpt"),
    "control": part(MAGICANIMATE, f"densepose_controlnet/{WEIGHTS}"),
    "control config": part(MAGICANIMATE, f"densepose_controlnet/{CONFIG}"),
    # Some downloads end up in a nested folder of the same name.
    "appearance": part(
        MAGICANIMATE, f"appearance_encoder/{WEIGHTS}", f"appearance_encoder/appearance_encoder/{WEIGHTS}"
    ),
    "appearance config": part(
        MAGICANIMATE, f"appearance_encoder/{CONFIG}", f"appearance_encoder/appearance_encoder/{CONFIG}"
    ),
}


def is_official(root: Path) -> bool:
    """Whether a folder looks like the official layout, complete or not."""
    return any((root / folder).is_dir() for folder in FOLDERS.values())


def locate(root: Path, name: str) -> Path:
    """The file of a part; InputError says which one is missing and where to get it."""
    part = PARTS[name]
    for path in part.alternatives:
        if (root / path).is_file():
            return root / path
    raise InputError(f"{root / part.alternatives[0]} is missing: {where_to_get(part)}.")


def locate_all(root: Path, hubs: Collection[str] = tuple(FOLDERS)) -> Mapping[str, Path]:
    """All files of some hub repositories by the names in PARTS; InputError as of `locate`."""
    return MappingProxyType({name: locate(root, name) for name, part in PARTS.items() if part.hub in hubs})


def where_to_get(part: Part) -> str:
    path = part.alternatives[0].partition("/")[2]
    return f"get {path} from {part.hub} on the Hugging Face hub, or run `magicanimate models fetch`"


def first_alternatives(hub: str) -> list[str]:
    """The files to fetch from one hub repository: of each part the alternative that is read first."""
    return [part.alternatives[0].partition("/")[2] for part in PARTS.values() if part.hub == hub]
