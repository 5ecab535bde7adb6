"""Follows a camera by the background of its frames: an affine motion of the picture from frame to frame.

Small gray copies are aligned by Gauss-Newton steps on the brightness (Lucas and Kanade 1981), robust against what moves
by itself, from a start that phase correlation gives where the camera moves fast.

Shape legend: F frames, h w pixels of the small copies, H W pixels of the video, N pixels that are compared.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

_SIDE = 160
"""Pixels of a copy's longer side."""
_STEPS = 12
_SETTLED = 0.005  # pixels of the copy: a smaller step is the last one
_OUTLIER = 6.0  # levels of brightness from which a pixel counts less
_DOUBTFUL = 1.5  # levels of brightness: mean difference from which another start is tried
_FAR = 0.12  # of the side, moved since the frame that is compared with: the next frame takes its place
_STILL = 0.0025  # of the side, that a camera at rest seems to move
_FEWEST = 200  # pixels of background to be sure
_BORDER = 3  # pixels


class CameraFollower:
    """Takes frames in order; says where each pixel of the first frame's plane lies in the newest one."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._scale = _SIDE / max(size)
        self._small = (max(16, round(size[0] * self._scale)), max(16, round(size[1] * self._scale)))
        self._to_reference = self._since = np.eye(3)
        self._reference: tuple[np.ndarray, np.ndarray] | None = None
        self._before_hw: np.ndarray | None = None

    def __call__(self, frame_HWC: np.ndarray, person_HW: np.ndarray) -> np.ndarray:
        """Return the newest frame's map [3, 3]: pixels of the first frame (x, y, 1) to its own.

        Args:
            frame_HWC: uint8, at any size.
            person_HW: bool, at any size: what moves by itself.
        """
        gray_hw, known_hw = self._small_copy(frame_HWC, person_HW)
        if self._reference is None or self._before_hw is None:
            self._reference, self._before_hw = (gray_hw, known_hw), gray_hw
            return np.eye(3)
        steady = align(*self._reference, gray_hw, known_hw, self._since)
        if steady[1] > _DOUBTFUL:
            fast_33 = self._since.copy()
            fast_33[:2, 2] += _shift(self._before_hw, gray_hw)
            steady = min(steady, align(*self._reference, gray_hw, known_hw, fast_33), key=lambda result: result[1])
        self._since = steady[0]
        self._before_hw = gray_hw
        found = self._since @ self._to_reference
        if moved(self._since, self._small) > _FAR * _SIDE:
            self._reference, self._to_reference, self._since = (gray_hw, known_hw), found, np.eye(3)
        return _scaled(found, 1 / self._scale)

    def _small_copy(self, frame_HWC: np.ndarray, person_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the brightness [h, w] float32, and what of it is background [h, w] bool."""
        size = self._small[::-1]
        gray = Image.fromarray(frame_HWC).resize(size, Image.Resampling.BOX).convert("L")
        person = Image.fromarray(person_HW.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        smooth_hw = ndimage.gaussian_filter(np.asarray(gray, np.float32), 1)
        known_hw = np.asarray(person) == 0
        return smooth_hw, known_hw


def is_still(maps_F33: np.ndarray, size: tuple[int, int]) -> bool:
    """Return True if a camera of frames of (height, width) rests, by its maps [F, 3, 3]."""
    away = [moved(np.linalg.inv(maps_F33[0]) @ each, size) for each in maps_F33]
    return bool(np.quantile(away, 0.9) < _STILL * max(size))


def moved(map_33: np.ndarray, size: tuple[int, int]) -> float:
    """Return the farthest way of a corner of (height, width), in pixels."""
    height, width = size
    corners_34 = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], float)
    return float(np.abs((map_33 @ corners_34 - corners_34)[:2]).max())


def align(
    first_hw: np.ndarray, known_hw: np.ndarray, second_hw: np.ndarray, known_too_hw: np.ndarray, start_33: np.ndarray
) -> tuple[np.ndarray, float]:
    """Fit the affine map [3, 3] from pixels of one picture to those of another; return also the mean difference left.

    Args:
        first_hw, second_hw: float32.
        known_hw, known_too_hw: bool, pixels of each that may be compared.
        start_33: where the search begins.
    """
    inner_hw = np.zeros_like(known_hw)
    inner_hw[_BORDER:-_BORDER, _BORDER:-_BORDER] = known_hw[_BORDER:-_BORDER, _BORDER:-_BORDER]
    y, x = np.nonzero(inner_hw)
    if len(x) < _FEWEST:
        return start_33, np.inf
    down_hw, across_hw = np.gradient(first_hw)
    across, down = across_hw[y, x], down_hw[y, x]
    jacobian_N6 = np.stack([across * x, across * y, across, down * x, down * y, down], 1)
    wanted = first_hw[y, x]
    places_3N = np.stack([x, y, np.ones_like(x)]).astype(float)
    seen_hw = known_too_hw.astype(np.float32)
    found, left = start_33, np.inf
    for _ in range(_STEPS):
        at = (found @ places_3N)[1::-1]
        weight = ndimage.map_coordinates(seen_hw, at, order=1, cval=0) > 0.99
        if weight.sum() < _FEWEST:
            return start_33, np.inf
        away = ndimage.map_coordinates(second_hw, at, order=1, mode="nearest") - wanted
        away = np.where(weight, away - np.median(away[weight]), 0)
        left = float(np.abs(away).sum() / weight.sum())
        weight = weight / (1 + (away / _OUTLIER) ** 2)
        weighted_N6 = jacobian_N6 * weight[:, None]
        step = np.linalg.lstsq(weighted_N6.T @ jacobian_N6, weighted_N6.T @ away, rcond=1e-9)[0]
        update = np.eye(3)
        update[:2] += step.reshape(2, 3)
        found = found @ np.linalg.inv(update)
        if moved(update, first_hw.shape) < _SETTLED:
            break
    return found, left


def _shift(first_hw: np.ndarray, second_hw: np.ndarray) -> np.ndarray:
    """Return whole pixels (x, y) by which one picture lies elsewhere in another (phase correlation)."""
    window = np.outer(*(np.hanning(side) for side in first_hw.shape))
    one, other = (np.fft.rfft2((picture - picture.mean()) * window) for picture in (first_hw, second_hw))
    product = other * one.conj()
    peaks = np.fft.irfft2(product / np.maximum(np.abs(product), 1e-6), first_hw.shape)
    place = np.array(np.unravel_index(int(peaks.argmax()), peaks.shape))
    size = np.array(first_hw.shape)
    return np.where(place > size // 2, place - size, place)[::-1].astype(float)


def _scaled(map_33: np.ndarray, scale: float) -> np.ndarray:
    """Return the same map for pictures that are `scale` times as large."""
    grow = np.diag([scale, scale, 1.0])
    return grow @ map_33 @ np.linalg.inv(grow)
