"""`magicanimate check`: what would go wrong with a picture and a motion, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magicanimate.animation.settings import AnimateSettings, ModelOptions, make_settings
from magicanimate.cli.commands import Command
from magicanimate.cli.options import with_options
from magicanimate.errors import InputError
from magicanimate.files import atomic_path

if TYPE_CHECKING:
    import numpy as np

app = typer.Typer(add_completion=False)


@app.command(cls=Command)
@with_options(ModelOptions, AnimateSettings, only=lambda name, note: note.reads or name == "model")
def check(
    image: Annotated[Path, typer.Option("--image", "-i", metavar="PATH", help="Picture of the person.")],
    motion: Annotated[
        Path, typer.Option("--motion", "-m", metavar="PATH", help="Video or anything else that animate takes.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help="Where to write the contact sheet (PNG). Default: nowhere."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing sheet.")] = False,
    **options: Any,
) -> None:
    """Say what would go wrong with a picture and a motion, and what to do about it; compute nothing."""
    from rich.console import Console

    from magicanimate.check.examine import examine
    from magicanimate.cli.progress import ProgressDisplay
    from magicanimate.models.config import read_config
    from magicanimate.models.locations import is_model_folder, model_folder

    _writable(out, overwrite)
    folder = model_folder(options.pop("model", ModelOptions().model))
    if not is_model_folder(folder):
        raise InputError(f"{folder} holds official checkpoints; convert them first: magicanimate models convert.")
    settings = make_settings(**options)
    with ProgressDisplay(Console(stderr=True, highlight=False)) as progress:
        found = examine(image, motion, config=read_config(folder), settings=settings, progress=progress)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        for finding in found.findings:
            typer.echo(f"{finding.level:8}{finding.topic:12}{finding}")
    if out:
        _write(found.sheet_HWC, out)
        typer.echo(f"Wrote {out}.", err=True)


def _writable(out: Path | None, overwrite: bool) -> None:
    if out is None:
        return
    if out.suffix.lower() != ".png":
        raise InputError(f"The sheet is a PNG; end {out} in .png.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} already exists; choose another name or add --overwrite.")
    if not out.parent.is_dir():
        raise InputError(f"The output folder {out.parent} does not exist; create it first or choose another.")


def _write(sheet_HWC: np.ndarray, out: Path) -> None:
    from PIL import Image

    try:
        with atomic_path(out) as temporary:
            Image.fromarray(sheet_HWC).save(temporary, format="PNG", optimize=True)
    except OSError as error:
        raise InputError(f"{out} could not be written: {error.strerror or error}.") from error
