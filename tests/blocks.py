"""A data set of coloured blocks, so that training is tested without a renderer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def write_blocks(folder: Path, clips: int, frames: int, size: int = 32, block: int = 12) -> Path:
    """A data set in which a block of a clip's own colour moves over its own background."""
    rng = np.random.default_rng(clips)
    rgb = np.zeros((clips, frames, size, size, 3), np.uint8)
    parts = np.zeros((clips, frames, size, size), np.uint8)
    for i in range(clips):
        rgb[i] = rng.integers(0, 255, 3)
        colour = rng.integers(0, 255, 3)
        for k in range(frames):
            x, y = rng.integers(0, size - block, 2)
            rgb[i, k, y : y + block, x : x + block] = colour
            parts[i, k, y : y + block, x : x + block] = 2
    folder.mkdir(parents=True)
    np.save(folder / "00000000.rgb.npy", rgb)
    np.save(folder / "00000000.parts.npy", parts)
    settings = {"clips": clips, "frames": frames, "size": size, "clips_per_shard": clips}
    (folder / "index.json").write_text(json.dumps({"settings": settings, "shards": ["00000000"]}))
    return folder
