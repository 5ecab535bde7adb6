"""The sound of a clip, cut to the frames that are used and encoded anew beside the video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from magicanimate.media.containers import decode_from

_CODECS = {".mp4": "aac", ".webm": "libopus", ".mov": "aac"}
_RATE = 48000
_BITS = 160_000


@dataclass(frozen=True)
class Audio:
    """A stretch of a file's first sound track."""

    path: Path
    start: float
    """Seconds on the file's own clock."""
    seconds: float


class SoundTrack:
    """Writes a sound track into a container, in step with its video. To be made before anything is written."""

    def __init__(self, container: Any, suffix: str, audio: Audio) -> None:
        self._container = container
        self._stream = container.add_stream(_CODECS[suffix], rate=_RATE, layout="stereo")
        self._stream.bit_rate = _BITS
        self._pieces = _stretch(audio)
        self._samples = 0

    def write_until(self, seconds: float) -> None:
        """Write the sound that belongs before this time of the video."""
        while self._samples < seconds * _RATE:
            piece_CN = next(self._pieces, None)
            if piece_CN is None:
                return
            frame = av.AudioFrame.from_ndarray(piece_CN, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = _RATE, self._samples
            self._samples += piece_CN.shape[1]
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode(None))


def _stretch(audio: Audio) -> Iterator[np.ndarray]:
    """Yield pieces [2, samples] float32 from the stretch's start to its end, silence first if the
    sound begins later. Where the sound is damaged it ends."""
    position, last = None, round(audio.seconds * _RATE)
    for time, piece_CN in _decoded(audio):
        if position is None:
            position = round((time - audio.start) * _RATE)
            if position > 0:
                yield np.zeros((2, min(position, last)), np.float32)
        seen_CN = piece_CN[:, max(0, -position) : max(0, last - position)]
        position += piece_CN.shape[1]
        if seen_CN.shape[1]:
            yield np.ascontiguousarray(seen_CN)
        if position >= last:
            return


def _decoded(audio: Audio) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds on the file's clock, samples [2, N] at 48 kHz) from somewhat before the stretch on."""
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=_RATE)
    try:
        for frame in decode_from(audio.path, "audio", audio.start if audio.start > 0 else None):
            for piece in resampler.resample(frame):
                yield frame.time or 0.0, piece.to_ndarray()
    except av.error.FFmpegError:
        return
