"""Locations of models: inside the package, in the user's cache, or in a named folder. Imports no network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from magicanimate.downloads import cache_folder
from magicanimate.errors import InputError
from magicanimate.models.config import FILE_NAME
from magicanimate.models.official_files import is_official

SHIPPED = Path(__file__).parents[1] / "assets"  # a folder for every model inside the package
OFFICIAL = "magicanimate"  # the name of the official model; its fetched checkpoints lie beside the converted folder
OFFICIAL_CHECKPOINTS = "magicanimate-checkpoints"


def is_model_folder(path: Path) -> bool:
    """Return True if a folder has a model's description, which is written last."""
    return (path / FILE_NAME).is_file()


def named_models() -> dict[str, Path]:
    """List the models that have a name: the shipped ones, those in the cache, and the official checkpoints there."""
    checkpoints = cache_folder() / OFFICIAL_CHECKPOINTS
    found = {OFFICIAL: checkpoints} if is_official(checkpoints) else {}
    for parent in (cache_folder(), SHIPPED):
        found |= {path.parent.name: path.parent for path in sorted(parent.glob(f"*/{FILE_NAME}"))}
    return found


def model_folder(name_or_path: str | Path) -> Path:
    """Find the folder of a model, by path or name: a model folder, or one in the official layout.

    Raises InputError with the choices.
    """
    path, name = Path(name_or_path).expanduser(), str(name_or_path)
    if is_model_folder(path) or is_official(path):
        return path
    known = named_models()
    if name in known:
        return known[name]
    if name == OFFICIAL:
        raise InputError(
            "The official checkpoints are not here: run `magicanimate models fetch`, or give a folder in the official "
            "layout."
        )
    if path.is_dir():
        raise InputError(f"{path} is not a model folder: it has no {FILE_NAME}.")
    raise InputError(f"Unknown model {name!r}: give a model folder or one of {', '.join([*known, OFFICIAL])}.")


def network_size(path: Path) -> dict[str, Any]:
    """Count weights, bytes, and dtypes of a safetensors file, from its header; scales of int8 weights not counted."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            parts = [file.get_slice(name) for name in names if not name.endswith(".scale")]
            weights = sum(math.prod(part.get_shape()) for part in parts)
            formats = sorted({part.get_dtype() for part in parts})
    except (FileNotFoundError, SafetensorError) as error:
        raise InputError(f"{path} is missing or damaged: fetch or convert the model again.") from error
    return {"weights": weights, "bytes": path.stat().st_size, "stored": formats}
