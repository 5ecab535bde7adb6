"""The settings that change a motion before it is used: joined, smoothed, faster, mirrored, held, looped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magicanimate.animation.settings import AnimateSettings
from magicanimate.errors import InputError
from magicanimate.motion.clip import MotionClip
from magicanimate.motion.edits import held, joined, looped, mirrored, smoothed, sped
from magicanimate.motion.extractors.extract import drawn
from magicanimate.motion.placing.fit_parts import agreement, fit_parts_once
from magicanimate.motion.report import count_heads
from magicanimate.progress import Progress

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion


def with_body(clip: MotionClip, progress: Progress | None = None) -> MotionClip:
    """Return a clip of part maps with a body fitted to them, if they show one person; others as they are."""
    if clip.body is not None:
        return clip
    maps = list(clip)
    heads = [count_heads(parts_HW) for parts_HW in maps[:: max(1, len(maps) // 8)]]
    if not maps or np.median(heads) != 1:
        return clip
    if progress:
        progress("fitting", 0, len(maps))
    try:
        body = fit_parts_once(maps, clip.fps)
    except InputError:  # no joints are seen in any frame
        return clip
    return replace(clip, body=body, agreement=agreement(body, maps))


def timing_edits(settings: AnimateSettings) -> list[str]:
    """Return options that were given and make a motion another than that of its video."""
    given = {
        "--speed": settings.speed != 1, "--mirror": settings.mirror, "--hold": settings.hold > 0,
        "--loop": settings.loop,
    }  # fmt: skip
    return [name for name, used in given.items() if used]


def edited(clip: MotionClip, settings: AnimateSettings, progress: Progress | None = None) -> MotionClip:
    """Return a motion as the settings change it; without such settings the same object.

    Raises:
        InputError: it has no body that could be changed.
    """
    needs_body = [name for name in timing_edits(settings) if name != "--loop"] + ["--smooth"] * (settings.smooth > 0)
    if not needs_body and not settings.loop:
        return clip
    clip = with_body(clip, progress) if needs_body else clip
    if clip.body is None:
        if not needs_body:  # windows of the networks wrap around instead
            return clip
        raise InputError(
            f"{needs_body[0]} changes the motion of one body, and none can be fitted to {clip.path.name}; give a "
            "video, keypoints, BVH or part maps of one person."
        )
    body = _changed(clip.body, settings)
    notes, audio = clip.notes, clip.audio
    if settings.speed != 1 and audio is not None:
        notes, audio = [*notes, "The motion is faster or slower than its sound, which is left out."], None
    changed = drawn(body, clip.path, clip.kind, notes)
    return replace(changed, warnings=clip.warnings, pictures=clip.pictures, agreement=clip.agreement, audio=audio)


def _changed(body: BodyMotion, settings: AnimateSettings) -> BodyMotion:
    if settings.smooth:
        body = smoothed(body, settings.smooth)
    if settings.speed != 1:
        body = sped(body, settings.speed)
    if settings.mirror:
        body = mirrored(body)
    if settings.hold:
        body = held(body, settings.hold)
    if settings.max_frames:
        body = body.only(slice(settings.max_frames))
    return looped(body) if settings.loop else body


def joined_clips(clips: Sequence[MotionClip], progress: Progress | None = None) -> MotionClip:
    """Return several motions as one, blended from each to the next; one alone stays as it is.

    Raises:
        InputError: one of them has no body.
    """
    if len(clips) == 1:
        return clips[0]
    bodies: list[BodyMotion] = []
    for clip in clips:
        fitted = with_body(clip, progress).body
        if fitted is None:
            raise InputError(f"Motions are joined by their bodies, and none can be fitted to {clip.path.name}.")
        bodies.append(fitted)
    notes = [note for clip in clips for note in clip.notes]
    names = ", ".join(clip.path.name for clip in clips)
    whole = drawn(joined(bodies), Path(clips[0].path), clips[0].kind, [*notes, f"The motions {names} were joined."])
    return replace(whole, warnings=[warning for clip in clips for warning in clip.warnings])
