"""`magicanimate motion`: any motion as a control signal, to look at, to keep, or to animate from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magicanimate.animation.settings import AnimateSettings, make_settings
from magicanimate.cli.commands import Command
from magicanimate.cli.options import with_options
from magicanimate.errors import InputError, why_not_written
from magicanimate.files import atomic_path
from magicanimate.version import version

if TYPE_CHECKING:
    import numpy as np

    from magicanimate.animation.parsing import Size
    from magicanimate.motion.clip import MotionClip

_EDIT = ".json"
_DATA = (".npz", ".bvh", ".openpose", _EDIT)
KINDS = ("parts", "depth", "normals", "pose")
_MAP_CRF = 6  # part maps have to survive: a quarter more bytes than at the usual quality of videos

app = typer.Typer(add_completion=False)


@app.command(cls=Command)
@with_options(AnimateSettings, only=lambda name, note: note.reads and name not in ("fit", "align", "person_edit"))
def motion(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Video of a person, DensePose video, GIF, folder of frames, keypoints, BVH, .npz; several are joined.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="mp4, webm, mov, gif, webp or apng file, a name without ending for a folder of PNG frames; .bvh, "
            ".openpose (a folder of key points) or .npz: the fitted body (as .npz the part indices where there is "
            "none); .json: the person of a picture, to be corrected for `--person-edit`.",
        ),
    ],
    kind: Annotated[str, typer.Option("--as", metavar="|".join(KINDS), help="What to write.")] = "parts",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    **options: Any,
) -> None:
    """Find the motion in a file; write it as DensePose parts, which `animate --motion` takes, or as other controls."""
    from rich.console import Console

    from magicanimate.animation.edit_motion import edited, joined_clips, with_body
    from magicanimate.animation.inputs import as_motion
    from magicanimate.animation.write_motion import BODIES, write_motion
    from magicanimate.cli.progress import ProgressDisplay
    from magicanimate.media import claimed, settings_path
    from magicanimate.media.paths import output_path

    settings = make_settings(**options)
    out = output_path(out)
    data = out.suffix.lower() in _DATA
    _check(out, data, kind, overwrite)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if out.suffix.lower() == _EDIT:
        _write_person(sources, out)
        console.print(f"Wrote {out}; correct it and give it to animate with --person-edit.", markup=False)
        return
    with claimed(out), ProgressDisplay(console) as progress:
        found = joined_clips([as_motion(source, settings, progress) for source in sources], progress)
        if out.suffix.lower() in BODIES:
            found = with_body(found, progress)
        found = edited(found, settings, progress)
        for sentence in (*found.notes, *(f"Warning: {warning}" for warning in found.warnings)):
            console.print(sentence, markup=False)
        shown = settings.size if isinstance(settings.size, tuple) else None
        about = _about(found, sources, kind, shown)
        if data:
            try:
                write_motion(found, out, about, shown)
            except OSError as error:
                raise InputError(f"{out} could not be written ({why_not_written(error)}).") from error
        else:
            frames = _counted(_frames(found, kind, shown), found.count, progress)
            _write_frames(frames, out, found, about, kind, overwrite)
    console.print(f"Wrote {out}; settings in {settings_path(out).name}.", markup=False)


def _check(out: Path, data: bool, kind: str, overwrite: bool) -> None:
    from magicanimate.media import check_output

    if kind not in KINDS:
        raise InputError(f"Unknown kind {kind!r}: --as is one of {', '.join(KINDS)}.")
    check_output(out.with_suffix(".mp4") if data else out, overwrite or data, "add --overwrite")
    if data and kind != "parts":
        raise InputError(f"A {out.suffix} file keeps the body, from which every kind is drawn; leave --as out.")
    if data and out.exists() and not overwrite:
        raise InputError(f"{out} already exists; choose another name or add --overwrite.")


def _write_person(sources: list[Path], out: Path) -> None:
    """Write where the person of a picture is."""
    from magicanimate.animation.person_edit import begin_person_edit
    from magicanimate.media import claimed, load_picture

    if len(sources) > 1:
        raise InputError(f"A {_EDIT} file has the person of one picture; give one picture.")
    edit = begin_person_edit(load_picture(sources[0]))
    with claimed(out):
        try:
            with atomic_path(out) as temporary:
                temporary.write_text(edit.to_json(), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{out} could not be written ({why_not_written(error)}).") from error


def _about(found: MotionClip, sources: list[Path], kind: str, size: Size | None) -> dict[str, Any]:
    return {
        "magicanimate": version(), "motion": ", ".join(map(str, sources)), "source": found.kind, "as": kind,
        "fps": found.fps, "size": list(size or found.size), "notes": found.notes, "warnings": found.warnings,
    }  # fmt: skip


def _frames(found: MotionClip, kind: str, size: Size | None) -> Iterator[np.ndarray]:
    """Yield RGB frames of one kind of control."""
    from magicanimate.parts.densepose import render_parts, resize_parts

    if found.body is not None:
        from magicanimate.body.draw import draw_motion

        body = found.body.resized(size) if size else found.body
        for drawn in draw_motion(body, kinds=(kind,)):
            yield render_parts(drawn["parts"]) if kind == "parts" else _rgb(drawn[kind])
        return
    if kind != "parts":
        raise InputError(
            f"{found.path} gives parts but no body in space, from which {kind} could be drawn; give the video that it "
            "was made from, without --extractor densepose."
        )
    for parts_HW in found:
        yield render_parts(resize_parts(parts_HW, size) if size else parts_HW)


def _rgb(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 3 else frame[..., None].repeat(3, -1)


def _counted(frames: Iterator[np.ndarray], count: int | None, progress: Any) -> Iterator[np.ndarray]:
    for done, frame_HWC in enumerate(frames, start=1):
        yield frame_HWC
        progress("writing", done, count)


def _write_frames(
    frames: Iterator[np.ndarray], out: Path, found: MotionClip, about: dict[str, Any], kind: str, overwrite: bool
) -> None:
    from magicanimate.media import open_writer

    crf = _MAP_CRF if kind == "parts" else None
    with open_writer(out, found.fps, about, overwrite, found.audio, crf=crf) as sink:
        for frame_HWC in frames:
            sink.write(frame_HWC)
