"""Files of the official checkpoints: where they lie, and where to get them. Imports no network."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from magicanimate.errors import InputError


@dataclass(frozen=True)
class Part:
    """A file of the layout: alternatives of which the first that exists is read, and where to get the first one.

    sha256: of the first one, where it was published before; of others the hub says it.
    """

    alternatives: tuple[str, ...]
    hub: str
    sha256: str | None = None

    @property
    def path(self) -> str:
        """The first alternative inside its repository."""
        return self.alternatives[0].partition("/")[2]


MAGICANIMATE = "zcxu-eric/MagicAnimate"
STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
VAE = "stabilityai/sd-vae-ft-mse"
FOLDERS = {MAGICANIMATE: "MagicAnimate", STABLE_DIFFUSION: "stable-diffusion-v1-5", VAE: "sd-vae-ft-mse"}

REVISIONS = {
    MAGICANIMATE: "3d80ae8c50b289e55ee68deecc83afaab9c6a382",
    STABLE_DIFFUSION: "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    VAE: "31f26fdeee1355a5c34592e401dd41e45d25a493",
}
"""Repository -> the commit that is fetched."""
UNET_SHA256 = "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1"
TEXT_ENCODER_SHA256 = "d008943c017f0092921106440254dbbe00b6a285f7883ec8ba160c3faad88334"
VAE_SHA256 = "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815"
PROMPT_NAME = "empty_prompt.safetensors"
"""The empty prompt's embedding, in every model folder; beside the official checkpoints it replaces the text encoder."""

WEIGHTS, PICKLE, CONFIG = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "config.json"


def part(hub: str, *alternatives: str, sha256: str | None = None) -> Part:
    """Make a part of its paths inside a hub repository."""
    return Part(tuple(f"{FOLDERS[hub]}/{path}" for path in alternatives), hub, sha256)


SINGLE_FILES = ("v1-5-pruned-emaonly.safetensors", "v1-5-pruned.safetensors", "v1-5-pruned-emaonly-fp16.safetensors")
"""Stable Diffusion's networks in one file, under the names of before diffusers."""
PARTS = {
    # Where there are two, the original reads the pickle only; its twin holds the same numbers and is safer to open.
    "unet": part(STABLE_DIFFUSION, f"unet/{WEIGHTS}", f"unet/{PICKLE}", *SINGLE_FILES, sha256=UNET_SHA256),
    "unet config": part(STABLE_DIFFUSION, f"unet/{CONFIG}"),
    "text encoder": part(
        STABLE_DIFFUSION, "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin", *SINGLE_FILES,
        sha256=TEXT_ENCODER_SHA256,
    ),
    "text encoder config": part(STABLE_DIFFUSION, f"text_encoder/{CONFIG}"),
    "vocabulary": part(STABLE_DIFFUSION, "tokenizer/vocab.json"),
    "merges": part(STABLE_DIFFUSION, "tokenizer/merges.txt"),
    "vae": part(VAE, WEIGHTS, PICKLE, sha256=VAE_SHA256),
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
}  # fmt: skip
TEXT_PARTS = ("text encoder", "text encoder config", "vocabulary", "merges")


def is_official(root: Path) -> bool:
    """Return True if a folder looks like the official layout, complete or not."""
    return any((root / folder).is_dir() for folder in FOLDERS.values())


@dataclass(frozen=True)
class Files(Mapping[str, Path]):
    """The files of a folder in the official layout by the names in PARTS. InputError for one that is missing."""

    root: Path

    def __getitem__(self, name: str) -> Path:
        return locate(self.root, name)

    def __iter__(self) -> Iterator[str]:
        return iter(PARTS)

    def __len__(self) -> int:
        return len(PARTS)

    @property
    def prompt(self) -> Path | None:
        """The empty prompt's embedding, if it is there."""
        path = self.root / PROMPT_NAME
        return path if path.is_file() else None


def find(root: Path, name: str) -> Path | None:
    """Return the file of a part, if one of its alternatives is there."""
    return next((root / path for path in PARTS[name].alternatives if (root / path).is_file()), None)


def locate(root: Path, name: str) -> Path:
    """Return the file of a part; InputError says which one is missing and where to get it."""
    found = find(root, name)
    if found is None:
        part = PARTS[name]
        raise InputError(
            f"{root / part.alternatives[0]} is missing: get {part.path} from {part.hub} on the Hugging Face hub, or "
            "run `magicanimate models fetch`."
        )
    return found


def locate_all(root: Path, hubs: Collection[str] = tuple(FOLDERS), unet: bool = False) -> Files:
    """Return all files of some hub repositories; InputError as of `locate` for those that are read in any case.

    unet: whether Stable Diffusion's UNet is; a temporal checkpoint may replace it.
    """
    files = Files(root)
    for name in needed_parts(root):
        if PARTS[name].hub in hubs and (unet or name != "unet"):
            locate(root, name)
    return files


def needed_parts(root: Path) -> list[str]:
    """Return the parts that are read: without the text encoder's if the empty prompt's embedding is there."""
    return [name for name in PARTS if not (Files(root).prompt and name in TEXT_PARTS)]
