"""Pixel figures against a known target, over the picture, inside the body and per body part; flicker of still regions.

Pictures are [...,H,W,3] uint8 (or float in 0..255), part maps [...,H,W] uint8 with 0 for the background.
"""

import numpy as np

PART_TOLERANCE = 20.0  # gray levels of 255 within which a part's mean color counts as right
SMALLEST_PART = 24  # pixels of a 256 x 256 picture below which a part is not judged


def psnr(output: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return the PSNR in dB, in float64 (no wrap-around); with a mask [H,W], of its pixels. NaN if empty."""
    error = (output.astype(np.float64) - target.astype(np.float64)) ** 2
    if mask is not None:
        error = error[mask]
    if not error.size:
        return float("nan")
    return float(10 * np.log10(255.0**2 / max(float(error.mean()), 1e-9)))


def part_errors(output: np.ndarray, target: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference (of R, G, B) of each visible part's mean color from the target's, [parts]."""
    least = SMALLEST_PART * parts.size / 256**2
    errors = []
    for part in range(1, 25):
        mask = parts == part
        if mask.sum() >= least:
            difference = output[mask].astype(np.float64).mean(0) - target[mask].astype(np.float64).mean(0)
            errors.append(np.abs(difference).mean())
    return np.array(errors)


def part_accuracy(errors: np.ndarray) -> float:
    """Share of parts whose mean color is within PART_TOLERANCE."""
    return float((errors <= PART_TOLERANCE).mean()) if len(errors) else float("nan")


def flicker(frames_FHWC: np.ndarray, parts_FHW: np.ndarray) -> float:
    """Return the mean absolute change between frames, in gray levels, of pixels that are background in every frame."""
    still = (parts_FHW == 0).all(0)
    if not still.any() or len(frames_FHWC) < 2:
        return float("nan")
    last = len(frames_FHWC) - 1
    changes = [np.abs(frames_FHWC[t + 1, still].astype(np.float64) - frames_FHWC[t, still]).mean() for t in range(last)]
    return float(np.mean(changes))
