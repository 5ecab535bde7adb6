"""The size of the video, and the slightly larger canvas that the networks see.

Shape legend: H W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from magicanimate.media.pictures import Fit, Placement, fit_picture, place

_SMALLEST_SIDE = 64
_SMALLEST_LONG, _LONGEST = 256, 768
"""Pixels of a video's longer side, where the picture decides its shape."""


@dataclass(frozen=True)
class Frame:
    """The visible frame and the canvas around it, (height, width) in pixels."""

    size: tuple[int, int]
    canvas: tuple[int, int]
    """Multiples of the model's pixel factor; the frame sits in its upper left corner."""

    def pad(self, image: np.ndarray) -> np.ndarray:
        """Pad an image [H, W, ...] of the frame's size to the canvas by repeating its border."""
        margins = [(0, self.canvas[0] - self.size[0]), (0, self.canvas[1] - self.size[1])]
        return np.pad(image, margins + [(0, 0)] * (image.ndim - 2), mode="edge")

    def crop(self, images: np.ndarray) -> np.ndarray:
        """Crop images [..., H, W, 3] of the canvas's size to the frame."""
        return images[..., : self.size[0], : self.size[1], :]

    def picture(self, image_HWC: np.ndarray, fit: Fit) -> np.ndarray:
        """Return a picture of any size, fitted and padded to the canvas."""
        height, width, _ = image_HWC.shape
        return self.pad(fit_picture(image_HWC, place((height, width), self.size, fit)))


def choose_size(
    picture: tuple[int, int], motion: tuple[int, int], resolution: tuple[int, int],
    size: tuple[int, int] | Literal["auto", "motion"], *, like_picture: bool,
) -> tuple[int, int]:  # fmt: skip
    """Return the (height, width) of a video.

    Args:
        picture, motion: their (height, width).
        resolution: that the model was trained at.
        size: as chosen. auto: the picture's shape, or the motion's, as `like_picture` says. motion: the motion's shape
            with as many pixels as the model was trained with.
        like_picture: whether the video is drawn with the picture's own pixels.
    """
    if size == "auto" and like_picture:
        longest = max(picture)
        scale = min(max(longest, _SMALLEST_LONG), _LONGEST) / longest
        return max(_SMALLEST_SIDE, 2 * round(picture[0] * scale / 2)), max(
            _SMALLEST_SIDE, 2 * round(picture[1] * scale / 2)
        )
    return _auto(motion, resolution) if size in ("auto", "motion") else size  # type: ignore[return-value]


def own_placement(picture: tuple[int, int]) -> Placement:
    """Place a picture (height, width) in a video of its own shape, as large as is usual."""
    size = choose_size(picture, picture, picture, "auto", like_picture=True)
    return place(picture, size, "cover")


def choose_frame(
    motion: tuple[int, int], resolution: tuple[int, int], size: tuple[int, int] | Literal["auto"], factor: int
) -> Frame:
    """Return the frame for a motion of (height, width).

    auto keeps the motion's aspect ratio and takes as many pixels as the model was trained with (its resolution's
    height times width), in even numbers: people then appear about as large as in training, and time and memory stay
    the same for every aspect ratio. A given size is kept exactly.
    """
    height, width = _auto(motion, resolution) if size == "auto" else size
    canvas = (math.ceil(height / factor) * factor, math.ceil(width / factor) * factor)
    return Frame((height, width), canvas)


def _auto(motion: tuple[int, int], resolution: tuple[int, int]) -> tuple[int, int]:
    pixels, aspect = resolution[0] * resolution[1], motion[1] / motion[0]
    height = math.sqrt(pixels / aspect)
    return max(_SMALLEST_SIDE, 2 * round(height / 2)), max(_SMALLEST_SIDE, 2 * round(height * aspect / 2))
