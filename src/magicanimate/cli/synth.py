"""`magicanimate synth`: write a data set of procedural people, or a sheet of them to look at."""

from pathlib import Path
from typing import Annotated

import typer

from magicanimate.cli.commands import Command

app = typer.Typer(add_completion=False)


Controls = Annotated[
    str, typer.Option(help="Further control kinds, from pose and depth, with commas; parts are always written.")
]
Filmed = Annotated[
    bool,
    typer.Option("--filmed", help="As a phone films: motion blur, noise, compression, sometimes things in front."),
]
Sheet = Annotated[bool, typer.Option("--sheet", help="Write a contact sheet instead: pictures above their part maps.")]


@app.command(cls=Command)
def synth(
    output: Annotated[Path, typer.Argument(help="Folder of the data set (or, with --sheet, a PNG).")],
    clips: Annotated[int, typer.Option(help="Number of people; each is one clip.", min=1)] = 100,
    frames: Annotated[int, typer.Option(help="Frames of each clip.", min=2)] = 6,
    size: Annotated[int, typer.Option(help="Width and height in pixels.", min=16, max=2048)] = 256,
    fps: Annotated[
        float | None, typer.Option(help="Consecutive frames at this rate (default: spread over the motion).")
    ] = None,
    split: Annotated[str, typer.Option(help="train or test: different people.")] = "train",
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    controls: Controls = "",
    filmed: Filmed = False,
    rich: Annotated[
        bool, typer.Option("--rich", help="Richer people: accessories, folds, more prints, faces and light.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    sheet: Sheet = False,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Build the fixed benchmark SynthDance-test instead; --size is heeded.")
    ] = False,
) -> None:
    """Render people that nobody has ever seen, with exact DensePose maps."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from magicanimate.synth.dataset import DatasetSettings, write_dataset

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if benchmark:
        from magicanimate.synth.benchmark import NAME, build, compared

        with Progress(*columns) as bar:
            task = bar.add_task("clips", total=None)
            digest = build(
                output,
                size,
                workers=workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        typer.echo(f"{NAME} is at {output}; its pixels, {digest[:16]}, are {compared(digest, size)}.")
        return
    kinds = tuple(name.strip() for name in controls.split(",") if name.strip())
    settings = DatasetSettings(
        clips=clips, frames=frames, size=size, fps=fps, split=split, first_seed=first_seed, controls=kinds,
        filmed=filmed, rich=rich,
    )  # fmt: skip
    if sheet:
        from magicanimate.synth.contact_sheet import write_sheet

        write_sheet(output, settings)
        typer.echo(f"Wrote {output}")
        return
    with Progress(*columns) as bar:
        task = bar.add_task("shards", total=None)
        write_dataset(output, settings, workers, lambda done, total: bar.update(task, completed=done, total=total))
    typer.echo(f"Wrote {clips} clips of {frames} frames to {output}")
