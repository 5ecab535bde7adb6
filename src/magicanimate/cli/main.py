"""The command line. Nothing heavy is imported before a command runs, so that `--help` answers at once."""

from __future__ import annotations

import logging
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from magicanimate.errors import InputError, absent_library

BAD_INPUT, INTERRUPTED = 2, 3
# Where torchao is installed, diffusers imports it, and both warn of kernels that are not for this machine.
_CHATTY = ("torchao", "diffusers.quantizers.torchao", "torch.utils._pytree")

# Sub-commands that live in modules of their own: name -> module (which has `app`), and their line in the help.
_LAZY = {
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
    "worker": ("magicanimate.cli.worker", "Compute the jobs of a service."),
    "verify": ("magicanimate.cli.verify", "Say whether a file is marked as AI-generated, and by whom."),
}


class _Root(TyperGroup):
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
    """Of the processes that torchrun started, the first one speaks for all."""
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


_INPUT, _MODEL, _LOOK, _SOLVER, _OTHER = "What goes in and out", "Model", "The video", "Denoising", "Other"


@app.command()
def animate(
    image: Annotated[Path, typer.Option("--image", "-i", help="Picture of the person.", rich_help_panel=_INPUT)],
    motion: Annotated[
        Path,
        typer.Option(
            "--motion",
            "-m",
            help="Video of a person, DensePose video, GIF, folder of frames, keypoints or BVH.",
            rich_help_panel=_INPUT,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            rich_help_panel=_INPUT,
            help="mp4, webm, gif or webp file, or a name without ending for a folder of PNG frames. "
            "Default: PICTURE_MOTION.mp4 in this folder.",
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Begin the motion here: seconds or mm:ss.", rich_help_panel=_INPUT)
    ] = None,
    end: Annotated[str | None, typer.Option(help="End the motion here.", rich_help_panel=_INPUT)] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            help="What finds the person in an ordinary video: auto (default), mediapipe, densepose or dwpose.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    person: Annotated[
        int | None,
        typer.Option(help="Which of several people, 1 is the leftmost.", rich_help_panel=_INPUT),
    ] = None,
    no_audio: Annotated[
        bool, typer.Option("--no-audio", help="Leave the motion's sound out.", rich_help_panel=_INPUT)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output.", rich_help_panel=_INPUT)
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Write picture, motion and result side by side.", rich_help_panel=_INPUT)
    ] = False,
    model: Annotated[
        str, typer.Option(help="tiny (shipped), magicanimate, or a model folder.", rich_help_panel=_MODEL)
    ] = "tiny",
    control: Annotated[
        str | None,
        typer.Option(
            help="What guides the motion, for models with several: densepose, pose or depth.", rich_help_panel=_MODEL
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="quality (default), fast or original.", rich_help_panel=_MODEL)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=_MODEL)] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.", rich_help_panel=_MODEL)] = "auto",
    quantise: Annotated[
        str, typer.Option(help="Weights in 8 bit: int8 or fp8 (newer NVIDIA GPUs).", rich_help_panel=_MODEL)
    ] = "none",
    offload: Annotated[
        bool,
        typer.Option(
            "--offload", help="Weights rest on the host and visit the GPU layer by layer.", rich_help_panel=_MODEL
        ),
    ] = False,
    compile_layers: Annotated[
        bool,
        typer.Option("--compile", help="Compile part of the networks' layers first.", rich_help_panel=_MODEL),
    ] = False,
    graphs: Annotated[
        bool | None,
        typer.Option(
            "--graphs/--no-graphs",
            help="Record what steps compute as CUDA graphs and replay it (default: on NVIDIA GPUs).",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(help="Folder of a small decoder (AutoencoderTiny format) for this model.", rich_help_panel=_MODEL),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="WIDTHxHEIGHT, or auto (default): the motion's aspect ratio at the model's number of pixels.",
            rich_help_panel=_LOOK,
        ),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="Other aspect ratios: cover (crop, default), contain or stretch.", rich_help_panel=_LOOK),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            help="auto (default): give the motion the place, size and proportions of the person in the picture; "
            "none: as it is.",
            rich_help_panel=_LOOK,
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second. Default: the motion's.", rich_help_panel=_LOOK)
    ] = None,
    max_frames: Annotated[int | None, typer.Option(help="At most so many frames.", rich_help_panel=_LOOK)] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Make the end run into the start.", rich_help_panel=_LOOK)
    ] = False,
    label: Annotated[
        bool,
        typer.Option("--label", help="Write 'AI-generated' into a corner of the video.", rich_help_panel=_LOOK),
    ] = False,
    no_detail: Annotated[
        bool,
        typer.Option(
            "--no-detail",
            help="Do not take detail of face, clothes and background from the picture (models with a detail network).",
            rich_help_panel=_LOOK,
        ),
    ] = False,
    detail_trust: Annotated[
        float | None,
        typer.Option(
            help="How much of the picture's own pixels to take, from 0, right on average and blurred, to 8, sharp "
            "and sometimes torn. Default: the model's.",
            rich_help_panel=_LOOK,
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.", rich_help_panel=_SOLVER)] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance; 1 is off.", rich_help_panel=_SOLVER)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the noise. Default: 1.", rich_help_panel=_SOLVER)] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="ddim (default), dpm++, unipc, euler ...", rich_help_panel=_SOLVER)
    ] = None,
    fusion: Annotated[
        str | None, typer.Option(help="Overlapping windows: mean (default) or triangular.", rich_help_panel=_SOLVER)
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="shared (windows alike), independent or static. Default: the model's.", rich_help_panel=_SOLVER
        ),
    ] = None,
    guidance_interval: Annotated[
        str | None,
        typer.Option(
            help="Where guidance acts, from the noisy start (0) to the end (1), e.g. 0-0.5.", rich_help_panel=_SOLVER
        ),
    ] = None,
    cache: Annotated[
        int | None,
        typer.Option(
            help="Compute everything at every n-th step only and reuse deep features between (approximate).",
            rich_help_panel=_SOLVER,
        ),
    ] = None,
    window: Annotated[int | None, typer.Option(help="Frames per window.", rich_help_panel=_SOLVER)] = None,
    overlap: Annotated[int | None, typer.Option(help="Frames two windows share.", rich_help_panel=_SOLVER)] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on where an interrupted run of the same command stopped.", rich_help_panel=_OTHER
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything, say what would be done, write nothing.", rich_help_panel=_OTHER
        ),
    ] = False,
) -> None:
    """Animate the person in a picture with the motion of a video."""
    from magicanimate.animation.settings import make_settings
    from magicanimate.cli.animate import Request, run

    chosen = {
        "preset": preset, "steps": steps, "guidance": guidance, "seed": seed, "size": size, "fps": fps, "fit": fit,
        "max_frames": max_frames, "align": align, "loop": loop or None, "label": label or None,
        "scheduler": scheduler, "fusion": fusion, "noise": noise,
        "guidance_interval": guidance_interval, "cache": cache, "window": window, "overlap": overlap,
        "start": start, "end": end, "extractor": extractor, "person": person, "audio": False if no_audio else None,
        "detail": False if no_detail else None, "detail_trust": detail_trust,
    }  # fmt: skip
    settings = make_settings(**{name: value for name, value in chosen.items() if value is not None})
    run(
        Request(
            image=image, motion=motion, out=out or Path(f"{image.stem}_{motion.stem}.mp4"), model=model,
            device=device, dtype=dtype, overwrite=overwrite, compare=compare, dry_run=dry_run, resume=resume,
            quantise=quantise, offload=offload, compile=compile_layers, graphs=graphs,
            decoder=decoder, control=control,
        ),
        settings,
    )  # fmt: skip


def _ask_for_huge_pages() -> None:
    """Let torch ask Linux for pages of 2 MB where it takes that much memory or more; many small ones cost wide networks
    time. torch reads this when it first takes memory; what is set already stays."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def main() -> None:
    """Entry point of `magicanimate`. Exit codes: 0 done, 2 bad input or settings, 3 interrupted, 1 our fault."""
    _ask_for_huge_pages()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being ended politely is an interruption too
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
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
