"""`magicanimate train prepare VIDEOS/ -o DATA/`: training data from videos and pictures of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from magicanimate.data.prepare.store import PrepareReport

_CLIP, _FILTER, _SPLIT = "Clips", "What is left out", "Training and testing"


def prepare(
    videos: Annotated[Path, typer.Argument(help="Folder of videos and pictures, with any sub-folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the data.")],
    parts: Annotated[
        Path | None,
        typer.Option(help="Folder of DensePose maps named like their videos; NAME.densepose.mp4 beside NAME.mp4 too."),
    ] = None,
    extractor: Annotated[
        str, typer.Option(help="What finds people: auto (mediapipe), densepose or dwpose; also NAME=PATH.")
    ] = "auto",
    controls: Annotated[
        str, typer.Option(help="Further control kinds, from pose and depth, with commas; parts are always written.")
    ] = "",
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    forget: Annotated[
        bool, typer.Option("--forget", help="Delete what was made of files that are no longer in VIDEOS.")
    ] = False,
    frames: Annotated[
        int, typer.Option(min=2, help="Frames of a clip, its reference included.", rich_help_panel=_CLIP)
    ] = 17,
    size: Annotated[int, typer.Option(min=16, max=2048, help="Width and height.", rich_help_panel=_CLIP)] = 256,
    fps: Annotated[float, typer.Option(min=1, max=120, help="Frames per second.", rich_help_panel=_CLIP)] = 12.5,
    gap: Annotated[
        float, typer.Option(min=0, help="Seconds between reference and run, if possible.", rich_help_panel=_CLIP)
    ] = 1.0,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, help="Longer scenes are cut into stretches.", rich_help_panel=_CLIP)
    ] = 20.0,
    scene_cut: Annotated[
        float, typer.Option(min=0, max=255, help="Difference of frames that may be a cut.", rich_help_panel=_CLIP)
    ] = 24.0,
    min_person: Annotated[
        float, typer.Option(min=0, help="Least extent of the person, in --size.", rich_help_panel=_FILTER)
    ] = 0.5,
    max_padding: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the square outside the frame.", rich_help_panel=_FILTER)
    ] = 0.35,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Least overlap of control and person.", rich_help_panel=_FILTER)
    ] = 0.4,
    min_sharpness: Annotated[
        float, typer.Option(min=0, help="Least sharpness; see docs/own-videos.md.", rich_help_panel=_FILTER)
    ] = 0.08,
    min_motion: Annotated[
        float, typer.Option(min=0, help="Share of the person that changes in a second.", rich_help_panel=_FILTER)
    ] = 0.2,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of the sources kept for testing.", rich_help_panel=_SPLIT)
    ] = 0.1,
    split_by: Annotated[
        str, typer.Option(help="source, or folder: one sub-folder per person.", rich_help_panel=_SPLIT)
    ] = "source",
) -> None:
    """Cut videos into clips, leave out what cannot be learnt from, and find the control signal.

    Repeat the command to go on where it was interrupted, or after adding videos.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from magicanimate.data.prepare.run import prepare as prepare_folder
    from magicanimate.data.prepare.settings import PrepareSettings

    settings = PrepareSettings(
        frames=frames, size=size, fps=fps, gap=gap, max_seconds=max_seconds, scene_cut=scene_cut,
        min_person=min_person, max_padding=max_padding, min_agreement=min_agreement, min_sharpness=min_sharpness,
        min_motion=min_motion, extractor=extractor, held_out=held_out, split_by=split_by,
        controls=tuple(name.strip() for name in controls.split(",") if name.strip()),
    )  # fmt: skip
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    columns = (
        TextColumn("sources"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        report = prepare_folder(
            videos, out, settings, parts, workers,
            lambda done, total, name: bar.update(task, completed=done, total=total, description=name), forget,
        )  # fmt: skip
    _tell(console, report, out)


def _tell(console: Console, report: PrepareReport, out: Path) -> None:
    from magicanimate.data.prepare.settings import REASONS

    for reason, names in report.failed.items():
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        console.print(f"Nothing kept ({REASONS[reason]}): {', '.join(names[:5])}{more}", markup=False)
    for reason, count in report.dropped.items():
        console.print(f"Left out: {count} x {REASONS[reason]}", markup=False)
    if report.others:
        console.print(f"Neither videos nor pictures: {report.others}", markup=False)
    for folder, count in report.kept.items():
        console.print(f"{out / folder}: {count} clips", markup=False)
    if "held_out" not in report.kept and "train" in report.kept:
        console.print(
            "No clip is held out, and training needs some: add videos, or choose a larger --held-out in a new folder.",
            markup=False,
        )
    total = sum(report.kept.values())
    console.print(f"Kept {total} clips of {report.sources} sources in {out}", markup=False)
