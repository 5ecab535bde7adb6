"""Videos written frame by frame, complete or not at all, with the settings that made them inside and beside.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.video.reformatter import Colorspace
from PIL import Image
from PIL.PngImagePlugin import Blend, PngInfo

from magicanimate.errors import DISK_FULL, InputError
from magicanimate.files import atomic_path
from magicanimate.media.audio import Audio, SoundTrack
from magicanimate.media.paths import output_path
from magicanimate.provenance.marks import append_xmp_box, xmp_packet

_BT709 = 1


@dataclass(frozen=True)
class _Encoder:
    """Encoding of frames: FFmpeg's names of container and codec, their options, and pixel formats."""

    container: str
    codec: str
    options: dict[str, str]
    pixels: str
    pixels_with_alpha: str | None = None
    container_options: dict[str, str] = field(default_factory=dict)


_ENCODERS = {
    # x264's macroblock tree gives other bytes for the same frames now and then on busy machines with AVX-512
    ".mp4": _Encoder(
        "mp4", "libx264", {"crf": "16", "preset": "medium", "mbtree": "0"}, "yuv420p",
        container_options={"movflags": "+faststart"},
    ),
    ".webm": _Encoder(
        "webm", "libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"}, "yuv420p", "yuva420p"
    ),
    ".mov": _Encoder("mov", "prores_ks", {"profile": "4444", "vendor": "apl0"}, "yuv444p10le", "yuva444p10le"),
}  # fmt: skip
_PICTURES = (".gif", ".webp", ".apng")
SUFFIXES = (*_ENCODERS, *_PICTURES)
"""Endings of files that can be written."""
ALPHA_SUFFIXES = (".webm", ".mov", ".webp", ".apng")
"""File types that hold frames with alpha; folders of PNG frames do too."""


class Sink(Protocol):
    """Takes frames in order; `close` completes the file, `abandon` lets go of one that is deleted.

    Frames are [H, W, 3] uint8, or [H, W, 4] with colors that are not multiplied by alpha; all of a file are alike.
    """

    def write(self, frame_HWC: np.ndarray) -> None: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


class _About:
    """Metadata on how a file was made, in the forms that its format takes."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.comment = json.dumps(dict(settings), ensure_ascii=True)
        self.source_type: str | None = settings.get("digital_source_type")
        self.xmp = xmp_packet(settings)

    def png(self) -> PngInfo:
        """Return chunks of a PNG file."""
        info = PngInfo()
        info.add_text("Comment", self.comment)
        if self.xmp:
            info.add_itxt("XML:com.adobe.xmp", self.xmp.decode())
        return info


class _VideoSink:
    """H.264, VP9 or ProRes 4444, BT.709. Odd sizes gain a repeated row or column, since 4:2:0 H.264 has none."""

    def __init__(
        self, path: Path, suffix: str, fps: float, about: _About, audio: Audio | None, crf: int | None
    ) -> None:
        self._path, self._xmp = path, about.xmp if suffix in (".mp4", ".mov") else None
        self._encoder = encoder = _ENCODERS[suffix]
        better = {} if crf is None or "crf" not in encoder.options else {"crf": str(crf)}
        self._codec_options = encoder.options | better
        self._container = av.open(str(path), "w", format=encoder.container, options=encoder.container_options)
        self._container.metadata["comment"] = about.comment
        if about.source_type and suffix == ".webm":  # which has no place for XMP
            self._container.metadata["DIGITAL_SOURCE_TYPE"] = about.source_type
        self._fps = Fraction(fps).limit_denominator(1001)
        self._stream: Any = None
        self._frames = 0
        self._sound = SoundTrack(self._container, suffix, audio) if audio else None

    def _start(self, height: int, width: int, channels: int) -> None:
        encoder = self._encoder
        self._stream = self._container.add_stream(encoder.codec, rate=self._fps, options=dict(self._codec_options))
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        self._stream.pix_fmt = encoder.pixels_with_alpha if channels == 4 else encoder.pixels
        if channels == 4:
            self._stream.metadata["alpha_mode"] = "1"  # by which players of webm know
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = 1  # limited, which is what browsers assume

    def write(self, frame_HWC: np.ndarray) -> None:
        height, width, channels = frame_HWC.shape
        if self._stream is None:
            self._start(height, width, channels)
        even = np.pad(frame_HWC, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgba" if channels == 4 else "rgb24")
        converted = frame.reformat(format=self._stream.pix_fmt, dst_colorspace=Colorspace.ITU709)
        self._container.mux(self._stream.encode(converted))
        self._frames += 1
        if self._sound:
            self._sound.write_until(self._frames / float(self._fps))

    def close(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
            if self._sound:
                self._sound.close()
        self._container.close()
        if self._xmp:
            append_xmp_box(self._path, self._xmp)

    def abandon(self) -> None:
        """Nothing more may be muxed: FFmpeg has let go of its own state when a write failed, and would crash."""
        with suppress(OSError, ValueError):
            self._container.close()


class _AnimationSink:
    """GIF, WebP and APNG through Pillow, which wants all frames at once: they wait in memory (a GIF's as indices)."""

    def __init__(self, path: Path, suffix: str, fps: float, about: _About) -> None:
        self._path, self._suffix, self._fps, self._about = path, suffix, fps, about
        self._frames: list[Image.Image] = []

    def write(self, frame_HWC: np.ndarray) -> None:
        frame = Image.fromarray(frame_HWC)
        self._frames.append(frame.quantize(256) if self._suffix == ".gif" else frame)

    def close(self) -> None:
        unit = 10 if self._suffix == ".gif" else 1  # milliseconds; GIF counts hundredths of a second
        ticks = [round(index * 1000 / self._fps / unit) * unit for index in range(len(self._frames) + 1)]
        durations = [later - earlier for earlier, later in itertools.pairwise(ticks)]
        common: dict[str, Any] = {
            "save_all": True, "append_images": self._frames[1:], "duration": durations, "loop": 0,
        }  # fmt: skip
        if self._suffix == ".gif":
            common |= {"comment": self._about.comment.encode(), "format": "GIF"}
        elif self._suffix == ".apng":
            # Frames replace the ones before them, which blending would show through where they are transparent.
            common |= {"pnginfo": self._about.png(), "format": "PNG", "blend": Blend.OP_SOURCE}
        else:
            exif = Image.Exif()
            exif[0x010E] = self._about.comment  # ImageDescription
            common |= {"exif": exif, "xmp": self._about.xmp or b"", "quality": 90, "method": 4, "format": "WEBP"}
        self._frames[0].save(self._path, **common)

    def abandon(self) -> None:
        self._frames.clear()


class _FolderSink:
    """A folder of PNG files."""

    def __init__(self, path: Path, about: _About) -> None:
        path.mkdir()
        self._path, self._count = path, 0
        self._info = about.png()

    def write(self, frame_HWC: np.ndarray) -> None:
        Image.fromarray(frame_HWC).save(self._path / f"frame_{self._count:05d}.png", pnginfo=self._info)
        self._count += 1

    def close(self) -> None:
        return

    def abandon(self) -> None:
        return


class _Guarded:
    """A sink whose failures to write are one sentence."""

    def __init__(self, sink: Sink, path: Path) -> None:
        self._sink, self._path = sink, path
        self.count = 0

    def write(self, frame_HWC: np.ndarray) -> None:
        if frame_HWC.shape[2] == 4:
            check_alpha(self._path)
        with _explained(self._path):
            self._sink.write(frame_HWC)
        self.count += 1

    def close(self) -> None:
        with _explained(self._path):
            self._sink.close()

    def abandon(self) -> None:
        self._sink.abandon()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise InputError(f"The disk is full: {path} could not be written; free some space first.") from error
        raise InputError(f"{path} could not be written: {error.strerror or error}.") from error


def settings_path(path: Path) -> Path:
    """Return the path of a video's settings, beside it: `dance.mp4` -> `dance.mp4.json`."""
    return path.with_name(path.name + ".json")


def _is_folder(path: Path) -> bool:
    return path.suffix == ""


def _is_ours(folder: Path) -> bool:
    return all(f.name.startswith("frame_") and f.suffix == ".png" for f in folder.iterdir())


def check_alpha(path: Path) -> None:
    """Raise InputError if frames with alpha cannot be written under this name."""
    if not _is_folder(path) and path.suffix.lower() not in ALPHA_SUFFIXES:
        raise InputError(
            f"{path.name} cannot be transparent; end the output in {', '.join(ALPHA_SUFFIXES)}, or give a name without "
            "an ending for a folder of PNG frames."
        )


def check_output(path: str | Path, overwrite: bool = False, how_to_overwrite: str = "say overwrite=True") -> Path:
    """Refuse early what could not be written after minutes of work.

    Raises:
        InputError: unknown format, output exists and `overwrite` is off, its folder is missing or not writable.
    """
    path = output_path(path)
    if not _is_folder(path) and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"Cannot write {path.suffix} files; end the output in {', '.join(SUFFIXES)}, or give a name without an "
            "ending for a folder of PNG frames."
        )
    if not path.parent.is_dir():
        raise InputError(f"The output folder {path.parent} does not exist; create it first or choose another.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} already exists; choose another name or {how_to_overwrite}.")
    if path.is_dir() and not (_is_folder(path) and _is_ours(path)):
        raise InputError(f"{path} is a folder with other things in it and is not replaced; choose another name.")
    if path.is_file() and _is_folder(path):
        raise InputError(f"{path} is a file, and a folder of frames was asked for; choose another name.")
    try:
        handle, probe = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    except OSError as error:
        raise InputError(f"The output folder {path.parent} cannot be written to ({error.strerror}).") from error
    os.close(handle)
    os.unlink(probe)
    return path


def _sink(temporary: Path, path: Path, fps: float, about: _About, audio: Audio | None, crf: int | None) -> Sink:
    suffix = path.suffix.lower()
    if _is_folder(path):
        return _FolderSink(temporary, about)
    if suffix in _ENCODERS:
        return _VideoSink(temporary, suffix, fps, about, audio, crf)
    return _AnimationSink(temporary, suffix, fps, about)


@contextmanager
def open_writer(
    path: str | Path,
    fps: float,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    audio: Audio | None = None,
    *,
    crf: int | None = None,
) -> Iterator[_Guarded]:
    """Write a video; it appears under its name only when the block ends well.

    The kind follows the name: .mp4 (H.264 that browsers play), .webm (VP9), .mov (ProRes 4444), .gif, .webp, .apng,
    or, without an ending, a folder of PNG frames. `settings` go into the file's comment as JSON, and into a file beside
    it. `audio` becomes the sound track of mp4 and mov (AAC) and webm (Opus); the other kinds are silent. `crf` is the
    encoder's constant rate factor, where mp4 and webm should be better (lower) or smaller (higher) than usual.

    Raises:
        InputError: see `check_output` and, for frames with alpha, `check_alpha`; when the disk is full or writing
            fails.
    """
    path = check_output(path, overwrite)
    about = _About(settings or {})
    with atomic_path(settings_path(path)) as described, atomic_path(path) as temporary:
        with _explained(path):
            sink = _Guarded(_sink(temporary, path, fps, about, audio, crf), path)
        try:
            yield sink
        except BaseException:
            sink.abandon()
            raise
        if sink.count == 0:
            sink.abandon()
            raise InputError("No frame was made, so nothing was written; the motion has no frames.")
        sink.close()
        with _explained(path):
            described.write_text(json.dumps(dict(settings or {}), indent=2) + "\n", encoding="utf-8")
            if path.exists() and not overwrite:
                raise InputError(
                    f"{path} was written by another run meanwhile and is not replaced; choose another name."
                )


def side_by_side(*images_HWC: np.ndarray) -> np.ndarray:
    """Join frames of one height side by side, with a thin white line between; with alpha, if one of them has it."""
    channels = max(image_HWC.shape[2] for image_HWC in images_HWC)
    line = np.full((images_HWC[0].shape[0], 4, channels), 255, np.uint8)
    pieces: list[np.ndarray] = []
    for image_HWC in images_HWC:
        lacking = channels - image_HWC.shape[2]
        pieces += [np.pad(image_HWC, ((0, 0), (0, 0), (0, lacking)), constant_values=255), line]
    return np.concatenate(pieces[:-1], axis=1)
