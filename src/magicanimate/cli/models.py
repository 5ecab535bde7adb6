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
        typer.echo(f"{OFFICIAL:14} {'not here':12} {'':>10}  run `magicanimate models fetch` (11 to 14 GB)")


@app.command(cls=Command)
def info(
    model: Annotated[str, typer.Argument(help="Name or folder of a model.")] = "tiny",
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Print a model's description and the size of its networks."""
    from magicanimate.models.config import read_config
    from magicanimate.models.locations import is_model_folder, model_folder, network_size
    from magicanimate.models.official_files import PARTS, find, locate_all

    folder = model_folder(model)
    if is_model_folder(folder):
        description = read_config(folder).model_dump(mode="json")
        files = sorted(folder.glob("*/diffusion_pytorch_model.safetensors"))
        networks = {path.parent.name: network_size(path) for path in files}
        facts = {"folder": str(folder), **description, "networks": networks}
    else:
        locate_all(folder)
        parts = {name: str(path) for name in PARTS if (path := find(folder, name))}
        facts = {"folder": str(folder), "name": "official checkpoints, not converted", "files": parts}
    typer.echo(json.dumps(facts, indent=2) if as_json else "\n".join(readable(facts)))


@app.command(cls=Command)
def convert(
    source: Annotated[str, typer.Argument(help="A folder in the official layout, a model folder, or a model's name.")],
    out: Annotated[Path, typer.Argument(help="The model folder to write.")],
    dtype: Annotated[Storage, typer.Option(help="How to store the weights.")] = Storage.FLOAT16,
    lora: Annotated[
        Path | None, typer.Option(help="Add a LoRA for Stable Diffusion 1.5 to denoiser and appearance encoder.")
    ] = None,
    lora_scale: Annotated[float, typer.Option(help="How much of it.")] = 1.0,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing model folder.")] = False,
) -> None:
    """Write a model as a model folder in safetensors: from the official layout, or from another model folder."""
    refuse_existing(out, overwrite)
    from magicanimate.models.locations import is_model_folder, model_folder
    from magicanimate.models.lora import fuse_lora
    from magicanimate.models.model import load_model, save_model
    from magicanimate.models.notices import write_notices

    folder = model_folder(source)
    model = load_model(folder)
    if lora is not None:
        model = fuse_lora(model, lora, lora_scale)
    try:
        with atomic_path(out) as temporary:
            temporary.mkdir(parents=True)
            save_model(model, temporary, storage=dtype.value)
            write_notices(temporary, folder, official=not is_model_folder(folder))
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error
    typer.echo(f"Wrote {out} ({megabytes(folder_bytes(out))}, {dtype.value}).")


@app.command(cls=Command)
def fetch(
    to: Annotated[
        Path | None, typer.Option("--to", help="Where to; default: the user's cache.", metavar="FOLDER")
    ] = None,
    dtype: Annotated[
        Storage | None, typer.Option(help="Write a model folder at once, which takes less space than both.")
    ] = None,
    sd15: Annotated[
        Path | None, typer.Option(help="Stable Diffusion 1.5 in one safetensors file, which is not fetched then.")
    ] = None,
) -> None:
    """Download the official checkpoints (11 to 14 GB) from the Hugging Face hub; what is there already is kept.

    Files that other programs have in the hub's cache are taken from there. Repeat it to go on after an interruption.
    """
    from magicanimate.downloads import cache_folder
    from magicanimate.models.locations import OFFICIAL, OFFICIAL_CHECKPOINTS
    from magicanimate.models.notices import LICENCES
    from magicanimate.models.official_fetch import fetch_converted, fetch_official

    root = to or cache_folder() / (OFFICIAL_CHECKPOINTS if dtype is None else OFFICIAL)
    if dtype is not None:
        refuse_existing(root, overwrite=False)
    typer.echo(LICENCES)
    name = OFFICIAL if to is None else root
    if dtype is not None:
        fetch_converted(root, dtype.value, sd15, typer.echo)
        typer.echo(f"The official model is in {root} ({megabytes(folder_bytes(root))}). Use it with --model {name}")
        return
    fetch_official(root, sd15, typer.echo)
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
