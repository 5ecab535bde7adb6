"""Open the background of a job: the picture's own, or a backdrop made from the settings.

Shape legend: F frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from magicanimate.animation.parsing import DRIVER, PICTURE, TRANSPARENT, is_path
from magicanimate.errors import InputError, did_you_mean
from magicanimate.media import Clip, Span, open_clip
from magicanimate.media.paths import existing_path
from magicanimate.media.pictures import Fit, fit_picture, place
from magicanimate.motion.clip import MotionClip
from magicanimate.motion.placing.align import placed_body
from magicanimate.person.light import mean_light
from magicanimate.person.removal import PersonRemoval
from magicanimate.person.scene import Backdrop
from magicanimate.progress import Progress

_LOOKS = 8
"""Frames of a video, spread over its length, whose light is measured."""


def open_backdrop(
    background: str, size: tuple[int, int], fit: Fit, fps: float, count: int, notes: list[str]
) -> Backdrop | None:
    """Return the backdrop of a video; None where the picture's own background stays.

    Args:
        background: as parsed; not the driver.
        size: (height, width) of the video.
        fit: how a picture or video of another shape is fitted.
        fps, count: rate and number of the video's frames.
        notes: a sentence is added where a video is shorter and begins again.

    Raises:
        InputError: a file that cannot be read.
    """
    if background == PICTURE:
        return None
    if not is_path(background):
        color = (0, 0, 0) if background == TRANSPARENT else tuple(bytes.fromhex(background[1:]))
        plain_HWC = np.full((*size, 3), color, np.uint8)
        return Backdrop(lambda index: plain_HWC)
    clip = _opened(background, Span(fps=fps, frames=count))
    played = PlayedClip(clip, size, fit)
    if 1 < len(played) < count:
        notes.append(
            f"The background {clip.path.name} has {len(played)} frames at {fps:g} fps and the video {count}, so it "
            "begins again where it ends."
        )
    return Backdrop(played, _light(played, len(played)))


def without_person(clip: MotionClip, size: tuple[int, int], fit: Fit, progress: Progress | None = None) -> Backdrop:
    """Return the video of a motion without the person who moves in it.

    Args:
        clip: with a body and the video in which it was found.
        size: (height, width) of the frames.
        fit: how the video is fitted to them.
        progress: told ("removing", done, total).
    """
    assert clip.pictures is not None
    assert clip.body is not None
    body = placed_body(clip.body, place(clip.size, size, fit))
    removal = PersonRemoval(PlayedClip(clip.pictures, size, fit), body, progress)
    return Backdrop(removal, _light(removal, len(body)))


def _light(frame: Callable[[int], np.ndarray], count: int) -> np.ndarray | None:
    """Return the mean light [3] of some frames of a video."""
    looks = [mean_light(frame(index)) for index in range(0, count, max(1, count // _LOOKS))]
    lights = [light_3 for light_3 in looks if light_3 is not None]
    return np.mean(lights, 0) if lights else None


def _opened(background: str, span: Span) -> Clip:
    """Return a picture, which is a clip of one frame, or a video."""
    try:
        return open_clip(existing_path(background, "background"), span)
    except InputError as error:
        sentence = str(error).replace("The motion ", "The background ")
        near = "" if Path(background).exists() else did_you_mean(background, (PICTURE, DRIVER, TRANSPARENT))
        raise InputError(f"{sentence.removesuffix('.')}{near}" if near else sentence) from error


class PlayedClip:
    """Frames of a clip at a size, by number; after its last one it begins again. Going forward is fast."""

    def __init__(self, clip: Clip, size: tuple[int, int], fit: Fit) -> None:
        self._clip, self._placement = clip, place(clip.size, size, fit)
        self._count = clip.count if clip.count is not None else sum(1 for _ in clip)
        self._frames: Iterator[np.ndarray] = iter(())
        self._at, self._shown_HWC = -1, np.zeros((*size, 3), np.uint8)

    def __len__(self) -> int:
        return self._count

    def __call__(self, index: int) -> np.ndarray:
        """Return [H, W, 3] uint8."""
        wanted = index % self._count
        if wanted == self._at:
            return self._shown_HWC
        if self._at < 0 or wanted < self._at:
            self._frames, self._at = iter(self._clip), -1
        frame_HWC = self._shown_HWC
        while self._at < wanted:
            frame_HWC = next(self._frames)
            self._at += 1
        self._shown_HWC = fit_picture(frame_HWC, self._placement, Image.Resampling.BILINEAR)
        return self._shown_HWC
