"""Small videos of rendered people, for tests: through real H.264, with their part maps beside them if wanted."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

FPS = 12.5
SIZE = 128


@lru_cache(maxsize=8)
def scene(seed: int, frames: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [F, 128, 128, 3] and parts [F, 128, 128] of a person who moves."""
    from magicanimate.synth.clip import render_clip

    clip = render_clip(seed, 1 + np.arange(frames) / FPS, SIZE)
    return clip.rgb, clip.parts


def film(path: Path, rgb: np.ndarray, parts: np.ndarray | None = None) -> Path:
    """Write a video, and NAME.densepose.mp4 beside it."""
    from magicanimate.media import open_writer, settings_path
    from magicanimate.parts.densepose import render_parts

    videos = [(path, rgb)] + ([] if parts is None else [(path.with_suffix(".densepose.mp4"), render_parts(parts))])
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, frames in videos:
        with open_writer(target, FPS, {}, overwrite=True) as sink:
            for frame_HWC in frames:
                sink.write(frame_HWC)
        settings_path(target).unlink()
    return path


def blurred(rgb: np.ndarray, radius: float = 3.0) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(radius))) for frame in rgb])
