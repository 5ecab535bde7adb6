"""Every kind of motion becomes part maps: what a file holds is told by its content, converted, and said.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magicanimate.errors import InputError
from magicanimate.media import Clip, Span, open_clip
from magicanimate.media.paths import existing_path
from magicanimate.media.reading import visible
from magicanimate.media.timing import DEFAULT_FPS, WHOLE, count_frames, cut_frames, timeline
from magicanimate.motion.clip import MotionClip
from magicanimate.motion.extractors.extract import absences, drawn, extract, fit, several
from magicanimate.motion.formats.arrays import check_lossless, is_array_file, plane_frames, read_parts, read_rate
from magicanimate.motion.formats.bvh import is_bvh
from magicanimate.motion.formats.palettes import PALETTE_NAMES, VIRIDIS, Coloring
from magicanimate.motion.formats.recognize import Recognized, recognize, sample
from magicanimate.parts.follow import Follower
from magicanimate.parts.frame_store import remembered
from magicanimate.parts.regions import keep_person
from magicanimate.progress import Progress
from magicanimate.untrusted import array_names

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion

__all__ = ["MotionClip", "open_motion"]

_BLACK_SHARE = 0.05  # of pixels, from which a black background is one


def open_motion(
    source: str | Path | Clip,
    span: Span = WHOLE,
    *,
    extractor: str = "auto",
    person: int | None = None,
    progress: Progress | None = None,
) -> MotionClip:
    """Open any motion as part maps. A part map streams; other kinds are converted here, which can take a while.

    Args:
        source: file, folder, or a clip that is already open (its span is then fixed).
        span: which frames, and at which rate.
        extractor: what finds people in pictures: auto (mediapipe, in what is not a part map), or mediapipe, densepose
            or dwpose, in whatever the clip looks like; the last two also as NAME=PATH with networks of one's own.
        person: which of several people, from left to right; default: the largest, or all where the source allows it.
        progress: told ("extracting", "looking" or "fitting", done, total).

    Raises:
        InputError: the file cannot be read, shows nobody, or is painted with a palette that is not known.
    """
    if isinstance(source, Clip):
        return _of_clip(source, extractor, person, progress)
    path = existing_path(source, "motion")
    if path.is_dir() and any(file.suffix.lower() == ".json" for file in visible(path)):
        return _of_keypoints(path, span, person, progress)
    start = _first_bytes(path)
    if is_bvh(start):
        return _of_bvh(path, span, progress)
    if is_array_file(start):
        return _chosen(_of_arrays(path, span), person)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return _of_keypoints(path, span, person, progress)
    return _of_clip(open_clip(path, span), extractor, person, progress)


def _first_bytes(path: Path) -> bytes:
    """Read the bytes that tell text and archives from pictures; empty where `open_clip` reports the error."""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _of_clip(clip: Clip, extractor: str, person: int | None, progress: Progress | None) -> MotionClip:
    if extractor != "auto":  # whoever names an extractor says that these are pictures of people
        return extract(clip, extractor, person, progress)
    frames = sample(clip)
    found = recognize(frames)
    if found.kind == "parts":
        return _chosen(_painted(clip, found), person)
    if found.kind in ("iuv", "indices"):
        check_lossless(clip, np.unique(np.stack(frames)[..., found.channel]))
        return _chosen(_numbers(clip, found), person)
    if found.kind == "picture":
        return extract(clip, extractor, person, progress)
    raise InputError(_not_understood(clip.path, found))


def _numbers(clip: Clip, found: Recognized) -> MotionClip:
    """Return pictures whose values are part indices."""
    what = "IUV planes" if found.kind == "iuv" else "part indices as color values"
    return MotionClip(
        clip.path, "densepose", clip.fps, clip.size, clip.count, lambda: plane_frames(clip, found.channel),
        notes=[*clip.notes, f"The motion holds {what}; it was converted."], warnings=clip.warnings, audio=clip.audio,
    )  # fmt: skip


def _of_arrays(path: Path, span: Span) -> MotionClip:
    """Return a file of arrays: a body motion that was saved, part indices or IUV planes."""
    if "pose" in array_names(path):
        from magicanimate.body.motion import BodyMotion

        return drawn(_cut(BodyMotion.load(path), span, path), path, "body", [])
    parts_FHW = read_parts(path)
    rate = read_rate(path) or span.fps or DEFAULT_FPS
    fps = span.fps or rate
    line = timeline([index / rate for index in range(len(parts_FHW))], rate)
    count = count_frames(line, span, path)
    _, height, width = parts_FHW.shape
    return MotionClip(
        path, "densepose", fps, (height, width), count,
        lambda: cut_frames(line, span, zip(line.times, parts_FHW, strict=True)),
        notes=["The motion holds part indices as an array; it was read as it is."],
    )  # fmt: skip


def _cut(body: BodyMotion, span: Span, path: Path) -> BodyMotion:
    """Return the frames of a span."""
    line = timeline([index / body.fps for index in range(len(body))], body.fps)
    count_frames(line, span, path)
    kept = np.array(list(cut_frames(line, span, zip(line.times, np.arange(len(body)), strict=True))))
    return replace(
        body, pose_FP=body.pose_FP[kept], position_F3=body.position_F3[kept], present_F=body.present_F[kept],
        fps=span.fps or body.fps,
    )  # fmt: skip


def _of_keypoints(path: Path, span: Span, person: int | None, progress: Progress | None) -> MotionClip:
    from magicanimate.motion.formats.keypoints import follow_person, read_keypoints

    found = read_keypoints(path)
    track, most = follow_person(found, span, person)
    notes = [f"The motion holds keypoints ({found.format}); a body was fitted to them and drawn.", *found.notes]
    notes += absences(track)
    return drawn(fit(track, progress), path, "keypoints", notes + several(most, person))


def _of_bvh(path: Path, span: Span, progress: Progress | None) -> MotionClip:
    from magicanimate.motion.formats.bvh import read_bvh, track_of_capture
    from magicanimate.motion.formats.bvh_bodies import read_body

    capture = read_bvh(path)
    own = read_body(capture)
    if own is not None:
        notes = ["The motion is BVH with the bones of this package; it was read as it is."]
        motion = drawn(_cut(own, span, path), path, "bvh", notes)
        motion.warnings = capture.warnings
        return motion
    track = track_of_capture(capture, span, path)
    notes = ["The motion is BVH motion capture; a body was fitted to it and drawn, seen from the front."]
    motion = drawn(fit(track, progress), path, "bvh", notes)
    motion.warnings = capture.warnings
    return motion


def _painted(clip: Clip, found: Recognized) -> MotionClip:
    """Return a part map in a known palette, streamed."""
    coloring = found.coloring
    assert coloring is not None
    return MotionClip(
        clip.path, "densepose", clip.fps, clip.size, clip.count,
        remembered(lambda: (coloring.decode(frame_HWC) for frame_HWC in clip)),
        notes=[*clip.notes, *_converted(coloring, found)], warnings=clip.warnings,
        coloring=coloring.name, near=found.near, colors=clip, audio=clip.audio,
    )  # fmt: skip


def _converted(coloring: Coloring, found: Recognized) -> list[str]:
    """Describe a conversion of a part map in a sentence."""
    if coloring is not VIRIDIS:
        return [coloring.note]
    if found.black > _BLACK_SHARE:
        return [f"The motion's background is black ({found.black:.0%} of its pixels); it was repainted purple."]
    return []


def _chosen(motion: MotionClip, person: int | None) -> MotionClip:
    """Return the same with one person only, where one was asked for."""
    if person is None or motion.body is not None:
        return motion

    def kept() -> Iterator[np.ndarray]:
        follow = Follower(person)
        return (keep_person(parts_HW, follow) for parts_HW in motion)

    note = f"Of the people in the motion, number {person} from the left was kept."
    return replace(motion, start=kept, notes=[*motion.notes, note], colors=None)


def _not_understood(path: Path, found: Recognized) -> str:
    if found.kind == "empty":
        return f"No person was found in {path}: its frames show one plain color; give a clip in which somebody moves."
    if found.kind == "depth":
        return (
            f"{path} is a depth video, and body parts cannot be told from depth; give the video that it was made from, "
            "or use it with a model whose control is depth."
        )
    return (
        f"{path} is painted in flat colors that are none of the known palettes ({PALETTE_NAMES}), so its parts cannot "
        "be told; give DensePose part indices through the viridis map, or the video they were made from. If it is an "
        "ordinary video, say so with --extractor mediapipe."
    )
