"""`magicanimate demo`: the shipped picture moves, with the shipped motion and model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magicanimate.cli.commands import Command

app = typer.Typer(add_completion=False)


OUT = Path("outputs/demo.mp4")
Out = Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="The video; replaced if it is there.")]


@app.command(cls=Command)
def demo(out: Out = OUT) -> None:
    """Animate the shipped picture with the shipped motion and model, and say where the video is."""
    from magicanimate.animation.settings import ModelOptions, make_settings
    from magicanimate.animation.write import Output
    from magicanimate.cli.animate import Animation
    from magicanimate.errors import InputError
    from magicanimate.media.claim import claimed
    from magicanimate.media.paths import output_path
    from magicanimate.models.locations import SHIPPED

    path, inputs = output_path(out), SHIPPED / "demo"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {path.parent} cannot be made: {error.strerror}.") from error
    image, motion = inputs / "picture.png", inputs / "motion.mp4"
    about = {"image": str(image), "motion": str(motion)}
    with claimed(path):
        output = Output(path=path, about=about, overwrite=True)
        Animation([image], [motion], make_settings(seed=1), ModelOptions(), output, dry_run=False).run(None)
    typer.echo(f"The video is at {path.resolve()}")
