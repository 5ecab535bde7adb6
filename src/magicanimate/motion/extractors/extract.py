"""Extract part maps from pictures of people: networks, and drawing the body that was fitted.

Shape legend: H W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicanimate.body.smoothing import runs
from magicanimate.errors import InputError, NobodyFound
from magicanimate.media import Clip
from magicanimate.motion.clip import Kind, MotionClip
from magicanimate.parts.frame_store import PackedFrames
from magicanimate.progress import Progress

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion
    from magicanimate.body.track import Track

_LISTED = 5  # absences in a sentence
EXTRACTORS = ("auto", "mediapipe", "densepose", "dwpose")


def extract(clip: Clip, extractor: str, person: int | None, progress: Progress | None) -> MotionClip:
    """Find people in a clip. `extractor` is one of EXTRACTORS, or NAME=PATH; see `motion.open.open_motion`.

    Raises:
        InputError: unknown extractor, what it needs is missing, or nobody was found.
    """
    name, _, own = extractor.partition("=")
    path = Path(own).expanduser() if own else None
    if name == "densepose":
        return _by_densepose(clip, path, person, progress)
    if name == "dwpose":
        return _by_dwpose(clip, path, person, progress)
    if name in ("auto", "mediapipe") and not own:
        return _by_mediapipe(clip, progress)
    raise InputError(f"Unknown extractor {extractor!r}: give {', '.join(EXTRACTORS)}, densepose=FILE or dwpose=FOLDER.")


def _by_densepose(clip: Clip, path: Path | None, person: int | None, progress: Progress | None) -> MotionClip:
    from magicanimate.motion.extractors.densepose import DensePose

    find = DensePose(path, person)
    maps = PackedFrames()
    for frame_HWC in clip:
        maps.append(find(frame_HWC))
        if progress:
            progress("extracting", len(maps), clip.count)
    if not find.most:
        raise NobodyFound(f"No person was found in {clip.path.name}; give a video in which somebody is seen clearly.")
    who = "one of them was kept" if person else "all were kept"
    people = f"up to {find.most} people were seen and {who}" if find.most > 1 else "one person was seen"
    return MotionClip(
        clip.path, "video", clip.fps, clip.size, len(maps), lambda: iter(maps),
        notes=[*clip.notes, f"The motion is an ordinary video; DensePose found its body parts ({people})."],
        warnings=clip.warnings, pictures=clip, audio=clip.audio,
    )  # fmt: skip


def _by_dwpose(clip: Clip, folder: Path | None, person: int | None, progress: Progress | None) -> MotionClip:
    from magicanimate.motion.extractors.dwpose import track_clip

    track, most = track_clip(clip, folder, person, progress)
    notes = ["The motion is an ordinary video; whole-body keypoints were found, and a body fitted to them and drawn."]
    return _of_video(clip, track, notes + several(most, person), progress)


def _by_mediapipe(clip: Clip, progress: Progress | None) -> MotionClip:
    from magicanimate.person.track_person import track_video

    track = track_video(clip, progress)
    notes = [
        "The motion is an ordinary video; one person was tracked (several need --extractor densepose), and a body "
        "fitted and drawn."
    ]
    return _of_video(clip, track, [*notes, *_bridged(track), *_cut(track), *absences(track)], progress)


def _of_video(clip: Clip, track: Track, notes: list[str], progress: Progress | None) -> MotionClip:
    motion = drawn(fit(track, progress), clip.path, "video", [*clip.notes, *notes])
    motion.warnings, motion.audio, motion.pictures = clip.warnings, clip.audio, clip
    return motion


def _bridged(track: Track) -> list[str]:
    """Return a sentence on frames without a person that were filled in from their neighbors."""
    if track.masks is None:
        return []
    count = sum(bool(seen) and track.masks(frame) is None for frame, seen in enumerate(track.seen_F))
    return [f"In {count} of {len(track)} frames the person was not seen; short gaps were bridged."] if count else []


def _cut(track: Track) -> list[str]:
    """Return a sentence on the cuts of a video."""
    if not track.cuts:
        return []
    told = ", ".join(f"{cut / track.fps:.2f}" for cut in track.cuts[:_LISTED])
    more = f" and {len(track.cuts) - _LISTED} times more" if len(track.cuts) > _LISTED else ""
    return [f"The video is cut, or somebody else is followed, at {told} s{more}: the body is fitted anew there."]


def absences(track: Track) -> list[str]:
    """Return a sentence that says from when to when nobody is there."""
    gone = [(gap.start / track.fps, gap.stop / track.fps) for gap in runs(~track.seen_F)]
    if not gone:
        return []
    told = ", ".join(f"{begin:.2f} to {end:.2f} s" for begin, end in gone[:_LISTED])
    more = f" and {len(gone) - _LISTED} times more" if len(gone) > _LISTED else ""
    return [f"Nobody is there from {told}{more}: those frames are without a person."]


def several(most: int, person: int | None) -> list[str]:
    """Return a sentence on people who are left out because only one can be followed."""
    if most < 2:
        return []
    return [f"Up to {most} people are in a frame; {'that one' if person else 'the largest'} was followed (--person)."]


def fit(track: Track, progress: Progress | None) -> BodyMotion:
    """Fit a body to a track."""
    from magicanimate.body.fit import fit_track

    return fit_track(track, progress)


def drawn(body: BodyMotion, path: Path, kind: Kind, notes: list[str]) -> MotionClip:
    """Return a fitted body as part maps, drawn anew whenever they are read."""
    from magicanimate.body.draw import draw_motion

    return MotionClip(
        path, kind, body.fps, body.size, len(body), lambda: (kinds["parts"] for kinds in draw_motion(body)),
        notes=notes, body=body,
    )  # fmt: skip
