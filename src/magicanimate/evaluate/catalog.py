"""The figures by name: which block they stand in, their unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CORRECT, DISCO, CONSISTENCY = "correct", "disco-compat", "consistency"
BLOCKS = {
    CORRECT: "Correct values.",
    DISCO: "As DisCo's code computes them, bugs included: comparable with published tables in kind only.",
    CONSISTENCY: "Change over time, identity and pose; no downloaded network is needed.",
}

L1, PSNR, SSIM = "L1", "PSNR", "SSIM"
L1_PER_PIXEL, WRAPPED_PSNR = "L1/(H*W)", "PSNR (wrapped uint8)"
UNIT_RANGE = ", inputs in [0,1]"  # added to the name of an LPIPS network
DTSSD, WARPING, WARPING_OF_TARGET = "dtSSD", "Warping error", "Warping error of target"
PART_COLOR, PART_DRIFT = "Part color error", "Part color drift"
POSE, SILHOUETTE = "Pose IoU", "Silhouette IoU"
FACE, FACES_SEEN, LITE = "Face distance", "Faces seen", "EfficientNet-Lite distance"
FLICKER, FLICKER_OF_TARGET = "Background flicker", "Background flicker of target"

Better = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Metric:
    """One figure."""

    name: str
    blocks: tuple[str, ...]
    better: Better
    unit: str
    digits: int = 4
    """Decimals in tables."""


_FIXED = (
    Metric(L1, (CORRECT,), "lower", "of [0,1]"),
    Metric(PSNR, (CORRECT,), "higher", "dB", 2),
    Metric(SSIM, (CORRECT, DISCO), "higher", ""),
    Metric(L1_PER_PIXEL, (DISCO,), "lower", "gray levels / pixel", 8),
    Metric(WRAPPED_PSNR, (DISCO,), "higher", "dB", 2),
    Metric(DTSSD, (CONSISTENCY,), "lower", "of [0,1]"),
    Metric(WARPING, (CONSISTENCY,), "lower", "of [0,1], squared", 6),
    Metric(WARPING_OF_TARGET, (CONSISTENCY,), "none", "of [0,1], squared", 6),
    Metric(PART_COLOR, (CONSISTENCY,), "lower", "gray levels", 2),
    Metric(PART_DRIFT, (CONSISTENCY,), "lower", "gray levels", 2),
    Metric(POSE, (CONSISTENCY,), "higher", ""),
    Metric(SILHOUETTE, (CONSISTENCY,), "higher", ""),
    Metric(FACE, (CONSISTENCY,), "lower", "dlib, same person below 0.6", 3),
    Metric(FACES_SEEN, (CONSISTENCY,), "higher", "of the target's"),
    Metric(LITE, (CONSISTENCY,), "lower", ""),
    Metric(FLICKER, (CONSISTENCY,), "lower", "gray levels", 3),
    Metric(FLICKER_OF_TARGET, (CONSISTENCY,), "none", "gray levels", 3),
)  # fmt: skip


def catalog(perceptual: list[str], distances: list[str]) -> dict[str, Metric]:
    """Return all figures in the order of tables; networks add theirs by name: LPIPS, and Frechet distances."""
    metrics = list(_FIXED[:3])
    metrics += [Metric(name, (CORRECT,), "lower", "") for name in perceptual]
    metrics += list(_FIXED[3:5])
    metrics += [Metric(name + UNIT_RANGE, (DISCO,), "lower", "") for name in perceptual]
    metrics += [Metric(name, (CORRECT, DISCO), "lower", "", 3) for name in distances]
    return {metric.name: metric for metric in (*metrics, *_FIXED[5:])}
