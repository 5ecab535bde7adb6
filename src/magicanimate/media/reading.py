"""Videos, animations and folders of pictures, read one frame at a time.

What a file is, its content decides and not its name.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from magicanimate.errors import InputError
from magicanimate.media.audio import Audio
from magicanimate.media.containers import decode_from, open_container, video_stream
from magicanimate.media.paths import existing_path
from magicanimate.media.pictures import PICTURE_SUFFIXES, load_picture, open_picture, picture_kind, to_rgb
from magicanimate.media.pixels import to_rgb8
from magicanimate.media.timing import DEFAULT_FPS, WHOLE, Span, Timed, Timeline, count_frames, cut_frames, timeline

_ANIMATIONS = ("GIF", "WEBP", "PNG", "TIFF", "AVIF")
_SHORTEST_DELAY, _USUAL_DELAY = 10.0, 100.0
"""Milliseconds: delays of GIFs up to the first are the second in all browsers."""
_MISSING_FRAMES = 2  # a stream may declare this many more than it holds without being cut off


@dataclass
class Clip:
    """A video that can be read, any number of times: iterating yields frames [H, W, 3] uint8 at an even rate."""

    path: Path
    fps: float
    size: tuple[int, int]
    """(height, width) in pixels."""
    count: int | None
    """Number of frames; None when that is not known."""
    start: Callable[[], Iterator[np.ndarray]] = field(repr=False)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    audio: Audio | None = None
    """The sound that belongs to these frames."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.start()


def open_clip(path: str | Path, span: Span = WHOLE) -> Clip:
    """Open a video (anything FFmpeg reads), an animated GIF, WebP or PNG, a folder of pictures, or one picture.

    Args:
        path: file or folder.
        span: which of its frames, and at which rate. A variable rate becomes an even one: what is on the screen at
            each time.

    Raises:
        InputError: missing, empty, not a video, without a single readable frame, or with nothing in the span. A
            video that breaks off raises when the iteration reaches that place, naming the frame.
    """
    path = existing_path(path, "motion")
    if path.is_dir():
        return _open_folder(path, span)
    if path.stat().st_size == 0:
        raise InputError(f"The motion {path} is empty (0 bytes); give a video such as mp4.")
    try:
        with open_picture(path) as picture:
            # The further pictures of an MPO or HEIC file are previews, depths or other views.
            animated = picture.format in _ANIMATIONS and getattr(picture, "n_frames", 1) > 1
    except PermissionError as error:
        raise InputError(f"The motion {path} cannot be opened: no permission to read it.") from error
    except UnidentifiedImageError:
        return _single(path, span) if picture_kind(path) else _open_video(path, span)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"The motion {path} is damaged ({error}); save it again or give another.") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"The motion {path} has too many pixels; scale it down first.") from error
    return _open_animation(path, span) if animated else _single(path, span)


def _clip(path: Path, size: tuple[int, int], line: Timeline, span: Span, timed: Callable[[], Iterator[Timed]]) -> Clip:
    """Return a clip of the frames of a span."""
    count = count_frames(line, span, path)
    notes = [] if line.even or line.holes else [
        f"{path.name} has a variable frame rate; it was read as {span.fps or line.fps:.4g} fps by its time stamps."
    ]  # fmt: skip
    return Clip(path, span.fps or line.fps, size, count, lambda: cut_frames(line, span, timed()), notes=notes)


def clip_of_frames(frames_FHWC: np.ndarray, fps: float, span: Span = WHOLE) -> Clip:
    """Return a clip of frames that are in memory, [F, H, W, 3] uint8."""
    line = _even(len(frames_FHWC), fps)
    name = Path("array")
    return _clip(name, _size(frames_FHWC[0]), line, span, lambda: zip(line.times, frames_FHWC, strict=True))


def _even(count: int, fps: float = DEFAULT_FPS) -> Timeline:
    return timeline([index / fps for index in range(count)], fps)


def _single(path: Path, span: Span) -> Clip:
    image_HWC = load_picture(path)
    return _clip(path, _size(image_HWC), _even(1), span, lambda: iter([(0.0, image_HWC)]))


def _size(image_HWC: np.ndarray) -> tuple[int, int]:
    height, width = image_HWC.shape[:2]
    return height, width


def by_number(path: Path | str) -> list[tuple[int, str]]:
    """Sort key under which frame_10 follows frame_9."""
    name = path if isinstance(path, str) else path.name
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d{1,18})", name.lower())]


def visible(folder: Path) -> list[Path]:
    """Return files and folders in a folder, sorted by name, without hidden ones such as the `._*` that macOS leaves."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _open_folder(path: Path, span: Span) -> Clip:
    files = sorted((file for file in visible(path) if file.suffix.lower() in PICTURE_SUFFIXES), key=by_number)
    if not files:
        raise InputError(f"The folder {path} holds no pictures; give one PNG or JPEG per frame, or a video file.")
    size = _size(load_picture(files[0]))

    line = _even(len(files))

    def frames() -> Iterator[Timed]:
        for time, file in zip(line.times, files, strict=True):
            image_HWC = load_picture(file)
            if _size(image_HWC) != size:
                height, width = image_HWC.shape[:2]
                raise InputError(
                    f"{file} is {width}x{height} but the first frame is {size[1]}x{size[0]}; make all frames one size."
                )
            yield time, image_HWC

    return _clip(path, size, line, span, frames)


def _milliseconds(frame: Image.Image) -> float:
    frame.load()  # WebP tells a frame's duration only then
    duration = float(frame.info.get("duration") or 0)
    if frame.format == "GIF" and duration <= _SHORTEST_DELAY:
        return _USUAL_DELAY
    return duration


def _open_animation(path: Path, span: Span) -> Clip:
    try:
        with open_picture(path) as animation:
            durations = [_milliseconds(frame) / 1000 for frame in ImageSequence.Iterator(animation)]
            size = _size(np.asarray(to_rgb(animation)))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is not an animation that can be read; give a GIF, WebP or mp4.") from error
    count, length = len(durations), sum(durations)
    line = _even(count)
    if length > 0:
        times = [sum(durations[:index]) for index in range(count)]
        line = timeline(times, count / length, length)

    def frames() -> Iterator[Timed]:
        with open_picture(path) as animation:
            for index, time in enumerate(line.times):
                try:
                    animation.seek(index)
                    frame_HWC = np.asarray(to_rgb(animation))
                except (OSError, SyntaxError, EOFError) as error:
                    raise _broken(path, index, time) from error
                yield time, frame_HWC

    return _clip(path, size, line, span, frames)


def _broken(path: Path, index: int, time: float) -> InputError:
    """Return the sentence for a clip whose frame `index`, at `time`, cannot be read."""
    if index == 0:
        return InputError(f"The motion {path} is damaged: not one frame can be read; give a complete file.")
    return InputError(
        f"The motion {path} is damaged after frame {index}; give a complete file, or use only what is whole with "
        f"--end {time:.2f}."
    )


@dataclass(frozen=True)
class _Video:
    """Properties that a video file states."""

    line: Timeline
    origin: float
    """Time of the first frame on the file's own clock, seconds."""
    stored: int
    """Frames that can be expected to be readable."""
    declared: int
    """Frames that it should hold, counted or estimated by the duration."""
    whole: bool
    """True if everything is there that its index or its count of frames promises."""
    short: bool
    """True if far fewer frames are there than its duration promises, where nothing else promises any."""
    aspect: float
    """Width of a pixel by its height."""
    sound: bool
    stamped: bool
    """True if frames carry times; without, the file cannot be entered in its middle."""


def _inspect(path: Path) -> _Video:
    """Read the time stamps of all packets, which decodes nothing."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        fps = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
        seconds = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / av.time_base
        lasting = round(seconds * fps)
        # Edit lists hide some of the frames that a file stores.
        declared = min(stream.frames or lasting, lasting or stream.frames)
        # The last byte that the index of an mp4 promises; other files have none, or one of some frames only.
        end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
        counted = bool(stream.frames)
        indexed = "mp4" in container.format.name and end > 0
        aspect = float(stream.sample_aspect_ratio or 1)
        shown: list[float] = []
        stored = 0
        try:
            for packet in container.demux(stream):
                stored += packet.size > 0 and not packet.is_discard
                if packet.pts is not None and not packet.is_discard:
                    shown.append(float(packet.pts * packet.time_base))
        except av.error.FFmpegError:
            pass  # what is damaged is told when decoding gets there
        sound = any(track.codec_context is not None for track in container.streams.audio)
        whole = end <= path.stat().st_size if indexed else stored >= stream.frames - _MISSING_FRAMES
    times = sorted(shown)
    stamped = len(times) >= stored
    if not stamped:
        times = [index / fps for index in range(stored)]
    origin = times[0] if times else 0.0
    line = timeline([time - origin for time in times] or [0.0], fps, declared / fps if stored < declared else None)
    short = not indexed and not counted and stored < declared - _MISSING_FRAMES
    return _Video(line, origin, stored, declared, whole, short, aspect, sound, stamped)


def _video_frames(path: Path, about: _Video, begin: float) -> Iterator[Timed]:
    """Yield frames from the one at `begin`, or from one before it, on."""
    start = about.origin + begin if begin > 0 and about.stamped else None
    index, time = 0, -1 / about.line.fps if start is None else begin
    try:
        for frame in decode_from(path, "video", start):
            time = time + 1 / about.line.fps if frame.time is None else frame.time - about.origin
            yield time, to_rgb8(frame, about.aspect)
            index += 1
    except av.error.FFmpegError as error:
        raise _broken(path, index, max(time, 0)) from error
    # A cut can fall between packets, or its last packet can be decoded by luck.
    if index == 0 or not about.whole:
        raise _broken(path, index, max(time, 0))


def _of_one_size(frames: Iterator[Timed], size: tuple[int, int]) -> Iterator[Timed]:
    """Yield frames scaled to (height, width), as players do where a broadcast changes its size."""
    for time, frame_HWC in frames:
        if _size(frame_HWC) == size:
            yield time, frame_HWC
        else:
            yield time, np.asarray(Image.fromarray(frame_HWC).resize(size[::-1], Image.Resampling.BICUBIC))


def _open_video(path: Path, span: Span) -> Clip:
    about = _inspect(path)
    _, first_HWC = next(_video_frames(path, about, 0))
    size = _size(first_HWC)
    clip = _clip(path, size, about.line, span, lambda: _of_one_size(_video_frames(path, about, span.start), size))
    if about.short:
        clip.warnings.append(f"{path.name} breaks off: {about.stored} of its {about.declared} frames could be read.")
    if about.sound and clip.count:
        clip.audio = Audio(path, about.origin + span.start, clip.count / clip.fps)
    return clip
