"""Files from outside: what they are is read from their content, never from their names, and limits come first.

Only headers are read here; the worker decodes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import av
from PIL import Image, UnidentifiedImageError

from magicanimate.errors import InputError
from magicanimate.media.containers import open_container, video_stream
from magicanimate.media.pictures import can_read_heic, open_picture
from magicanimate.media.pictures import picture_kind as kind_of_picture
from magicanimate.serve.backend import ServiceError
from magicanimate.serve.options import Limits

TOO_LARGE, WRONG_TYPE, UNREADABLE = 413, 415, 422

# FFmpeg also knows formats that open other files (playlists, concatenations): it only ever sees these three.
_CONTAINERS: dict[str, Callable[[bytes], bool]] = {
    "mov": lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"),
    "matroska": lambda head: head.startswith(b"\x1aE\xdf\xa3"),
    "avi": lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI ",
}
_SUFFIXES = {
    "PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "GIF": ".gif", "HEIF": ".heic",
    "mov": ".mp4", "matroska": ".webm", "avi": ".avi",
}  # fmt: skip
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error, zlib.error)
"""Exceptions of Pillow for damaged files."""
_DAMAGED_PICTURE = "The picture is damaged; save it again or send another."
_CHUNK = 2**20


def store_upload(source: BinaryIO, path: Path, limits: Limits, before: int = 0) -> int:
    """Copy to a new file; returns the bytes so far, `before` included."""
    written = before
    with path.open("xb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > limits.upload_bytes:
                raise ServiceError(TOO_LARGE, limits.too_large)
            file.write(chunk)
    return written


def picture_kind(path: Path, limits: Limits) -> str:
    """Return the ending of a picture's content. ServiceError: not a picture, damaged, or too many pixels."""
    refusal = "The picture is not a PNG, JPEG or WebP file."
    formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP")
    if kind_of_picture(path) == "HEIC":
        refusal = "The picture is a HEIC file, which this service does not read; send it as JPEG."
        formats = ("HEIF",) if can_read_heic() else formats
    with _image(path, formats, refusal) as image:
        _check_pixels("picture", image.width, image.height, limits.picture_pixels)
        kind = image.format
        try:
            image.verify()
        except _DAMAGE as error:
            raise ServiceError(UNREADABLE, _DAMAGED_PICTURE) from error
    return _SUFFIXES[kind or ""]


def motion_kind(path: Path, limits: Limits) -> str:
    """Return the ending that a motion's content calls for. ServiceError: not a video, too many pixels, or too long."""
    with path.open("rb") as file:
        head = file.read(16)
    for container, matches in _CONTAINERS.items():
        if matches(head):
            _check_video(path, container, limits)
            return _SUFFIXES[container]
    refusal = "The motion is not an mp4, mov, webm or avi video, nor a GIF, WebP or PNG animation."
    with _image(path, ("GIF", "WEBP", "PNG"), refusal) as image:
        _check_pixels("motion", image.width, image.height, limits.pixels)
        try:
            frames = getattr(image, "n_frames", 1)
        except _DAMAGE as error:
            raise ServiceError(UNREADABLE, _DAMAGED_PICTURE.replace("picture", "motion")) from error
        if frames > limits.frames:
            raise ServiceError(TOO_LARGE, f"The motion has {frames} frames, more than {limits.frames}; send fewer.")
        return _SUFFIXES[image.format or ""]


def _image(path: Path, formats: tuple[str, ...], refusal: str) -> Image.Image:
    try:
        return open_picture(path, formats)
    except UnidentifiedImageError as error:
        raise ServiceError(WRONG_TYPE, refusal) from error
    except Image.DecompressionBombError as error:
        raise ServiceError(TOO_LARGE, "The picture has far too many pixels; scale it down first.") from error
    except _DAMAGE as error:
        raise ServiceError(UNREADABLE, _DAMAGED_PICTURE) from error


def _check_pixels(what: str, width: int, height: int, most: int) -> None:
    if width * height > most:
        raise ServiceError(
            TOO_LARGE, f"The {what} is {width}x{height}, more than {most / 1e6:g} million pixels; scale it down first."
        )


def _check_video(path: Path, container: str, limits: Limits) -> None:
    try:
        with open_container(path, container=container) as video:
            if not video.streams.video:
                raise ServiceError(UNREADABLE, "The motion has no video in it; send a video.")
            try:
                stream = video_stream(video, path)
            except InputError as error:
                sentence = "The motion's video is of a kind that is not known; send it as mp4 (H.264)."
                raise ServiceError(UNREADABLE, sentence) from error
            _check_pixels("motion", stream.width, stream.height, limits.pixels)
            seconds = (video.duration or 0) / av.time_base
    except InputError as error:
        raise ServiceError(UNREADABLE, "The motion is damaged or cut off; send a complete video.") from error
    if seconds > limits.seconds:
        raise ServiceError(
            TOO_LARGE, f"The motion lasts {seconds:.0f} s, more than {limits.seconds:.0f} s; send a shorter one."
        )
