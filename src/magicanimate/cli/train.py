"""`magicanimate train CONFIG.yaml`: one stage of training; `magicanimate train prepare VIDEOS/`: data for it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from magicanimate.cli.commands import Command, Group
from magicanimate.cli.prepare import prepare

_TRAIN = "run"  # what `train` without `prepare` is called inside


class _Commands(Group):
    """Whatever does not begin with `prepare` is a configuration, or an option that goes with one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["prepare"] else [_TRAIN, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == _TRAIN else name), command, rest


app = typer.Typer(cls=_Commands, add_completion=False)
app.command(cls=Command)(prepare)


@app.command(_TRAIN, cls=Command, epilog="Data from videos of your own: magicanimate train prepare --help")
def train(
    config: Annotated[Path, typer.Argument(help="YAML file; see configs/ and docs/training.md.")],
    override: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: --set loop.steps=100")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Train one stage; repeat the command to resume where it stopped. Under torchrun, several processes share it."""
    from magicanimate.train.config import read_settings
    from magicanimate.train.data_parallel import join_processes
    from magicanimate.train.run import run

    settings = read_settings(config, override)
    ranks, chosen = join_processes(device)
    result = run(settings, chosen, ranks)
    if ranks.first:
        typer.echo(f"Wrote {result}")
