"""`magicanimate models`: list, inspect, convert and fetch models."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from magicanimate.cli.commands import Command, Group
from magicanimate.errors import InputError
from magicanimate.files import atomic_path

app = typer.Typer(
    cls=Group, no_args_is_help=True, add_completion=False, help="List, inspect, convert and fetch models."
)


class Storage(StrEnum):
    """Dtypes in which weights are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


@app.command("list", cls=Command)
def list_models() -> None:
    """The models that can be given by name, and where they are."""
    from magicanimate.models.locations import OFFICIAL, SHIPPED, is_model_folder, named_models

    found = named_models()
    for name, folder in found.items():
        kind = "shipped" if folder.parent == SHIPPED else "converted" if is_model_folder(folder) else "fetched"
        typer.echo(f"{name:14} {kind:12} {megabytes(folder_bytes(folder)):>10}  {folder}")
    if OFFICIAL not in found:
        typer.echo(f"{OFFICIAL:14} {'not here':12} {'':>10}  run `magicanimate models fetch` (about 11 GB)")


@app.command(cls=Command)
def info(
    model: Annotated[str, typer.Argument(help="Name or folder of a model.")] = "tiny",
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Print a model's description and the size of its networks."""
    from magicanimate.models.config import read_config
    from magicanimate.models.locations import is_model_folder, model_folder, network_size
    from magicanimate.models.official_files import PARTS, locate

    folder = model_folder(model)
    if is_model_folder(folder):
        description = read_config(folder).model_dump(mode="json")
        files = sorted(folder.glob("*/diffusion_pytorch_model.safetensors"))
        networks = {path.parent.name: network_size(path) for path in files}
        facts = {"folder": str(folder), **description, "networks": networks}
    else:
        parts = {name: str(locate(folder, name)) for name in PARTS}
        facts = {"folder": str(folder), "name": "official checkpoints, not converted", "files": parts}
    typer.echo(json.dumps(facts, indent=2) if as_json else "\n".join(readable(facts)))


@app.command(cls=Command)
def convert(
    source: Annotated[str, typer.Argument(help="A folder in the official layout, a model folder, or a model's name.")],
    out: Annotated[Path, typer.Argument(help="The model folder to write.")],
    dtype: Annotated[Storage, typer.Option(help="How to store the weights.")] = Storage.FLOAT16,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing model folder.")] = False,
) -> None:
    """Write a model as a model folder in safetensors: from the official layout, or from another model folder."""
    refuse_existing(out, overwrite)
    from magicanimate.models.model import load_model, save_model

    try:
        with atomic_path(out) as temporary:
            temporary.mkdir(parents=True)
            save_model(load_model(source), temporary, storage=dtype.value)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error
    typer.echo(f"Wrote {out} ({megabytes(folder_bytes(out))}, {dtype.value}).")


@app.command(cls=Command)
def fetch(
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the official layout. Default: the user's cache.")
    ] = None,
) -> None:
    """Download the official checkpoints (about 11 GB) from the Hugging Face hub; what is there already is kept."""
    from magicanimate.downloads import cache_folder
    from magicanimate.models.hub import fetch_official
    from magicanimate.models.locations import OFFICIAL, OFFICIAL_CHECKPOINTS

    root = to or cache_folder() / OFFICIAL_CHECKPOINTS
    fetch_official(root)
    name = OFFICIAL if to is None else root
    typer.echo(f"The official checkpoints are in {root}. Use them with --model {name}, or make a model folder of half")
    typer.echo(f"the size that loads faster: magicanimate models convert {name} FOLDER")


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise InputError if `out` may not be written: nothing but a model folder is ever replaced."""
    from magicanimate.models.locations import is_model_folder

    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_model_folder(out):
        raise InputError(f"{out} exists and is not a model folder: name another folder.")
    if not overwrite:
        raise InputError(f"{out} exists: name another folder, or replace it with --overwrite.")


def readable(facts: dict[str, Any]) -> list[str]:
    """Return one line per fact, nested ones indented."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            lines += [f"{key}:", *("  " + line for line in readable(value))]
        elif isinstance(value, list):
            lines.append(f"{key}: {', '.join(map(str, value))}")
        else:
            lines.append(f"{key}: {value}")
    return lines


def folder_bytes(folder: Path) -> int:
    """Return bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def megabytes(count: int) -> str:
    """Return bytes in words."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
