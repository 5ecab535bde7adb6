"""`magicanimate train CONFIG.yaml`: one stage of training."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file; see configs/ and docs/training.md.")],
    override: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: --set loop.steps=100")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Train one stage; repeat the command to resume where it stopped."""
    from magicanimate.runtime import select_device
    from magicanimate.train.config import read_settings
    from magicanimate.train.run import run

    typer.echo(f"Wrote {run(read_settings(config, override), select_device(device))}")
