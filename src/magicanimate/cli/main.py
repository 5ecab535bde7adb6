"""The command line. Nothing heavy is imported before a command runs, so that `--help` answers at once."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from magicanimate.cli.commands import Group
from magicanimate.errors import InputError, absent_library

BAD_INPUT, INTERRUPTED = 2, 3

# Sub-commands that live in modules of their own: name -> module (which has `app`), and their line in the help.
_LAZY = {
    "animate": ("magicanimate.cli.animate", "Animate the person in a picture with the motion of a video."),
    "demo": ("magicanimate.cli.demo", "Animate the shipped picture; the first thing to try."),
    "check": ("magicanimate.cli.check", "What would go wrong with a picture and a motion, and what to do about it."),
    "motion": (
        "magicanimate.cli.motion",
        "Find the motion in a video; write it as DensePose parts or other controls.",
    ),
    "models": ("magicanimate.cli.models", "List, inspect, convert and fetch models."),
    "synth": ("magicanimate.cli.synth", "Make training data: procedural people with exact ground truth."),
    "train": ("magicanimate.cli.train", "Train a model."),
    "evaluate": ("magicanimate.cli.evaluate", "Measure videos against their targets; write a report."),
    "batch": ("magicanimate.cli.batch", "Animate many pictures, listed in a file."),
    "serve": ("magicanimate.cli.serve", "Serve the web page and the HTTP API, with workers that compute the jobs."),
    "verify": ("magicanimate.cli.verify", "Say whether a file is marked as AI-generated, and by whom."),
    "info": ("magicanimate.cli.info", "Print versions, devices, models and extras of this installation."),
}


class _Root(Group):
    """Imports a sub-command's module when that command is called, and turns bad input into one sentence."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(name for name in _LAZY if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _LAZY and cmd_name not in self.commands:
            return TyperCommand(name=cmd_name, help=_LAZY[cmd_name][1])  # stands in the help only
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in _LAZY:
            self.commands[args[0]] = _load(args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _tell(f"Error: {error}")
            raise typer.Exit(BAD_INPUT) from error
        except ImportError as error:
            if not (library := absent_library(error)):
                raise
            _tell(f"Error: {error.name or 'A package'} needs {library}.")
            raise typer.Exit(BAD_INPUT) from error
        except KeyboardInterrupt as error:
            _tell(f"Interrupted; {str(error) or 'nothing was left half-written'}.")
            raise typer.Exit(INTERRUPTED) from error


def _tell(sentence: str) -> None:
    """Print a sentence to stderr, in the first process of torchrun only."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(sentence, err=True)


def _load(name: str) -> Any:
    module_name, _ = _LAZY[name]
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("magicanimate"):
            raise InputError(f"The command {name} is not part of this installation.") from error
        raise InputError(
            f"The command {name} needs the package {error.name}, which is not installed; "
            "the README says which extra brings it."
        ) from error
    command = typer.main.get_command(module.app)
    command.name = name
    return command


app = typer.Typer(
    cls=_Root,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Animate a picture of a person with a motion sequence.",
)


def _show_version(asked: bool) -> None:
    if asked:
        from magicanimate.version import version as installed

        typer.echo(f"magicanimate {installed()}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def _ask_for_huge_pages() -> None:
    """Let torch ask Linux for pages of 2 MB where it takes that much memory or more; many small ones cost wide networks
    time. torch reads this when it first takes memory; what is set already stays."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def main() -> None:
    """Entry point of `magicanimate`. Exit codes: 0 done, 2 bad input or settings, 3 interrupted, 1 our fault."""
    _ask_for_huge_pages()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being ended politely is an interruption too
    try:
        app()
    except KeyboardInterrupt:  # before a command took over
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            # Threads of gloo that are still there when a process of torchrun ends can abort it, although
            # all is done and written: so it ends without waiting for them.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
