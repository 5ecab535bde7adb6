"""Figures of single frames against their targets: the correct ones, and DisCo's with their bugs, on request.

Shape legend: F frames, H W pixels. Frames are [F, H, W, 3] uint8; every function gives one number per frame, [F].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from magicanimate.errors import InputError, cannot_import
from magicanimate.evaluate.basic import psnr
from magicanimate.evaluate.interfaces import InputRange, PerceptualNetwork

EQUAL_FRAMES_DB = 100.0  # what DisCo's code gives to a frame that equals its target
SSIM_WINDOW = 7
_GRAY = np.array([9798, 19235, 3735])  # BT.601 in units of 1 / 2**15, the rounding of OpenCV's cvtColor
_GRAY_BITS = 15
_LPIPS_BATCH = 8


def l1(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference, in [0, 1]."""
    return _each(lambda a, b: np.abs(a.astype(np.int16) - b).mean() / 255.0, output, target)


def psnr_frames(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio in dB, in float64. Equal frames: 138 dB (`basic.psnr`)."""
    return _each(psnr, output, target)


def ssim(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the structural similarity of the gray frames: 7x7 uniform window, data range 255, sample covariance."""
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise cannot_import("SSIM", "scikit-image", "pip install 'magicanimate[eval]'", error) from error
    if min(output.shape[1:3]) < SSIM_WINDOW:
        raise InputError(f"SSIM needs frames of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels; choose a larger size.")
    return _each(
        lambda a, b: structural_similarity(gray(a), gray(b), win_size=SSIM_WINDOW, data_range=255), output, target
    )


def gray(image: np.ndarray) -> np.ndarray:
    """Convert RGB [..., 3] uint8 to gray [...] uint8: BT.601, rounded as OpenCV does (which DisCo's code calls)."""
    return ((image.astype(np.int64) @ _GRAY + (1 << (_GRAY_BITS - 1))) >> _GRAY_BITS).astype(np.uint8)


def lpips(
    network: PerceptualNetwork, output: np.ndarray, target: np.ndarray, input_range: InputRange = "signed"
) -> np.ndarray:
    """Return distances in a network's features, a few frames at a time."""
    starts = range(0, len(output), _LPIPS_BATCH)
    distances = [
        network.distance(output[i : i + _LPIPS_BATCH], target[i : i + _LPIPS_BATCH], input_range) for i in starts
    ]
    return np.concatenate(distances).astype(np.float64)


def wrapped_psnr(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return DisCo's PSNR before April 2024: difference and square stay uint8, so both wrap modulo 256.

    White on black differs by 0 - 255 = 1 modulo 256, and scores 48.1 dB; unrelated frames score 28 dB.
    """

    def one(a: np.ndarray, b: np.ndarray) -> float:
        difference = a - b  # uint8: wraps
        error = float((difference * difference).mean())  # wraps again
        return EQUAL_FRAMES_DB if error == 0 else float(10 * np.log10(255.0**2 / error))

    return _each(one, output, target)


def l1_per_pixel(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return DisCo's L1: mean absolute difference in gray levels, divided by the number of pixels once more."""
    height, width = output.shape[1:3]
    return l1(output, target) * 255.0 / (height * width)


def _each(one: Callable[[np.ndarray, np.ndarray], float], output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Frame by frame, so that float64 copies stay small."""
    return np.array([one(a, b) for a, b in zip(output, target, strict=True)], np.float64)
