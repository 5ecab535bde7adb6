"""The result: frames with their rate and the settings that made them.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from magicanimate.media.audio import Audio
from magicanimate.media.writing import open_writer


@dataclass
class Video:
    """A finished video."""

    frames: np.ndarray
    """[F, H, W, 3] uint8 RGB; [F, H, W, 4] with straight alpha, where the background is transparent."""
    fps: float
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    audio: Audio | None = None
    """Sound that goes into mp4 and webm files."""

    def __len__(self) -> int:
        return len(self.frames)

    def _repr_html_(self) -> str:
        """Return the video as notebooks show it: a player with the whole file in it."""
        with tempfile.TemporaryDirectory() as folder:
            kind = "webm" if self.frames.shape[3] == 4 else "mp4"
            data = self.save(Path(folder) / f"video.{kind}").read_bytes()
        height, width = self.frames.shape[1:3]
        return (
            f'<video controls loop muted autoplay playsinline width="{width}" height="{height}" '
            f'src="data:video/{kind};base64,{base64.b64encode(data).decode()}"></video>'
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write mp4, webm, mov, gif, webp, apng or a folder of PNG frames, by the name's ending; and the settings.

        Raises:
            InputError: see `media.open_writer`.
        """
        return save_frames(iter(self.frames), path, self.fps, self.settings, overwrite=overwrite, audio=self.audio)


@dataclass
class VideoStream:
    """A video whose frames come as they are decoded; iterate over it once."""

    source: Iterator[np.ndarray] = field(repr=False)
    count: int
    fps: float
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    audio: Audio | None = None
    """Sound that goes into mp4 and webm files."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.source

    def collect(self) -> Video:
        """Return all frames in memory."""
        return Video(np.stack(list(self.source)), self.fps, self.settings, self.warnings, self.audio)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save the video as `Video.save`, holding only a few frames at a time."""
        return save_frames(self.source, path, self.fps, self.settings, overwrite=overwrite, audio=self.audio)


def save_frames(
    frames: Iterator[np.ndarray],
    path: str | Path,
    fps: float,
    settings: Mapping[str, Any],
    *,
    overwrite: bool = False,
    audio: Audio | None = None,
) -> Path:
    """Write frames as they come; neither the video nor its settings appear unless both are complete."""
    path = Path(path)
    with open_writer(path, fps, settings, overwrite, audio) as sink:
        for frame_HWC in frames:
            sink.write(frame_HWC)
    return path
