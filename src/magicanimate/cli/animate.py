"""`magicanimate animate`: a picture and a motion become a video."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, Field

from magicanimate.animation.parsing import TRANSPARENT
from magicanimate.animation.settings import AnimateSettings, ModelOptions, Settings, make_settings, validated
from magicanimate.animation.shown import MOTION, RUN, Shown
from magicanimate.cli.commands import Command
from magicanimate.cli.options import with_options
from magicanimate.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from magicanimate.animation.job import Job
    from magicanimate.animation.write import Output
    from magicanimate.engine.ranks import Ranks
    from magicanimate.models.config import ModelConfig

app = typer.Typer(add_completion=False)


class RunOptions(BaseModel):
    """Options of one call of the command that change nothing in the frames."""

    overwrite: Annotated[bool, Shown(RUN)] = Field(False, description="replace an existing output")
    compare: Annotated[bool, Shown(RUN)] = Field(False, description="write picture, motion and result side by side")
    resume: Annotated[bool, Shown(RUN)] = Field(
        False, description="go on where an interrupted run of the same command stopped"
    )
    redo: Annotated[str | None, Shown(RUN, "START-END")] = Field(
        None, description="make only these seconds of the existing output anew, with other settings, and fade them in"
    )
    dry_run: Annotated[bool, Shown(RUN)] = Field(
        False, description="check everything, say what would be done, write nothing"
    )
    ray: Annotated[str | None, Shown(RUN, "ADDRESS")] = Field(
        None, description="address of a Ray cluster whose machines share the video"
    )
    workers: Annotated[int | None, Shown(RUN, default="one per GPU, or per machine")] = Field(
        None, ge=1, description="with --ray: number of processes"
    )


Picture = Annotated[Path | None, typer.Argument(metavar="PICTURE", help="Picture of the person.", show_default=False)]
Driver = Annotated[
    Path | None,
    typer.Argument(
        metavar="MOTION",
        help="Video of a person, DensePose video, GIF, folder of frames, keypoints or BVH.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        rich_help_panel=MOTION,
        help="mp4, webm, mov, gif, webp or apng file, or a name without ending for a folder of PNG frames. "
        "Default: PICTURE_MOTION.mp4 in this folder (webm where the background is transparent).",
    ),
]


@app.command(cls=Command)
@with_options(ModelOptions, AnimateSettings, RunOptions)
def animate(
    picture: Picture = None,
    driver: Driver = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            "-i",
            metavar="PATH",
            help="Instead of PICTURE. Given several times: a person each, for those who move from left to right.",
            rich_help_panel=MOTION,
        ),
    ] = None,
    motion: Annotated[
        list[Path] | None,
        typer.Option(
            "--motion",
            "-m",
            metavar="PATH",
            help="Instead of MOTION. Given several times, the motions follow each other.",
            rich_help_panel=MOTION,
        ),
    ] = None,
    out: Out = None,
    **options: Any,
) -> None:
    """Animate the person in a picture with the motion of a video."""
    images, motions = _some("picture", "--image", picture, image), _some("motion", "--motion", driver, motion)
    model, run = _taken(ModelOptions, options), _taken(RunOptions, options)
    settings = make_settings(**options)
    from magicanimate.animation.redo import Part
    from magicanimate.animation.write import Output
    from magicanimate.media.claim import claimed
    from magicanimate.media.paths import output_path

    about = {"image": ", ".join(map(str, images)), "motion": ", ".join(map(str, motions))}
    transparent = settings.background == TRANSPARENT
    path = output_path(out) if out else Path(f"{images[0].stem}_{motions[0].stem}.{'webm' if transparent else 'mp4'}")
    output = Output(
        path=path, about=about, overwrite=run.overwrite, compare=run.compare, resume=run.resume,
        redo=Part.parse(run.redo) if run.redo else None, transparent=transparent,
    )  # fmt: skip
    animation = Animation(images, motions, settings, model, output, run.dry_run)
    claim = nullcontext() if run.dry_run else claimed(path)
    if run.ray or run.workers:
        with claim:
            animation.run_on_ray(run)
    elif int(os.environ.get("WORLD_SIZE", 1)) == 1:
        with claim:
            animation.run(None)
    else:
        from magicanimate.engine.ranks import Ranks

        ranks = Ranks.from_environment()
        with ranks.together(), claim if ranks.first else nullcontext():
            animation.run(ranks)


def _taken(kind: type[Settings], options: dict[str, Any]) -> Settings:
    """Take a model's settings out of the options."""
    return validated(kind, {name: options.pop(name) for name in kind.model_fields if name in options})


def _some(what: str, option_name: str, argument: Path | None, options: list[Path] | None) -> list[Path]:
    """Return the paths that were given, one by place or some by option."""
    if argument is not None and options:
        raise InputError(f"The {what} is given twice, as {argument} and as {options[0]}; leave one of them out.")
    given = options or ([] if argument is None else [argument])
    if not given:
        raise InputError(f"The {what} is missing: magicanimate animate PICTURE MOTION, or {option_name}.")
    return given


class Animation:
    """One call of the command, as one of several processes if torchrun started this one."""

    def __init__(
        self,
        images: list[Path],
        motions: list[Path],
        settings: AnimateSettings,
        model: ModelOptions,
        output: Output,
        dry_run: bool,
    ) -> None:
        self._images, self._motions, self._settings, self._model = images, motions, settings, model
        self._output, self._dry_run = output, dry_run

    def run(self, ranks: Ranks | None) -> None:
        """Check all inputs, then animate. The cheap checks come before torch is imported; the first process prints.

        Raises:
            InputError: anything wrong with inputs, settings, model or output.
        """
        import time

        from rich.console import Console

        from magicanimate import provenance
        from magicanimate.animation.edit_motion import joined_clips
        from magicanimate.animation.inputs import as_motion
        from magicanimate.animation.write import check_video, write_video
        from magicanimate.cli.progress import ProgressDisplay, memory_text
        from magicanimate.media import load_picture

        started, first, out = time.monotonic(), ranks is None or ranks.first, self._output
        console = Console(stderr=True, soft_wrap=True, highlight=False, quiet=not first)
        if first:
            out.check()
        provenance.configured()
        pictures = [load_picture(path) for path in self._images]
        with ProgressDisplay(console) as progress:
            motion = joined_clips([as_motion(path, self._settings, progress) for path in self._motions], progress)
            progress("loading", 0, 1)
            from magicanimate.animation.pipeline import MagicAnimatePipeline

            options = self._model.model_dump(exclude={"model"})
            pipe = MagicAnimatePipeline.from_pretrained(self._model.model, ranks=ranks, **options)
            progress("loading", 1, 1)
            job = pipe.prepare(pictures, motion, self._settings, progress=progress)
            for line in _what_matters(job, pipe.description.config, (pictures[0].shape[0], pictures[0].shape[1])):
                console.print(line, markup=False)
            progress.expect(len(job), job.settings.steps)
            if self._dry_run:
                check_video(pipe, job, out)
                console.print(job.summary(), markup=False)
                console.print(f"Nothing was written; {out.path} would be.", markup=False)
                return
            marks = write_video(pipe, job, out, progress)
        console.print(job.summary(), markup=False)
        for warning in marks:
            console.print(f"Warning: {warning}", markup=False)
        self._say_written(console, len(job), time.monotonic() - started, f", peak memory {memory_text()}")

    def run_on_ray(self, run: RunOptions) -> None:
        """Check the files here, then animate on all actors of a cluster.

        Raises:
            InputError: as `run`; options that one machine alone can do.
        """
        from rich.console import Console

        from magicanimate.batch.on_ray import RayCluster
        from magicanimate.batch.shared_job import animate_on_ray
        from magicanimate.batch.worker import Task
        from magicanimate.cli.progress import ProgressDisplay
        from magicanimate.media import load_picture

        if run.ray is None:
            raise InputError("--workers is for --ray; give the address of a cluster with it.")
        if len(self._images) > 1 or len(self._motions) > 1 or run.compare or run.resume or run.redo or run.dry_run:
            raise InputError(
                "--ray takes one picture and one motion, without --compare, --resume, --redo and --dry-run."
            )
        self._output.check()
        load_picture(self._images[0])
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        task = Task(
            key=self._output.path.name, image=self._images[0], motion=self._motions[0], out=self._output.path,
            settings=self._settings, about=dict(self._output.about), overwrite=run.overwrite,
        )  # fmt: skip
        cluster = RayCluster(self._model, run.ray, run.workers)
        try:
            with ProgressDisplay(console) as progress:
                outcome = animate_on_ray(cluster, task, progress)
        finally:
            cluster.close()
        for line in (outcome.summary, *(f"Warning: {warning}" for warning in outcome.warnings)):
            console.print(line, markup=False)
        self._say_written(console, outcome.frames, outcome.seconds)

    def _say_written(self, console: Console, frames: int, seconds: float, more: str = "") -> None:
        from magicanimate.media import settings_path

        path = self._output.path
        console.print(
            f"Wrote {path} ({frames} frames) in {seconds:.0f} s{more}; settings in {settings_path(path).name}.",
            markup=False,
        )


def _what_matters(job: Job, config: ModelConfig, picture: tuple[int, int]) -> list[str]:
    """Return notes on the inputs and warnings of the check; `picture` is the given one's (height, width)."""
    from magicanimate.check.examine import examine_job

    found = [finding for finding in examine_job(job, config, picture) if finding.level in ("warning", "error")]
    # Whether somebody was found in the picture is among the notes already.
    return [*job.notes, *(f"Warning: {finding}" for finding in found if finding.topic != "person")]
