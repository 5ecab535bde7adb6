"""Estimate time and memory of an animation before computing it. Imports no network.

Operations follow from the number of weights, because all models here share one architecture; the constants below are
calibrated with the original's networks (39.9 TFLOP for 16 frames of 512x512 with guidance, 2.5 TFLOP to decode one)
and the shipped model on two CPU cores. Expect the right order of magnitude, not the second digit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from magicanimate.errors import InputError
from magicanimate.models.locations import network_size

_PER_POSITION = 0.24  # operations of one evaluation, per weight and latent position
_PER_PIXEL = 0.19  # operations of decoding, per weight of the VAE's decoder and pixel
_PER_DETAIL = 0.027  # operations of the detail network, per weight and pixel
_DRAW = 1.5e-7  # seconds to draw a pixel, on the host
_FIT, _FOLLOW = 10.0, 0.15  # seconds to fit a body to the picture and cut it into layers; to a frame of the motion
_CPU_CORE, _CUDA = 140e9, 40e12  # operations a second that are reached
_START = 5.0  # seconds to load libraries and model
_HELD = 700  # bytes per pixel of what draws a picture's people
_PROCESS = 0.6e9  # bytes of a process with the libraries loaded
_ACTIVATIONS = 1.5e5  # bytes per latent position and frame of a window, in networks of the original's width
_ORIGINAL = 1.28e9  # weights of the original's denoiser


@dataclass(frozen=True)
class Weights:
    """Numbers of weights of a model's networks."""

    denoiser: int
    appearance: int
    control: int
    vae: int
    detail: int = 0

    @property
    def total(self) -> int:
        return self.denoiser + self.appearance + self.control + self.vae + self.detail


@dataclass(frozen=True)
class Estimate:
    """Expected time and memory of `animate`."""

    seconds: float
    memory: int
    """Bytes: of the GPU where there is one, else of the process."""


def count_weights(folder: Path) -> Weights | None:
    """Return the sizes of a model folder's networks, from the files' headers; None if they cannot be read."""
    names = ["denoiser", "appearance", "control", "vae"]
    if (folder / "detail").is_dir():
        names.append("detail")
    try:
        sizes = [network_size(folder / name / "diffusion_pytorch_model.safetensors")["weights"] for name in names]
    except InputError:
        return None
    return Weights(*sizes)


@dataclass(frozen=True, kw_only=True)
class Work:
    """Size of a computation. positions, pixels: per frame; the others as in the settings."""

    frames: int
    positions: int
    pixels: int
    steps: int
    guided: bool
    window: int
    overlap: int


def estimate(weights: Weights, work: Work, device: str = "cpu") -> Estimate:
    """Return the time and memory of one animation. device: cpu or cuda."""
    frames, positions, pixels, steps, window = work.frames, work.positions, work.pixels, work.steps, work.window
    repeated = window / max(1, window - work.overlap) if frames > window else 1.0
    evaluations = frames * repeated * steps
    per_evaluation = (
        weights.denoiser * (1.85 if work.guided else 1.0) + weights.control
    )  # both halves share their trunk
    sampling = _PER_POSITION * positions * (evaluations * per_evaluation + steps * weights.appearance)
    decoding = _PER_PIXEL * pixels * frames * weights.vae * 0.6  # the decoder is three fifths of a VAE
    detail = _PER_DETAIL * pixels * frames * weights.detail
    warping = _DRAW * pixels * frames * (weights.detail > 0)
    rate = _CUDA if device == "cuda" else _CPU_CORE * (os.cpu_count() or 1)
    bytes_each = 2 if device == "cuda" else 4
    width = sqrt(weights.denoiser / _ORIGINAL)
    active = _ACTIVATIONS * bytes_each / 4 * width * min(frames, window) * positions * (2 if work.guided else 1)
    held = frames * positions * 64 * 4
    base = 0.0 if device == "cuda" else _PROCESS
    seconds = _START + warping + (sampling + decoding + detail) / rate
    return Estimate(seconds, int(base + weights.total * bytes_each + active + held))


def estimate_drawing(frames: int, pixels: int) -> Estimate:
    """Return the time and memory of an animation that is drawn without networks; pixels per frame."""
    seconds = _START + _FIT + frames * (_FOLLOW + _DRAW * pixels)
    return Estimate(seconds, int(_PROCESS + _HELD * pixels))
