"""Named sets of defaults."""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal["original", "quality", "fast", "preview"]

MANY_STEPS = 20
"""Recommended steps from which a model is made for a plain solver, and needs fewer with a better one."""
PRESETS: dict[str, dict[str, Any]] = {
    # The model's own recommendation, but see `by_steps`; and what ours does better than the original by default.
    "quality": {},
    # Approximate: see `by_steps`. What it saves and what it costs is measured in docs/speed.md.
    "fast": {},
    # The picture's own pixels moved with a body, and no network.
    "preview": {},
    # The original's behavior, defects included: see the last block of `AnimateSettings`.
    "original": {
        "steps": 25, "guidance": 7.5, "scheduler": "ddim", "fusion": "mean", "noise": "shared",
        "window": 16, "overlap": 4, "fps": 25.0, "fit": "stretch", "align": "none", "wrap": True,
        "pad_frames": 16, "truncate": True, "resample": False, "raw_control": True,
    },
}  # fmt: skip


def by_steps(preset: Preset, steps: int) -> dict[str, Any]:
    """Return the values of `quality` and `fast`, which depend on the steps that the model recommends."""
    if preset == "fast" and steps > 8:
        return {"steps": 8, "scheduler": "dpm++", "cache": 2, "guidance_every": 2}
    if preset == "fast":
        return {"guidance": 1.0}
    if preset == "quality" and steps >= MANY_STEPS:
        return {"steps": 16, "scheduler": "dpm++"}
    return {}
