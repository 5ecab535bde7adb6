"""`magicanimate evaluate`: figures of outputs against their targets, with a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magicanimate.cli.commands import Command

if TYPE_CHECKING:
    from magicanimate.evaluate.report import Report

app = typer.Typer(add_completion=False)

_PROTOCOL, _WEIGHTS, _PARTS = "Protocol", "Feature networks", "Body parts"
_FILE = 'Weights file, or "hub".'


Size = Annotated[
    int,
    typer.Option(
        min=0,
        max=4096,
        rich_help_panel=_PROTOCOL,
        help="Side of the center square that is compared, in pixels; 0: frames as they are.",
    ),
]
TiktokList = Annotated[
    Path | None,
    typer.Option(help="List of DisCo's test videos: a name and a frame count a line.", rich_help_panel=_PROTOCOL),
]
StandIn = Annotated[
    bool,
    typer.Option("--stand-in", help="Distances of the shipped stand-in networks.", rich_help_panel=_WEIGHTS),
]
Faces = Annotated[
    bool,
    typer.Option("--faces", help="Identity of faces by dlib's network (extra identity).", rich_help_panel=_WEIGHTS),
]
Lite = Annotated[
    bool,
    typer.Option(
        "--lite",
        help="Distance in EfficientNet-Lite's ImageNet features; neither FID nor LPIPS.",
        rich_help_panel=_WEIGHTS,
    ),
]
Parts = Annotated[
    Path | None,
    typer.Option(help="Part maps of the targets: a folder, or one clip for one video.", rich_help_panel=_PARTS),
]


@app.command(cls=Command)
def evaluate(
    context: typer.Context,
    pred: Annotated[Path, typer.Argument(help="A video, a folder of frames, or a folder of those: the outputs.")],
    target: Annotated[Path, typer.Argument(help="The true videos, of the same names, frame counts and sizes.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report; a repeated command goes on in it.")],
    size: Size = 256,
    reference: Annotated[
        str, typer.Option(help="first: the first frame was given and is not counted; none.", rich_help_panel=_PROTOCOL)
    ] = "first",
    tiktok_list: TiktokList = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.", rich_help_panel=_PROTOCOL)] = 0,
    inception: Annotated[str | None, typer.Option(help=f"FID. {_FILE}", rich_help_panel=_WEIGHTS)] = None,
    resnet3d: Annotated[str | None, typer.Option(help=f"FID-VID. {_FILE}", rich_help_panel=_WEIGHTS)] = None,
    i3d: Annotated[str | None, typer.Option(help=f"FVD. {_FILE}", rich_help_panel=_WEIGHTS)] = None,
    lpips: Annotated[str | None, typer.Option(help=f"LPIPS (VGG). {_FILE}", rich_help_panel=_WEIGHTS)] = None,
    stand_in: StandIn = False,
    faces: Faces = False,
    lite: Lite = False,
    device: Annotated[str, typer.Option(help="Of the feature networks.", rich_help_panel=_WEIGHTS)] = "cpu",
    parts: Parts = None,
    extract: Annotated[
        bool, typer.Option("--extract", help="Find parts in the outputs, for pose accuracy.", rich_help_panel=_PARTS)
    ] = False,
    extractor: Annotated[
        str, typer.Option(help="What finds them: mediapipe, densepose or dwpose.", rich_help_panel=_PARTS)
    ] = "mediapipe",
    players: Annotated[int, typer.Option(min=0, max=64, help="Videos in the HTML report.")] = 8,
) -> None:
    """Measure videos against their targets; write report.json, report.md and report.html."""
    from rich.console import Console

    from magicanimate.cli.progress import ProgressDisplay
    from magicanimate.errors import InputError
    from magicanimate.evaluate.evaluation import EvaluationSettings
    from magicanimate.evaluate.features.published import Kind
    from magicanimate.evaluate.run import Request, run

    if reference not in ("first", "none"):
        raise InputError(f"Unknown reference {reference!r}: --reference is first or none.")
    if 0 < size < 16:
        raise InputError(f"Frames of {size} pixels are too small; --size is at least 16, or 0 for frames as they are.")
    given: dict[Kind, str | None] = {"inception": inception, "resnet3d": resnet3d, "i3d": i3d, "lpips-vgg": lpips}
    settings = EvaluationSettings(
        size=size or None, reference="first" if reference == "first" else "none", seed=seed,
        short_videos="refuse" if resnet3d or i3d else "leave out",
    )  # fmt: skip
    request = Request(
        output=pred, target=target, folder=out, settings=settings, command=told(context), parts=parts,
        extractor=extractor if extract else None, stand_in=stand_in, faces=faces, lite=lite,
        tiktok_list=tiktok_list, players=players,
        weights={kind: file for kind, file in given.items() if file}, device=device,
    )  # fmt: skip
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with ProgressDisplay(console) as progress:
        report = run(request, progress)
    _print(report)
    console.print(f"Wrote {out / 'report.json'}, report.md and report.html.", markup=False)


def told(context: typer.Context) -> str:
    """Return the command with everything that was not left at its default."""
    words = ["magicanimate", "evaluate"]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif value is not None and value != parameter.default:
            words += [max(parameter.opts, key=len)] + ([] if value is True else [str(value)])
    return shlex.join(words)


def _print(report: Report) -> None:
    """The blocks as plain lines."""
    from magicanimate.evaluate.report import interval, label, number, summary

    typer.echo(summary(report.result))
    for block, figures in report.result.blocks.items():
        if figures:
            typer.echo(f"\n{block}")
        for name, figure in figures.items():
            windows = f"  {figure.windows} windows" if figure.windows else ""
            typer.echo(
                f"  {label(name, figure):52}{number(figure.value, figure.digits):>12}  [{interval(figure)}]{windows}"
            )
    typer.echo("")
    for note in (report.parts, *report.result.notes, report.comparable_sentence):
        typer.echo(note)
