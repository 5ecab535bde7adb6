"""Opens video files through FFmpeg, and decodes them from any time on.

Whatever FFmpeg raises while a file is opened becomes an `InputError`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
from av.container import InputContainer

from magicanimate.errors import InputError

if TYPE_CHECKING:
    from av.stream import Stream

_BACK = (0.0, 1.0, 4.0, 16.0, 64.0)
"""Seconds before the wanted time to which is gone until a frame comes that is early enough. MPEG streams have no index,
and pictures can only be decoded from the next one that is stored whole."""
_LATE = 0.002  # seconds: containers round times to milliseconds or coarser
_PICTURES = ("image2", "_pipe")  # ends of the names under which FFmpeg knows single pictures


def open_container(path: Path, what: str = "motion", container: str | None = None) -> InputContainer:
    """Open a file; close it by `with`. Texts in it that are not UTF-8 are no fault.

    Args:
        path: the file.
        what: names it in messages.
        container: FFmpeg's name of the only format that it may be of; None: whatever its content is.

    Raises:
        InputError: no permission, no video, or damaged.
    """
    try:
        return av.open(str(path), format=container, metadata_errors="replace")
    except PermissionError as error:
        raise InputError(f"The {what} {path} cannot be opened: no permission to read it.") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a video that can be read, or it is cut off; give a complete mp4, webm or gif."
        ) from error


def is_video(path: Path) -> bool:
    """Return True if FFmpeg finds a video in a file, not a picture."""
    try:
        with open_container(path) as container:
            return bool(container.streams.video) and not container.format.name.endswith(_PICTURES)
    except InputError:
        return False


def video_stream(container: InputContainer, path: Path) -> Any:
    """Return the first video that can be decoded, cover pictures aside.

    Raises:
        InputError: there is none, or its codec is not known.
    """
    streams = container.streams.video
    if not streams:
        raise InputError(f"{path} has no video in it; give a video file.")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise InputError(f"{path} holds a video in a format that is not known; convert it to mp4 (H.264).")
    return next((stream for stream in known if not _is_cover(stream)), known[0])


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def decode_from(path: Path, kind: Literal["video", "audio"], begin: float | None) -> Iterator[Any]:
    """Decode packet by packet, so that whatever precedes damage is still delivered.

    Args:
        path: the file.
        kind: which stream.
        begin: seconds on the file's own clock: the first frame is the one at that time or one before; None: the file's
            first frame.

    Raises:
        av.error.FFmpegError: where damage begins.
    """
    if begin is None:
        yield from _decode(path, kind, None)
        return
    for back in () if _guesses_times(path) else _BACK:
        frames = _decode(path, kind, begin - back)
        try:
            first = next(frames, None)
        except av.error.FFmpegError:
            continue
        if first is not None and first.time is not None and first.time <= begin + _LATE:
            yield first
            yield from frames
            return
        frames.close()
    yield from _decode_after(path, kind, begin)


def _stream(container: InputContainer, path: Path, kind: Literal["video", "audio"]) -> Any:
    stream: Any = video_stream(container, path) if kind == "video" else container.streams.audio[0]
    stream.thread_type = "AUTO"
    return stream


def _guesses_times(path: Path) -> bool:
    """MPEG program streams give some frames a time only: behind a jump, those of the others can be wrong by a frame."""
    with open_container(path) as container:
        return container.format.name == "mpeg"


def _decode(path: Path, kind: Literal["video", "audio"], seek: float | None) -> Generator[Any, None, None]:
    with open_container(path) as container:
        stream = _stream(container, path, kind)
        if seek is not None:
            container.seek(int(seek * av.time_base))
        for packet in container.demux(stream):
            yield from packet.decode()


def _decode_after(path: Path, kind: Literal["video", "audio"], begin: float) -> Iterator[Any]:
    """Read all from the file's beginning, and decode from the last but one key frame before `begin` on."""
    with open_container(path) as container:
        stream = _stream(container, path, kind)
        groups: list[list[Any]] = [[]]  # packets from one key frame to the next
        waiting = True
        for packet in container.demux(stream):
            late = packet.pts is not None and float(packet.pts * packet.time_base) > begin
            if waiting and packet.is_keyframe and not late:
                groups = [groups[-1], []]
            if waiting:
                groups[-1].append(packet)
            waiting = waiting and packet.size > 0 and not (packet.is_keyframe and late)
            if not waiting:
                for held in [held for group in groups for held in group] or [packet]:
                    yield from held.decode()
                groups = []
