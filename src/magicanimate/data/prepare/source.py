"""One source, a video or a picture, becomes clips: read three times in step, never held whole.

Shape legend: F frames of the source, K frames of a clip, H W pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from magicanimate.data.prepare.cutting import ClipWindow, find_cuts, plan_windows, stretches, thumbnail
from magicanimate.data.prepare.measures import Crop, agreement, box_of, movement, sharpness, square_around
from magicanimate.data.prepare.people import Found, find_person, of_parts, with_parts
from magicanimate.data.prepare.settings import PrepareSettings
from magicanimate.errors import InputError
from magicanimate.media import Clip, Span, open_clip
from magicanimate.motion.open import open_motion
from magicanimate.synth.dataset import PERSON

STILL_FRAMES = 2
"""Frames of a picture's clip, which are equal: the reference and the target."""
_LONGEST_TOO_SHORT = 2  # frames below which nothing that could be called a scene was lost


@dataclass(frozen=True)
class Source:
    """A file, what it is called below VIDEOS, its content's hash, and the part maps that came with it."""

    path: Path
    name: str
    sha256: str
    parts: Path | None = None
    held_out: bool = False

    @property
    def key(self) -> str:
        return self.sha256[:16]


@dataclass
class Kept:
    """Clips of one stretch, ready to be written: [N, K, size, size(, 3)] by kind; uint8, but for the person bool."""

    arrays: dict[str, np.ndarray]
    clips: list[dict[str, Any]]


@dataclass
class SourceOutcome:
    """Outcome of a source's clips; kept clips are handed over stretch by stretch."""

    still: bool = False
    dropped: list[dict[str, Any]] = field(default_factory=list)

    def drop(self, reason: str, start: float = 0.0, end: float = 0.0, **more: Any) -> None:
        self.dropped.append({"reason": reason, "start": round(start, 3), "end": round(end, 3), **more})


Tick = Callable[[], None]
"""Called for every frame; it may raise to cancel."""


def cut_source(source: Source, settings: PrepareSettings, tick: Tick, outcome: SourceOutcome) -> Iterator[Kept]:
    """Yield clips of a source, one stretch at a time; `outcome` collects what is left out, and why."""
    try:
        clip = open_clip(source.path, Span(fps=settings.fps))
        change_F = _changes(clip, tick)
    except InputError as error:
        outcome.drop("damaged", detail=str(error))
        return
    outcome.still = len(change_F) == 1
    try:
        parts = _given_parts(source, clip, len(change_F))
    except InputError as error:
        outcome.drop("bad parts", detail=str(error))
        return
    longest = max(settings.frames, round(settings.max_seconds * settings.fps))
    faces, pictures = iter(clip), iter(clip)
    at = 0  # the next frame of `pictures`
    for number, stretch in enumerate(stretches(len(change_F), find_cuts(change_F, settings.scene_cut), longest)):
        scene = _Scene(clip, stretch, settings, outcome)
        frames = _ticking(islice(faces, len(stretch)), tick)
        given = None if parts is None else islice(parts, len(stretch))
        try:
            found, windows = scene.look(frames, given, np.random.default_rng([int(source.sha256[:15], 16), number]))
        except _BadParts as error:
            outcome.drop("bad parts", detail=str(error))
            return
        deque(frames, maxlen=0)  # a stretch that is not looked at is passed over
        if given is not None:
            deque(given, maxlen=0)
        if found is None:
            continue
        crops = [scene.crop(found, window) for window in windows]
        wanted = [(window, crop) for window, crop in zip(windows, crops, strict=True) if crop is not None]
        if not wanted:
            continue
        deque(islice(pictures, stretch.start - at), maxlen=0)
        at = stretch.stop
        rgb = _pictures(_ticking(islice(pictures, len(stretch)), tick), wanted, settings.size)
        kept = scene.judge(found, wanted, rgb)
        if kept.clips:
            yield kept


class _BadParts(Exception):
    """Part maps ended, or could not be read, in the middle."""


def _changes(clip: Clip, tick: Tick) -> np.ndarray:
    """Return the mean absolute difference of each frame to the one before it. [F]."""
    changes, before = [], None
    for frame_HWC in clip:
        tick()
        now = thumbnail(frame_HWC)
        changes.append(0.0 if before is None else float(np.abs(now - before).mean()))
        before = now
    return np.array(changes)


def _ticking(frames: Iterator[np.ndarray], tick: Tick) -> Iterator[np.ndarray]:
    for frame in frames:
        tick()
        yield frame


def _given_parts(source: Source, clip: Clip, count: int) -> Iterator[np.ndarray] | None:
    """Yield part maps that came with a source, at its rate. Raises InputError: they do not fit."""
    if source.parts is None:
        return None
    motion = open_motion(source.parts, Span(fps=clip.fps))
    if motion.kind != "densepose":
        raise InputError(f"{source.parts} is no DensePose map; remove it, and parts will be extracted.")
    if motion.count is not None and abs(motion.count - count) > 1:
        raise InputError(f"{source.parts} has {motion.count} frames and the video {count} at {clip.fps:g} fps.")
    if abs(motion.size[0] * clip.size[1] / (motion.size[1] * clip.size[0]) - 1) > 0.02:
        raise InputError(f"{source.parts} has another aspect ratio than the video.")

    def frames() -> Iterator[np.ndarray]:
        try:
            last = np.zeros(motion.size, np.uint8)
            for last in motion:
                yield last
        except InputError as error:
            raise _BadParts(str(error)) from error
        yield last  # maps may be one frame shorter than their video

    return frames()


def _pictures(
    frames: Iterator[np.ndarray], wanted: Sequence[tuple[ClipWindow, Crop]], size: int
) -> list[dict[int, np.ndarray]]:
    """Crop the wanted clips: for each, frame of the stretch -> picture [size, size, 3]."""
    out: list[dict[int, np.ndarray]] = [{} for _ in wanted]
    for index, frame_HWC in enumerate(frames):
        for (window, crop), pictures in zip(wanted, out, strict=True):
            if index == window.reference or index in window.run:
                pictures[index] = crop.picture(frame_HWC, size)
    return out


class _Scene:
    """A stretch of one source on its way to clips."""

    def __init__(self, clip: Clip, stretch: range, settings: PrepareSettings, outcome: SourceOutcome) -> None:
        self._clip, self._stretch, self._settings, self._outcome = clip, stretch, settings, outcome

    def look(
        self, frames: Iterator[np.ndarray], given: Iterator[np.ndarray] | None, rng: np.random.Generator
    ) -> tuple[Found | None, list[ClipWindow]]:
        """Find the person and the clips that can be cut; (None, []) if there are none."""
        settings, count = self._settings, len(self._stretch)
        still = self._outcome.still
        length = 1 if still else settings.frames - 1
        if not still and count <= length:
            if count > _LONGEST_TOO_SHORT:
                self._drop("too short", range(count))
            return None, []
        stretch = Clip(self._clip.path, self._clip.fps, self._clip.size, count, lambda: frames)
        found = self._find(stretch, given)
        if found is None or found.several:
            for window in plan_windows(np.ones(count, bool), length, 0, rng) or [ClipWindow(0, count, None)]:
                self._drop("several people" if found else "no person", window.run)
            return None, []
        if still:
            return found, [ClipWindow(0, 1, 0)]
        return found, plan_windows(found.seen_F, length, round(settings.gap * self._clip.fps), rng)

    def _find(self, stretch: Clip, given: Iterator[np.ndarray] | None) -> Found | None:
        parts = None if given is None else of_parts(given, stretch.size)
        if given is not None and (parts is None or not self._settings.controls):
            return parts
        body = find_person(stretch, self._settings.extractor)
        return body if parts is None or body is None else with_parts(body, parts)

    def crop(self, found: Found, window: ClipWindow) -> Crop | None:
        """Return the square of one clip; None if the clip has to be left out."""
        if window.reference is None or not found.seen_F[list(window.run)].all():
            self._drop("no person", window.run)
            return None
        frames = self._frames(window)
        boxes = [box_of(parts_HW, found.size) for parts_HW in found.small_parts(frames)]
        outlines = [found.outline(frame) for frame in frames]
        boxes += [box_of(outline_HW, found.size) for outline_HW in outlines if outline_HW is not None]
        boxes_N4 = np.array([box for box in boxes if box is not None]).reshape(-1, 4)
        if len(boxes_N4) == 0:
            self._drop("no person", window.run)
            return None
        extent = float(np.median(np.maximum(boxes_N4[:, 2] - boxes_N4[:, 0], boxes_N4[:, 3] - boxes_N4[:, 1])))
        if extent < self._settings.min_person * self._settings.size:
            self._drop("too small", window.run, extent=round(extent))
            return None
        crop = square_around(boxes_N4, found.size)
        padding = crop.padding(found.size)
        if padding > self._settings.max_padding:
            self._drop("off frame", window.run, padding=round(padding, 3))
            return None
        return crop

    def judge(
        self, found: Found, wanted: Sequence[tuple[ClipWindow, Crop]], rgb: Sequence[dict[int, np.ndarray]]
    ) -> Kept:
        """Draw the controls of the clips, measure, and keep what is good enough."""
        stacks: dict[str, list[np.ndarray]] = {}
        clips = []
        for (window, crop), pictures in zip(wanted, rgb, strict=True):
            frames = self._frames(window)
            arrays = {"rgb": np.stack([pictures[frame] for frame in frames])} | self._controls(found, frames, crop)
            arrays[PERSON] = self._person(found, frames, crop, arrays["parts"])
            figures = self._figures(found, window, arrays)
            reason = self._fault(figures)
            if reason:
                self._drop(reason, window.run, **figures)
                continue
            for kind, array in arrays.items():
                stacks.setdefault(kind, []).append(array)
            clips.append(self._about(found, window, crop, figures))
        return Kept({kind: np.stack(arrays) for kind, arrays in stacks.items()}, clips)

    def _controls(self, found: Found, frames: list[int], crop: Crop) -> dict[str, np.ndarray]:
        settings = self._settings
        scale = min(1.0, settings.size / crop.side)
        height, width = (max(1, round(side * scale)) for side in found.size)
        drawn = found.draw(frames, (height, width), ("parts", *settings.controls))
        return {
            kind: np.stack([crop.control(picture, found.size, settings.size) for picture in pictures])
            for kind, pictures in drawn.items()
        }

    def _person(self, found: Found, frames: list[int], crop: Crop, parts_KHW: np.ndarray) -> np.ndarray:
        """Return the person with hair and clothes, [K,H,W] bool; the body alone where the extractor tells no more."""
        person_KHW = parts_KHW > 0
        for k, frame in enumerate(frames):
            if (outline_HW := found.outline(frame)) is not None:
                person_KHW[k] = crop.control(outline_HW.astype(np.uint8), found.size, self._settings.size) > 0
        return person_KHW

    def _figures(self, found: Found, window: ClipWindow, arrays: dict[str, np.ndarray]) -> dict[str, float]:
        rgb, parts = arrays["rgb"], arrays["parts"]
        figures = {
            "sharpness": float(np.median([sharpness(rgb[k], parts[k] > 0) for k in range(len(rgb))])),
            "person": float((parts > 0).mean()),
        }
        if not self._outcome.still:
            figures["motion"] = movement(parts[1:], self._clip.fps)
        outlines = [(frame, found.outline(frame)) for frame in window.run]
        seen = [(frame, outline_HW) for frame, outline_HW in outlines if outline_HW is not None]
        if seen:
            drawn = found.small_parts([frame for frame, _ in seen])
            figures["agreement"] = float(
                np.mean([agreement(parts_HW, mask_HW) for parts_HW, (_, mask_HW) in zip(drawn, seen, strict=True)])
            )
        return {name: round(value, 4) for name, value in figures.items()}

    def _fault(self, figures: dict[str, float]) -> str | None:
        settings = self._settings
        if figures["person"] == 0:
            return "no person"
        if figures.get("agreement", 1.0) < settings.min_agreement:
            return "unsure"
        if figures["sharpness"] < settings.min_sharpness:
            return "blurred"
        return "still" if figures.get("motion", np.inf) < settings.min_motion else None

    def _frames(self, window: ClipWindow) -> list[int]:
        assert window.reference is not None
        return [window.reference, *window.run]

    def _about(self, found: Found, window: ClipWindow, crop: Crop, figures: dict[str, float]) -> dict[str, Any]:
        assert window.reference is not None
        reference = self._time(window.reference)
        away = max(window.start - window.reference, window.reference - window.run[-1])
        return {
            "times": [self._time(frame) for frame in self._frames(window)],
            "start": self._time(window.start), "end": self._time(window.run.stop), "reference": reference,
            "gap": round(away / self._clip.fps, 3),
            "crop": {"left": crop.left, "top": crop.top, "side": crop.side},
            "padding": round(crop.padding(found.size), 4), "figures": figures,
        }  # fmt: skip

    def _time(self, frame: int) -> float:
        return round((self._stretch.start + frame) / self._clip.fps, 3)

    def _drop(self, reason: str, run: range, **more: Any) -> None:
        self._outcome.drop(reason, self._time(run.start), self._time(run.stop), **more)
