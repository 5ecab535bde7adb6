"""`magicanimate train prepare VIDEOS/ -o DATA/`: training data from videos and pictures of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magicanimate.animation.settings import validated
from magicanimate.cli.options import with_options
from magicanimate.data.prepare.settings import PrepareSettings

if TYPE_CHECKING:
    from rich.console import Console

    from magicanimate.data.prepare.store import PrepareReport


@with_options(PrepareSettings)
def prepare(
    videos: Annotated[Path, typer.Argument(help="Folder of videos and pictures, with any sub-folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the data.")],
    parts: Annotated[
        Path | None,
        typer.Option(help="Folder of DensePose maps named like their videos; NAME.densepose.mp4 beside NAME.mp4 too."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    forget: Annotated[
        bool, typer.Option("--forget", help="Delete what was made of files that are no longer in VIDEOS.")
    ] = False,
    **options: Any,
) -> None:
    """Cut videos into clips, leave out what cannot be learned from, and find the control signal.

    Repeat the command to go on where it was interrupted, or after adding videos.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from magicanimate.data.prepare.run import prepare as prepare_folder

    settings = validated(PrepareSettings, options)
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
