"""Frames and part maps of a pair, as they are compared.

Shape legend: F frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from magicanimate.errors import InputError, NobodyFound
from magicanimate.evaluate.measure import square_parts, square_picture
from magicanimate.media import clip_of_frames, open_clip
from magicanimate.media.reading import by_number, visible
from magicanimate.untrusted import read_array

_FPS = 25.0  # of arrays and folders, which have none


@dataclass
class Frames:
    """A video in memory at the resolution of the comparison."""

    frames_FHWC: np.ndarray
    """[F, H, W, 3] uint8."""
    source_size: tuple[int, int]
    """(height, width) of the file."""
    fps: float
    notes: list[str] = field(default_factory=list)


def read_frames(path: Path, size: int | None) -> Frames:
    """Read a video, a folder of frames, or an array of frames; crop and scale frame by frame.

    Arrays are [F, H, W, 3], or one [H, W, 3] per file: uint8, or floating point in [0, 1].

    Raises:
        InputError: it cannot be read to its end, or holds NaN.
    """
    try:
        arrays = [file for file in visible(path) if file.suffix.lower() == ".npy"] if path.is_dir() else []
        if arrays:
            files = sorted(arrays, key=by_number)
            return _collect(path, (read_array(file) for file in files), size, _FPS, [])
        if path.suffix.lower() in (".npy", ".npz") and path.is_file():
            return _collect(path, _frames_of(read_array(path), path), size, _FPS, [])
        clip = open_clip(path)
        return _collect(path, clip, size, clip.fps, [*clip.notes, *clip.warnings])
    except InputError as error:
        raise InputError(f"{path.name} cannot be evaluated: {error}") from error


def _frames_of(array: np.ndarray, path: Path) -> Iterator[np.ndarray]:
    if array.ndim != 4:
        raise InputError(f"{path.name} has shape {array.shape}; a video is [frames, height, width, 3].")
    return iter(array)


def _collect(path: Path, frames: Iterable[np.ndarray], size: int | None, fps: float, notes: list[str]) -> Frames:
    kept: list[np.ndarray] = []
    first: tuple[int, ...] | None = None
    for index, frame in enumerate(frames):
        image_HWC = _as_uint8(frame, f"frame {index + 1}")
        first = first or image_HWC.shape
        if image_HWC.shape != first:
            raise InputError(f"frame {index + 1} is not as large as the first one; make all frames one size.")
        kept.append(square_picture(image_HWC, size))
    if not kept or first is None:
        raise InputError("it has no frames.")
    return Frames(np.stack(kept), (first[0], first[1]), fps, notes)


def _as_uint8(frame: np.ndarray, which: str) -> np.ndarray:
    if frame.ndim != 3 or frame.shape[-1] != 3:
        raise InputError(f"{which} has shape {frame.shape}; a frame is [height, width, 3].")
    if frame.dtype == np.uint8:
        return frame
    if frame.dtype.kind != "f":
        raise InputError(f"{which} is {frame.dtype}; frames are uint8, or floating point in [0, 1].")
    if not np.isfinite(frame).all():
        raise InputError(f"{which} holds NaN or infinite values; the method that made it went wrong.")
    if frame.min() < 0 or frame.max() > 1:
        raise InputError(f"{which} has values from {frame.min():.3g} to {frame.max():.3g}; they have to be in [0, 1].")
    return np.rint(frame * 255).astype(np.uint8)


def read_parts(path: Path, size: int | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Return part maps [F, H, W] uint8 at the resolution of the comparison, and the file's (height, width).

    Raises:
        InputError: it cannot be read, or is an ordinary video.
    """
    from magicanimate.motion.formats.recognize import recognize, sample
    from magicanimate.motion.open import open_motion

    if path.suffix.lower() not in (".npy", ".npz") and recognize(sample(open_clip(path))).kind == "picture":
        raise InputError(
            f"{path} is an ordinary video, not a part map; make part maps with magicanimate motion and give those."
        )
    motion = open_motion(path)
    return np.stack([square_parts(parts_HW, size) for parts_HW in motion]), motion.size


def find_parts(
    frames: Frames, extractor: str, progress: Callable[[str, int, int | None], None] | None = None
) -> np.ndarray:
    """Return part maps [F, H, W] uint8 that an extractor finds in frames; background everywhere if it finds nobody.

    Raises:
        InputError: the extractor is not installed.
    """
    from magicanimate.motion.extractors.extract import extract

    try:
        found = extract(clip_of_frames(frames.frames_FHWC, frames.fps), extractor, None, progress)
        return np.stack(list(found))
    except NobodyFound:
        return np.zeros(frames.frames_FHWC.shape[:3], np.uint8)
