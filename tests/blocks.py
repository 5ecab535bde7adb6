"""A tiny training set of colored blocks, and the configurations of every stage on it: no renderer is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from magicanimate.train.config import TrainSettings, read_settings

SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
}  # fmt: skip


def write_blocks(folder: Path, clips: int, frames: int, size: int = 32, block: int = 12) -> Path:
    """A data set in which a block of a clip's own color moves over its own background."""
    rng = np.random.default_rng(clips)
    rgb = np.zeros((clips, frames, size, size, 3), np.uint8)
    parts = np.zeros((clips, frames, size, size), np.uint8)
    for i in range(clips):
        rgb[i] = rng.integers(0, 255, 3)
        color = rng.integers(0, 255, 3)
        for k in range(frames):
            x, y = rng.integers(0, size - block, 2)
            rgb[i, k, y : y + block, x : x + block] = color
            parts[i, k, y : y + block, x : x + block] = 2
    folder.mkdir(parents=True)
    np.save(folder / "00000000.rgb.npy", rgb)
    np.save(folder / "00000000.parts.npy", parts)
    settings = {"clips": clips, "frames": frames, "size": size, "clips_per_shard": clips}
    (folder / "index.json").write_text(json.dumps({"settings": settings, "shards": ["00000000"]}))
    return folder


def configuration(root: Path, stage: str, **loop: object) -> dict[str, Any]:
    """Four steps of a stage in the folder `root`, after the stages before it."""
    base = {
        "stage": stage, "out": str(root / stage), "data": str(root / "train"), "held_out": str(root / "test"),
        "loop": {"steps": 4, "batch": 2, "lr": 1e-3, "save_every": 2, "grid_every": 4, "log_every": 1} | loop,
    }  # fmt: skip
    if stage == "vae":
        return base | {"vae": {"patch": 4, "channels": [16, 16], "latent_channels": 4}}
    preview = {"preview": {"steps": 2}, "preview_people": 2}
    if stage == "temporal":
        branches = {"stage": "temporal", "window": 3, "tau_1": 0.2, "tau_2": 0.4}
        return base | preview | {"start": str(root / "appearance" / "model"), "branches": branches}
    if stage == "distill":
        branches = {"stage": "distill", "window": 3, "tau_1": 0.2, "tau_2": 0.4}
        few = {"steps": 2, "teacher_steps": 2}
        return base | {
            "start": str(root / "temporal" / "model"), "branches": branches, "distill": few, "preview_people": 2
        }  # fmt: skip
    model = {
        "name": "test", "resolution": [32, 32], "control_encoding": "parts", "patch": 4, "coordinates": 8,
        "norm_scope": "frame", "reference_input": True, "window": 4, "overlap": 1, "steps": 2, "guidance": 1.5,
        "scheduler": SCHEDULE | {"prediction_type": "v_prediction"},
    }  # fmt: skip
    networks = {"channels": [32, 32], "heads": 2, "text_width": 4, "control_channels": [8, 8], "positions": 8}
    branches = {"stage": "appearance", "targets": 2, "tau_0": 0.3}
    return base | preview | {
        "vae_folder": str(root / "vae" / "vae"), "model": model, "networks": networks, "branches": branches
    }  # fmt: skip


def settings(path: Path, content: dict) -> TrainSettings:
    path.write_text(yaml.safe_dump(content))
    return read_settings(path)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {f"{p.parent.name}.{k}": v for p in folder.rglob("*.safetensors") for k, v in load_file(p).items()}
