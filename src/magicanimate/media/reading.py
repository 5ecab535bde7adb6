"""Videos, animations and folders of pictures, read one frame at a time.

Shape legend: F frames, H W pixels, C colour channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from magicanimate.errors import InputError
from magicanimate.media.pictures import PICTURE_SUFFIXES, load_picture, to_rgb

DEFAULT_FPS = 25.0
_ANIMATIONS = (".gif", ".webp", ".apng", ".png")
_MISSING_FRAMES = 2  # a stream may declare this many more than it holds without being cut off


@dataclass
class Clip:
    """A video that can be read, any number of times: iterating yields frames [H, W, 3] uint8."""

    path: Path
    fps: float
    size: tuple[int, int]
    """(height, width) in pixels."""
    count: int | None
    """Number of frames that the file declares; None when it does not say."""
    start: Callable[[], Iterator[np.ndarray]] = field(repr=False)
    warnings: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[np.ndarray]:
        seen = 0
        for frame_HWC in self.start():
            seen += 1
            yield frame_HWC
        if self.count is not None and seen < self.count - _MISSING_FRAMES:
            warning = f"{self.path.name} breaks off: {seen} of its {self.count} frames could be read."
            if warning not in self.warnings:
                self.warnings.append(warning)


def open_clip(path: str | Path) -> Clip:
    """Open a video (anything FFmpeg reads), an animated GIF or WebP, a folder of pictures, or one picture.

    Raises:
        InputError: missing, empty, not a video, or without a single readable frame. A video that breaks off raises
            when the iteration reaches that place, naming the frame.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"The motion {path} does not exist; check the path.")
    if path.is_dir():
        return _open_folder(path)
    if path.stat().st_size == 0:
        raise InputError(f"The motion {path} is empty (0 bytes); give a video such as mp4.")
    if path.suffix.lower() in _ANIMATIONS:
        return _open_animation(path)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return _single(path)
    return _open_video(path)


def resample(frames: Iterable[np.ndarray], fps: float, new_fps: float) -> Iterator[np.ndarray]:
    """Frames as seen at another rate: each new frame shows what was on screen at its time."""
    produced = 0
    for index, frame_HWC in enumerate(frames):
        while produced * fps / new_fps < index + 1 - 1e-6:
            yield frame_HWC
            produced += 1


def _single(path: Path) -> Clip:
    image_HWC = load_picture(path)
    return Clip(path, DEFAULT_FPS, image_HWC.shape[:2], 1, lambda: iter([image_HWC]))


def _number_aware(path: Path) -> list[tuple[int, str]]:
    """Sort key under which frame_10 follows frame_9."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", path.name.lower())]


def _open_folder(path: Path) -> Clip:
    files = sorted((f for f in path.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES), key=_number_aware)
    if not files:
        raise InputError(f"The folder {path} holds no pictures; give one PNG or JPEG per frame, or a video file.")
    size = load_picture(files[0]).shape[:2]

    def frames() -> Iterator[np.ndarray]:
        for file in files:
            image_HWC = load_picture(file)
            if image_HWC.shape[:2] != size:
                height, width = image_HWC.shape[:2]
                raise InputError(
                    f"{file} is {width}x{height} but the first frame is {size[1]}x{size[0]}; make all frames one size."
                )
            yield image_HWC

    return Clip(path, DEFAULT_FPS, size, len(files), frames)


def _milliseconds(frame: Image.Image) -> float:
    frame.load()  # WebP tells a frame's duration only then
    return float(frame.info.get("duration") or 0)


def _open_animation(path: Path) -> Clip:
    try:
        with Image.open(path) as animation:
            count = getattr(animation, "n_frames", 1)
            if count == 1:
                return _single(path)
            durations = [_milliseconds(frame) for frame in ImageSequence.Iterator(animation)]
            size = (animation.height, animation.width)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is not an animation that can be read; give a GIF, WebP or mp4.") from error

    def frames() -> Iterator[np.ndarray]:
        with Image.open(path) as animation:
            for index in range(count):
                try:
                    animation.seek(index)
                    frame_HWC = np.asarray(to_rgb(animation))
                except (OSError, SyntaxError, EOFError) as error:
                    raise _broken(path, index) from error
                yield frame_HWC

    seconds = sum(durations) / 1000
    return Clip(path, count / seconds if seconds > 0 else DEFAULT_FPS, size, count, frames)


def _broken(path: Path, index: int) -> InputError:
    if index == 0:
        return InputError(f"The motion {path} is damaged: not one frame can be read; give a complete file.")
    return InputError(
        f"The motion {path} is damaged after frame {index}; give a complete file, or use only what is whole with "
        f"--max-frames {index}."
    )


def _open_container(path: Path) -> av.container.InputContainer:
    try:
        return av.open(str(path))
    except PermissionError as error:
        raise InputError(f"The motion {path} cannot be opened: no permission to read it.") from error
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(
            f"{path} is not a video that can be read, or it is cut off; give a complete mp4, webm or gif."
        ) from error


def _video_frames(path: Path) -> Iterator[np.ndarray]:
    """Decode packet by packet, so that whatever precedes damage is still delivered."""
    with _open_container(path) as container:
        if not container.streams.video:
            raise InputError(f"{path} has no video in it; give a video file.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        index = 0
        try:
            for packet in container.demux(stream):
                for frame in packet.decode():
                    yield _upright(frame)
                    index += 1
        except av.error.FFmpegError as error:
            raise _broken(path, index) from error
        # A cut can fall between packets, or its last packet can be decoded by luck. Only an exact count is proof.
        if index == 0 or (stream.frames and index < _declared(container, stream) - _MISSING_FRAMES):
            raise _broken(path, index)


def _declared(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """Frames that a file says it shows; edit lists hide some of those that it stores."""
    fps = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
    lasting = round(container.duration / av.time_base * fps) if container.duration else 0
    return min(stream.frames or lasting, lasting or stream.frames)


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB [H, W, 3] with the rotation that phones store beside the pixels applied."""
    frame_HWC = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(frame_HWC, turns)) if turns else frame_HWC


def _open_video(path: Path) -> Clip:
    with _open_container(path) as container:
        if not container.streams.video:
            raise InputError(f"{path} has no video in it; give a video file.")
        stream = container.streams.video[0]
        fps = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
        count = _declared(container, stream) or None
    first = next(_video_frames(path))
    return Clip(path, fps, first.shape[:2], count, lambda: _video_frames(path))
