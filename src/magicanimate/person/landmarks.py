"""Finds a person's landmarks and mask in a region of a picture, and follows the person from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magicanimate.person.detect import find_people
from magicanimate.person.networks import network, sigmoid
from magicanimate.person.regions import Region, cut_region, put_back, region_of

LANDMARKS = 33
_SIDE = 256  # pixels: the network's input
_LEAST_PRESENCE = 0.5
_MASK_SIDE = 320  # pixels of a mask's longer side at most
_REFINED_BY = 3  # cells of the heatmap around a landmark


@dataclass(frozen=True)
class Landmarks:
    """Output of the network for one person."""

    points_K3: np.ndarray
    """[33, 3] float32: x, y in pixels of the picture, and the visibility 0..1."""
    world_K3: np.ndarray
    """[33, 3] float32 meters around the middle of the hips: right, down, away from the camera."""
    matte_HW: np.ndarray
    """[H, W] float32 0..1: how much of each pixel the person covers."""
    next_points_22: np.ndarray
    """Middle of the hips and a point on the circle around the body, in pixels: they make the next region."""


def find_landmarks(image_HWC: np.ndarray, region: Region, mask_side: int = _MASK_SIDE) -> Landmarks | None:
    """Find the landmarks of the person in a region of a picture [H, W, 3] uint8; None if there is nobody.

    Args:
        image_HWC: the picture.
        region: in its pixels.
        mask_side: pixels of the longer side of the person's mask, at most.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    raw_195, presence_1, mask_SS1, heat_SSN, world_117 = network("landmarks")(
        cut_region(image_HWC, region, _SIDE) / 255
    )
    if presence_1[0] <= _LEAST_PRESENCE:
        return None
    raw_N5 = raw_195.reshape(-1, 5)
    at_N2 = _refined(raw_N5[:, :2] / _SIDE, heat_SSN)
    points_N2 = region.to_picture(at_N2)
    visibility_K1 = sigmoid(raw_N5[:LANDMARKS, 3:4])
    world_K3 = world_117.reshape(-1, 3)[:LANDMARKS].copy()
    cos, sin = np.cos(region.angle), np.sin(region.angle)
    world_K3[:, :2] = world_K3[:, :2] @ np.array([[cos, sin], [-sin, cos]])
    height, width = image_HWC.shape[:2]
    scale = min(1.0, mask_side / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return Landmarks(
        np.concatenate([points_N2[:LANDMARKS], visibility_K1], 1).astype(np.float32),
        world_K3,
        put_back(sigmoid(mask_SS1[..., 0]), region, size, scale),
        points_N2[LANDMARKS : LANDMARKS + 2],
    )


def _refined(at_N2: np.ndarray, heat_SSN: np.ndarray) -> np.ndarray:
    """Move landmarks to the mean of their heatmaps around them, where those are sure.

    Args:
        at_N2: in sides of the region.
        heat_SSN: before the sigmoid.
    """
    side = len(heat_SSN)
    refined_N2 = at_N2.copy()
    for n, (column, row) in enumerate((at_N2 * side).astype(int)):
        if not (0 <= column < side and 0 <= row < side):
            continue
        rows = np.arange(max(0, row - _REFINED_BY), min(side, row + _REFINED_BY + 1))
        columns = np.arange(max(0, column - _REFINED_BY), min(side, column + _REFINED_BY + 1))
        heat = sigmoid(heat_SSN[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, n])
        if heat.max() >= 0.5:
            refined_N2[n] = (heat.sum(0) @ columns / heat.sum() / side, heat.sum(1) @ rows / heat.sum() / side)
    return refined_N2


class LandmarkFollower:
    """Follows the surest person through a video.

    The detector looks at the first frame and whenever the person was lost; otherwise the frame before tells the region.
    """

    def __init__(self) -> None:
        self._region: Region | None = None
        self._steady = _SteadyPoints()
        self._matte_HW: np.ndarray | None = None

    def __call__(self, image_HWC: np.ndarray) -> Landmarks | None:
        """Find the person in the next frame [H, W, 3] uint8; None if nobody is there.

        Raises:
            InputError: the package ai-edge-litert is missing.
        """
        region, self._region = self._region or _first_region(image_HWC), None
        found = find_landmarks(image_HWC, region) if region else None
        if found is None:
            self._steady, self._matte_HW = _SteadyPoints(), None
            return None
        self._region = region_of(*self._steady(found.next_points_22))
        self._matte_HW = _steady_matte(found.matte_HW, self._matte_HW)
        return Landmarks(found.points_K3, found.world_K3, self._matte_HW, found.next_points_22)


def _first_region(image_HWC: np.ndarray) -> Region | None:
    people = find_people(image_HWC)
    return people[0].region if people else None


def _steady_matte(now_HW: np.ndarray, before_HW: np.ndarray | None) -> np.ndarray:
    """Take up to 70% from the frame before, where the network is unsure."""
    if before_HW is None:
        return now_HW
    x = (now_HW - 0.5) ** 2
    # a polynomial for one minus the entropy of a pixel in bits
    sure = x * (5.68842 + x * (-0.748699 + x * (-57.8051 + x * (291.309 - x * 624.717))))
    return now_HW + (before_HW - now_HW) * 0.7 * (1 - np.minimum(sure, 1))


class _SteadyPoints:
    """A one-euro filter (Casiez et al., CHI 2012) over frames for the two points that make the next region."""

    _LEAST_CUTOFF, _BETA, _SPEED_CUTOFF, _RATE = 0.01, 10.0, 1.0, 30.0  # Hz, 1, Hz, frames a second

    def __init__(self) -> None:
        self._before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # points, filtered, speed

    def __call__(self, points_22: np.ndarray) -> np.ndarray:
        if self._before is None:
            self._before = (points_22, points_22, np.zeros((2, 2)))
            return points_22
        points, filtered, speed = self._before
        size = max(2 * float(np.linalg.norm(points_22[1] - points_22[0])), 1e-6)
        speed = speed + self._weight(self._SPEED_CUTOFF) * ((points_22 - points) * self._RATE / size - speed)
        filtered = filtered + self._weight(self._LEAST_CUTOFF + self._BETA * np.abs(speed)) * (points_22 - filtered)
        self._before = (points_22, filtered, speed)
        return filtered

    def _weight(self, cutoff: float | np.ndarray) -> float | np.ndarray:
        return 1 / (1 + self._RATE / (2 * np.pi * cutoff))
