"""Finds the pixels of people in a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from magicanimate.person.networks import network

_SIDE = 256  # pixels: the network's input


def segment_people(image_HWC: np.ndarray, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Estimate how much of each pixel people cover. [H, W] float32, 0 (nobody) to 1.

    Looks at the whole picture, or at a part of it, which shows a small person finer; outside that part it is 0.

    Args:
        image_HWC: uint8 RGB.
        box: left, top, right, bottom in pixels, right and bottom exclusive; cut to the picture.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    height, width = image_HWC.shape[:2]
    left, top, right, bottom = box or (0, 0, width, height)
    left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
    matte_HW = np.zeros((height, width), np.float32)
    if left < right and top < bottom:
        matte_HW[top:bottom, left:right] = _matte(image_HWC[top:bottom, left:right])
    return matte_HW


def _matte(image_HWC: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image_HWC).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    (matte_HW1,) = network("matte")(np.asarray(small, np.float32) / 255)
    size = image_HWC.shape[1::-1]
    return np.clip(np.asarray(Image.fromarray(matte_HW1[..., 0]).resize(size, Image.Resampling.BILINEAR)), 0, 1)
