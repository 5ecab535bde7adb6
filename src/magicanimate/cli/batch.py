"""`magicanimate batch`: animate many pictures, listed in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magicanimate.animation.settings import ModelOptions
from magicanimate.cli.commands import Command
from magicanimate.cli.options import with_options

if TYPE_CHECKING:
    from rich.console import Console

    from magicanimate.batch.jobs import BadRow, BatchJob
    from magicanimate.batch.results import Results
    from magicanimate.batch.worker import Outcome

    Ended = tuple[BatchJob, Outcome, int]

app = typer.Typer(add_completion=False, help="Animate many pictures, listed in a file.")


@app.command(cls=Command)
@with_options(ModelOptions)
def batch(
    jobs: Annotated[Path, typer.Argument(help="CSV or JSONL: image, motion, perhaps out, and any setting, by row.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the videos. Default: named after the list.")
    ] = None,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster. Default: start one here.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="So many at once. Default: one per GPU, or per machine.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Without Ray, one job after the other.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace videos of other jobs.")] = False,
    **options: Any,
) -> None:
    """Animate every row of a list. Run again, it does what is missing.

    Exit code 2 if a row was bad or a job failed; results.jsonl in the folder says how each ended.
    """
    from rich.console import Console

    from magicanimate.batch.jobs import read_jobs
    from magicanimate.batch.results import Results
    from magicanimate.errors import InputError

    if local and ray:
        raise InputError("--local runs without Ray, so it has no --ray address; leave one of them out.")
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    folder = out or Path(jobs.stem)
    wanted, bad = read_jobs(jobs, folder.resolve())
    results = Results(folder)
    missing = [replace(job, overwrite=overwrite) for job in wanted if not results.is_done(job.key, job.out)]
    for row in bad:
        console.print(f"Line {row.line}: {row.sentence}", markup=False)
        results.add(_bad_row(row))
    model = ModelOptions(**options)
    failed = 0
    if missing:
        outcomes = _local(missing, model) if local else _on_ray(missing, model, ray, workers, console)
        failed = _follow(outcomes, missing, len(wanted) - len(missing), results, console)
    console.print(
        f"{len(wanted) - failed} of {len(wanted) + len(bad)} videos are in {folder}"
        f" ({len(wanted) - len(missing)} were there before), {failed} failed, {len(bad)} bad rows.",
        markup=False,
    )
    if bad or failed:
        raise typer.Exit(2)


def _local(jobs: list[BatchJob], model: ModelOptions) -> Iterator[Ended]:
    from magicanimate.batch.worker import Animator

    animator = Animator(model)
    return ((job, animator.animate(job), 1) for job in jobs)


def _on_ray(
    jobs: list[BatchJob], model: ModelOptions, address: str | None, workers: int | None, console: Console
) -> Iterator[Ended]:
    from magicanimate.batch.crew import outcomes
    from magicanimate.batch.on_ray import RayCluster, RayWorker

    def again(job: BatchJob) -> None:
        told = f"Line {job.line}: its worker ended in the middle of the job, which is tried once more."
        console.print(told, markup=False)

    cluster = RayCluster(model, address, workers)
    try:
        actors = [RayWorker(cluster) for _ in range(min(cluster.room()[0], len(jobs)))]
        yield from outcomes(jobs, actors, again)
    finally:
        cluster.close()


def _follow(outcomes: Iterator[Ended], jobs: list[BatchJob], done: int, results: Results, console: Console) -> int:
    """Write every job's row as it ends, and say how it goes; returns how many failed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("Videos", total=len(jobs))
            for job, outcome, attempts in outcomes:
                results.add(_row(job, outcome, attempts))
                failed += outcome.error is not None
                done += outcome.error is None
                told = outcome.error or f"{job.out.name} in {outcome.seconds:.0f} s"
                console.print(f"Line {job.line}: {told}", markup=False)
                bar.update(task, advance=1, description=f"Videos ({failed} failed)" if failed else "Videos")
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{done} videos are done, and the same command goes on with the others") from error
    return failed


def _row(job: BatchJob, outcome: Outcome, attempts: int) -> dict[str, object]:
    from magicanimate.batch.results import DONE, FAILED

    return {
        "key": job.key, "state": FAILED if outcome.error else DONE, "line": job.line, "image": str(job.image),
        "motion": str(job.motion), "out": str(job.out), "settings": job.settings.model_dump(exclude_unset=True),
        "frames": outcome.frames, "seconds": round(outcome.seconds, 2), "attempts": attempts,
        "warnings": outcome.warnings, "error": outcome.error,
    }  # fmt: skip


def _bad_row(row: BadRow) -> dict[str, object]:
    from magicanimate.batch.results import BAD

    return {"key": f"line {row.line}", "state": BAD, "line": row.line, "error": row.sentence}
