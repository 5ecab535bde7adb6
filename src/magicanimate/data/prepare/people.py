"""Find the person in a stretch of video by an extractor or in part maps that came with it.

Shape legend: F frames of the stretch, K chosen ones, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from magicanimate.errors import InputError
from magicanimate.media import Clip
from magicanimate.motion.extractors.extract import extract, fit
from magicanimate.motion.report import count_heads
from magicanimate.parts.densepose import resize_parts
from magicanimate.parts.frame_store import PackedFrames
from magicanimate.progress import Progress

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion
    from magicanimate.body.track import Track

Size = tuple[int, int]
_SIDE = 192  # pixels of the longer side at which a person's extent is measured
_LOOKS = 3  # frames in which further people are looked for
_SURE = 0.6  # confidence of a further person's trunk
_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@dataclass(frozen=True)
class Found:
    """One person in a stretch."""

    size: Size
    """(height, width) of the source in pixels."""
    seen_F: np.ndarray
    """[F] bool."""
    several: bool
    """True if there are other people."""
    draw: Callable[[Sequence[int], Size, Sequence[str]], dict[str, np.ndarray]]
    """Frames, size of the whole picture, kinds -> kind: [K, H, W] or [K, H, W, 3] uint8."""
    outline: Callable[[int], np.ndarray | None]
    """Frame -> the person as seen, [h, w] bool; None where the extractor tells none."""

    def small_parts(self, frames: Sequence[int]) -> np.ndarray:
        """Return parts [K, h, w] at a resolution that is enough to see where the person is."""
        scale = min(1.0, _SIDE / max(self.size))
        height, width = (max(1, round(side * scale)) for side in self.size)
        return self.draw(frames, (height, width), ("parts",))["parts"]


def check_extractor(extractor: str, needs_body: bool) -> None:
    """Raise InputError if an extractor is unknown or cannot run here, before any video is read."""
    name, _, own = extractor.partition("=")
    path = Path(own).expanduser() if own else None
    if name == "densepose":
        if needs_body:
            raise InputError("The extractor densepose gives parts only; leave --controls out, or use mediapipe.")
        from magicanimate.motion.extractors.densepose import DensePose

        DensePose(path)
    elif name == "dwpose":
        from magicanimate.motion.extractors.dwpose import Wholebody

        Wholebody(path)
    elif extractor in ("auto", "mediapipe"):
        from magicanimate.person.track_person import track_picture

        track_picture(np.zeros((64, 64, 3), np.uint8))
    else:
        raise InputError(f"Unknown extractor {extractor!r}: give mediapipe, densepose or dwpose.")


def find_person(clip: Clip, extractor: str, progress: Progress | None = None) -> Found | None:
    """Return the person in a clip, which is read once; None if there is nobody."""
    name, _, own = extractor.partition("=")
    if name == "densepose":
        return _by_parts(clip, extractor, progress)
    looks = _Looks(clip)
    try:
        if name == "dwpose":
            from magicanimate.motion.extractors.dwpose import track_clip

            track, most = track_clip(clip, Path(own).expanduser() if own else None, None, progress)
            return of_body(fit(track, progress), track, most > 1)
        from magicanimate.person.track_person import track_video

        track = track_video(looks.clip, progress)
    except InputError:  # the clip was read before and the extractor checked, so all that is left is: nobody
        return None
    others = [_another(frame_HWC, track, index) for index, frame_HWC in looks.kept.items()]
    several = 2 * sum(others) > len(others)
    return of_body(fit(track, progress), track, several)


class _Looks:
    """A clip that keeps a few of its frames while it is read."""

    def __init__(self, clip: Clip) -> None:
        count = clip.count or 1
        wanted = {round(k * (count - 1) / max(1, _LOOKS - 1)) for k in range(_LOOKS)}
        self.kept: dict[int, np.ndarray] = {}

        def frames() -> Iterable[np.ndarray]:
            for index, frame_HWC in enumerate(clip):
                if index in wanted:
                    self.kept[index] = frame_HWC
                yield frame_HWC

        self.clip = replace(clip, start=lambda: iter(frames()))


def _another(frame_HWC: np.ndarray, track: Track, index: int) -> bool:
    """Return True if a person remains in a frame after the one who was found is painted over."""
    from magicanimate.person.track_person import track_picture

    outline_HW = track.masks(index) if track.masks else None
    if outline_HW is None:
        return False
    height, width = frame_HWC.shape[:2]
    picture = Image.fromarray(outline_HW).convert("L").resize((width, height))
    grown = picture.filter(ImageFilter.MaxFilter(2 * max(2, min(height, width) // 40) + 1))
    other = track_picture(_painted_over(frame_HWC, np.asarray(grown) > 0))
    if other is None:
        return False
    trunk = [other.names.index(name) for name in _TRUNK]
    return float(other.points_FJ3[0, trunk, 2].mean()) > _SURE


def _painted_over(frame_HWC: np.ndarray, covered_HW: np.ndarray) -> np.ndarray:
    """Rows run on from one side of what is covered to the other: a flat patch would still look like somebody."""
    painted_HWC = frame_HWC.copy()
    columns = np.arange(frame_HWC.shape[1])
    for row in np.flatnonzero(covered_HW.any(1) & ~covered_HW.all(1)):
        hidden, free = columns[covered_HW[row]], columns[~covered_HW[row]]
        for channel in range(3):
            painted_HWC[row, hidden, channel] = np.interp(hidden, free, frame_HWC[row, free, channel])
    return painted_HWC


def of_body(body: BodyMotion, track: Track, several: bool) -> Found:
    """Return a person to whom a body was fitted."""

    def draw(frames: Sequence[int], size: Size, kinds: Sequence[str]) -> dict[str, np.ndarray]:
        from magicanimate.body.draw import draw_motion

        at = np.asarray(frames)
        chosen = body.only(at)
        drawn = list(draw_motion(chosen, size, kinds))
        return {kind: np.stack([picture[kind] for picture in drawn]) for kind in kinds}

    def outline(frame: int) -> np.ndarray | None:
        return track.masks(frame) if track.masks else None

    return Found(track.size, body.present_F, several, draw, outline)


def of_parts(parts: Iterable[np.ndarray], size: Size) -> Found | None:
    """Return part maps of a stretch, as they are; `size` (height, width) is that of the video they belong to."""
    packed = PackedFrames(parts)
    if not packed:
        return None
    seen_F = np.array([bool(parts_HW.any()) for parts_HW in packed])
    if not seen_F.any():
        return None
    looks = np.flatnonzero(seen_F)[:: max(1, int(seen_F.sum()) // _LOOKS)]
    several = bool(np.median([count_heads(packed[int(index)]) for index in looks]) > 1)

    def draw(frames: Sequence[int], shown: Size, kinds: Sequence[str]) -> dict[str, np.ndarray]:
        if tuple(kinds) != ("parts",):
            raise InputError("Part maps have no body from which other controls could be drawn.")
        return {"parts": resize_parts(packed[list(frames)], shown)}

    return Found(size, seen_F, several, draw, lambda frame: None)


def _by_parts(clip: Clip, extractor: str, progress: Progress | None) -> Found | None:
    try:
        return of_parts(extract(clip, extractor, None, progress), clip.size)
    except InputError:
        return None


def with_parts(body: Found, given: Found) -> Found:
    """Parts as given, everything else from the body."""

    def draw(frames: Sequence[int], size: Size, kinds: Sequence[str]) -> dict[str, np.ndarray]:
        others = [kind for kind in kinds if kind != "parts"]
        drawn = body.draw(frames, size, others) if others else {}
        return drawn | (given.draw(frames, size, ("parts",)) if "parts" in kinds else {})

    return Found(given.size, body.seen_F & given.seen_F, body.several or given.several, draw, body.outline)
