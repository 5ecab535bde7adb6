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
    """Train one stage; repeat the command to resume where it stopped. Under torchrun, several processes share it."""
    from magicanimate.train.config import read_settings
    from magicanimate.train.processes import join_processes
    from magicanimate.train.run import run

    settings = read_settings(config, override)
    processes, chosen = join_processes(device)
    result = run(settings, chosen, processes)
    if processes.first:
        typer.echo(f"Wrote {result}")
