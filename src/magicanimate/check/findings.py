"""Find what is good, notable, or wrong about an animation, one sentence each, with advice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from magicanimate.animation.job import Job
from magicanimate.animation.parsing import DRIVER
from magicanimate.animation.scene import NOBODY
from magicanimate.check.measure import Measured
from magicanimate.models.config import ModelConfig
from magicanimate.parts.densepose import PART_NAMES
from magicanimate.parts.skeleton import LENGTHS

Level = Literal["ok", "note", "warning", "error"]

_SMALL, _LARGE = 0.03, 0.7  # share of the frame that a body covers
_UPSCALED = 1.5  # enlargement of the picture beyond which it looks soft
_OFTEN = 0.5  # of the frames
_FLICKER = 0.08  # of the body's pixels; DensePose of ordinary videos has 0.02 to 0.05
_RATES = (10.0, 60.0)  # frames per second
_LONG = 1500  # frames
_LITTLE = 0.45  # of the picture's height: the networks and the eye have few pixels of smaller people
_POOR, _POOR_PARTS = 0.45, 0.6  # agreement of a body with a person's mask, and with part maps
_CLEARLY = "Give a photograph in which one person is seen clearly and large enough, or cut it closer to the person."
_MISMATCH = 0.2  # logarithm of a ratio of sizes


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    topic: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.advice}".strip()


def find(job: Job, measured: Measured, config: ModelConfig, picture: tuple[int, int]) -> list[Finding]:
    """Return everything that can be told of a job without computing it.

    Args:
        job: as prepared.
        measured: figures of its signal.
        config: the model's description.
        picture: (height, width) of the picture as it was given.
    """
    return [
        *_source(job), *_people(job, measured), *_coverage(job, measured), *_cut_off(measured), *_jitter(measured),
        *_person(job), *_body(job), *_alignment(job), *_timing(job, config), *_picture(job, picture),
    ]  # fmt: skip


def _source(job: Job) -> Iterator[Finding]:
    found = job.signal.report
    if found.coloring == "parts":
        yield Finding("ok", "source", f"The motion was converted to part maps; {len(job)} frames.")
    elif found.near < 0.8:
        yield Finding(
            "warning", "palette", f"Only {found.near:.0%} of its pixels have a clean color of {found.coloring}.",
            "Strong compression does that: export it again at a higher quality.",
        )  # fmt: skip
    else:
        yield Finding("ok", "palette", f"The motion is a part map in {found.coloring} colors.")
    yield from (Finding("note", "source", note) for note in job.notes)
    yield from (Finding("warning", "source", warning) for warning in job.warnings)


def _people(job: Job, measured: Measured) -> Iterator[Finding]:
    fewest, most = measured.people
    people = job.signal.report.people
    if people == 0:
        yield Finding(
            "warning", "people", "No head is seen in most frames of the motion.",
            "Check that the person is in the frame, or use another --size or --fit.",
        )  # fmt: skip
    elif people == 1:
        yield Finding("ok", "people", "One person moves.")
    else:
        yield Finding(
            "note", "people", f"{people} people move; all of them are used.",
            "The picture should show as many, in the same order from left to right.",
        )  # fmt: skip
    if people and fewest != most:
        yield Finding("note", "people", f"The number of heads varies between {fewest} and {most}.")


def _coverage(job: Job, measured: Measured) -> Iterator[Finding]:
    covered = job.signal.report.coverage
    if covered < _SMALL:
        yield Finding(
            "warning", "coverage", f"The body covers only {covered:.1%} of the frame.",
            "Cut the motion closer to the person; small figures come out blurred.",
        )  # fmt: skip
    elif covered > _LARGE:
        yield Finding(
            "warning", "coverage", f"The body covers {covered:.0%} of the frame, background included it is too close.",
            "Use a motion that shows more around the person.",
        )  # fmt: skip
    else:
        yield Finding("ok", "coverage", f"The body covers {covered:.0%} of the frame.")
    groups = {
        "head": (23, 24), "torso": (1, 2), "arms": range(15, 23), "hands": (3, 4), "legs": range(7, 15), "feet": (5, 6),
    }  # fmt: skip
    never = [name for name, parts in groups.items() if measured.seen_25[list(parts)].max() == 0]
    if never:
        yield Finding("note", "coverage", f"The motion never shows {', '.join(never)}.")
    missing = [PART_NAMES[i] for i in (1, 2) if measured.seen_25[i] == 0]
    if missing and "torso" not in never:
        yield Finding("note", "coverage", f"One side of the torso, {missing[0]}, is never seen.")


def _cut_off(measured: Measured) -> Iterator[Finding]:
    cut = {side: share for side, share in measured.cut.items() if share > _OFTEN}
    if "top" in cut:
        yield Finding(
            "warning", "cut off", f"The head runs out of the frame in {cut['top']:.0%} of the frames.",
            "Use a motion with room above the head, or --fit contain.",
        )  # fmt: skip
    if "bottom" in cut:
        yield Finding(
            "note", "cut off", f"The body runs out at the bottom in {cut['bottom']:.0%} of the frames.",
            "That is fine if the picture is cut off there too.",
        )  # fmt: skip
    for side in ("left", "right"):
        if side in cut:
            yield Finding(
                "warning", "cut off", f"The body runs out at the {side} in {cut[side]:.0%} of the frames.",
                "Use a wider --size.",
            )  # fmt: skip
    if not cut:
        yield Finding("ok", "cut off", "The body stays inside the frame.")


def _jitter(measured: Measured) -> Iterator[Finding]:
    if measured.flicker > _FLICKER:
        yield Finding(
            "warning", "jitter", f"The part maps flicker: {measured.flicker:.1%} of the body jumps for one frame.",
            "Extract the motion again from the original video, or lower --fps.",
        )  # fmt: skip
    else:
        yield Finding("ok", "jitter", f"The part maps are steady ({measured.flicker:.1%} of the body flickers).")


def _person(job: Job) -> Iterator[Finding]:
    """Report who was found in the picture, if somebody was looked for."""
    aligned = job.alignment
    looked_for = job.scene is not None or job.settings.align == "auto"
    if aligned is None or not looked_for:
        return
    person = aligned.person
    if person is None:
        if NOBODY not in job.warnings:
            yield Finding("warning", "person", "No person was recognized in the picture.", _CLEARLY)
        return
    shown = [name for name, share in zip(LENGTHS, person.visible_L, strict=True) if share > _OFTEN and name != "width"]
    text = f"A person was found in the picture; it shows {', '.join(shown) or 'hardly more than a head'}."
    yield Finding("ok", "person", text, "If there are more, the motion follows the one that is marked in the sheet.")
    rows = np.flatnonzero((person.parts_HW > 0).any(1))
    height = float(np.ptp(rows) + 1) / person.parts_HW.shape[0] if rows.size else 0.0
    if height < _LITTLE:
        yield Finding(
            "warning", "person", f"The person takes up {height:.0%} of the picture's height.",
            "Cut the picture closer to them; there are more pixels for them then.",
        )  # fmt: skip


def _body(job: Job) -> Iterator[Finding]:
    """Report the agreement of fitted bodies with what they were fitted to."""
    person = job.alignment.person if job.alignment else None
    if person is not None:
        text = f"The body that was fitted to the picture covers {person.agreement:.0%} of what it and the person cover."
        doubtful = person.agreement < _POOR and job.scene is None
        yield Finding("warning" if doubtful else "ok", "body", text, _CLEARLY if doubtful else "")
    if job.parts_agreement is not None:
        text = (
            f"The body that was fitted to the part maps agrees with them at {job.parts_agreement:.2f} (mean "
            "intersection over union of torso, arms, legs and head)."
        )
        poor = job.parts_agreement < _POOR_PARTS
        advice = "Parts may come out in wrong places; use a motion with one person who is seen clearly." if poor else ""
        yield Finding("warning" if poor else "ok", "fit", text, advice)


def _alignment(job: Job) -> Iterator[Finding]:
    """Report the sizes of both people, before and after alignment."""
    aligned = job.alignment
    if job.settings.background == DRIVER:
        return
    if aligned is None or job.settings.align == "none":
        yield Finding("note", "alignment", "The motion is used as it is (--align none).")
        return
    if aligned.needed is None:
        if aligned.person is not None:
            yield Finding(
                "warning", "person", "Picture and motion show no parts of the body in common, so the motion stays "
                "where it is.", "Crop the picture to the person, or give one that shows more of them.",
            )  # fmt: skip
        return
    before, after = 1 / aligned.needed, aligned.used / aligned.needed
    text = f"The moving person had {before:.2f} times the size of the one in the picture, after alignment {after:.2f}."
    if abs(math.log(after)) > _MISMATCH:
        yield Finding(
            "warning", "alignment", text, "Use a motion that is framed like the picture, or cut the picture closer."
        )  # fmt: skip
    else:
        yield Finding("ok", "alignment", text)


def _timing(job: Job, config: ModelConfig) -> Iterator[Finding]:
    seconds = len(job) / job.fps
    text = f"{len(job)} frames at {job.fps:g} fps, {seconds:.1f} s."
    if len(job) == 1:
        yield Finding("note", "length", "The motion is a single frame, so the result is a still.")
    elif len(job) > _LONG:
        yield Finding("note", "length", text, "Try --max-frames 50 first.")
    elif not _RATES[0] <= job.fps <= _RATES[1]:
        yield Finding("warning", "frame rate", text, f"Use --fps {config.fps:g}, at which the model was trained.")
    else:
        yield Finding("ok", "length", text)
    if job.audio is not None:
        yield Finding("ok", "sound", "The motion's sound goes into mp4 and webm files.", "--no-audio leaves it out.")


def _picture(job: Job, picture: tuple[int, int]) -> Iterator[Finding]:
    (height, width), (rows, columns) = picture, job.size
    if job.settings.fit == "stretch":
        enlarged = max(rows / height, columns / width)
    elif job.settings.fit == "contain":
        enlarged = min(rows / height, columns / width)
    else:
        enlarged = max(rows / height, columns / width)
        lost = 1 - (rows * columns / enlarged**2) / (height * width)
        if lost > 0.25:
            yield Finding(
                "warning", "picture", f"{lost:.0%} of the picture is cut away, as the motion has another shape.",
                "Use --fit contain, or a --size of the picture's shape.",
            )  # fmt: skip
    if enlarged > _UPSCALED:
        yield Finding(
            "warning", "picture", f"The picture of {width}x{height} pixels is enlarged {enlarged:.1f} times.",
            "Give a larger one.",
        )  # fmt: skip
    else:
        yield Finding("ok", "picture", f"The picture has {width}x{height} pixels.")
