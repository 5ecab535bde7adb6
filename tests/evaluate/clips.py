"""Clips, networks and folders for the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from figures import walking_parts
from magicanimate.evaluate.interfaces import InputRange


class Colors:
    """A real, tiny feature network: a few sums of the picture with fixed random weights."""

    name, metric, sha256 = "random sums", "frame distance", "0" * 64
    dimensions, window = 6, 1

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] -> [N, 6]."""
        rows = pictures.reshape(len(pictures), -1).astype(np.float64)
        weights = np.random.default_rng(1).normal(size=(rows.shape[1], self.dimensions))
        return rows @ weights / rows.shape[1]


class Windows(Colors):
    """The same of windows of four frames: sums of the frames one after another."""

    metric, window = "clip distance", 4

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """[N, 4, H, W, 3] -> [N, 6]."""
        return super().features(pictures)


class Absolute:
    """A perceptual network that has no layers: mean absolute difference in its input's range."""

    name, sha256 = "LPIPS (none)", "1" * 64

    def distance(self, a: np.ndarray, b: np.ndarray, input_range: InputRange) -> np.ndarray:
        """[N, H, W, 3] twice -> [N]."""
        scale = {"signed": 127.5, "unit": 255.0}[input_range]
        return np.abs(a.astype(np.float64) - b).mean((1, 2, 3)) / scale


def clip(seed: int, frames: int = 8, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A walking figure in random colors on a random background that stands still: frames and part maps."""
    rng = np.random.default_rng(seed)
    parts_FHW = walking_parts(frames, side, side)
    colors = rng.integers(0, 256, (25, 3)).astype(np.uint8)
    background = rng.integers(0, 256, (side // 8, side // 8, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    return np.where((parts_FHW == 0)[..., None], background, colors[parts_FHW]), parts_FHW


def noisy(frames_FHWC: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """The same with noise of so many gray levels."""
    noise = np.random.default_rng(seed).normal(0, sigma, frames_FHWC.shape)
    return np.clip(np.rint(frames_FHWC + noise), 0, 255).astype(np.uint8)


def write_frames(folder: Path, frames_FHWC: np.ndarray) -> Path:
    """A folder of PNG files."""
    from magicanimate.media.video import save_frames

    folder.parent.mkdir(parents=True, exist_ok=True)
    return save_frames(iter(frames_FHWC), folder, 25, {})
