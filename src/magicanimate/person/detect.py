"""Finds all people in a picture: boxes, and the two points by which a person's region is aligned."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from magicanimate.person.networks import network, sigmoid
from magicanimate.person.regions import Region, cut_region, region_of

_SIDE = 224  # pixels: the network's input
_GRIDS = ((28, 2), (14, 2), (7, 6))  # cells per side, anchors per cell
_LEAST_SCORE = 0.5
_MOST_OVERLAP = 0.3  # intersection over union; boxes that overlap more are one person


@dataclass(frozen=True)
class Detection:
    """One person that was found."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom of head and shoulders to hips, in pixels."""
    score: float
    """0.5 to 1."""
    region: Region
    """The square around the whole body, upright in its own frame."""


def find_people(image_HWC: np.ndarray) -> list[Detection]:
    """Find people in a picture [H, W, 3] uint8, the surest first.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    square_SSC, offset = _square(image_HWC)
    side = len(square_SSC)
    whole = Region((side / 2, side / 2), side, 0.0)
    boxes_N12, scores_N1 = network("detector")(cut_region(square_SSC, whole, _SIDE) / 127.5 - 1)
    scores_N = sigmoid(scores_N1[:, 0])
    sure_N = scores_N >= _LEAST_SCORE
    decoded_N12 = boxes_N12[sure_N] / _SIDE
    decoded_N12[:, :2] += _anchors()[sure_N]
    decoded_N12[:, 4:] += np.tile(_anchors()[sure_N], 4)
    found = []
    for person_12, score in _merged(decoded_N12, scores_N[sure_N]):
        x, y, width, height = person_12[:4] * side
        left, top = x - width / 2 - offset[0], y - height / 2 - offset[1]
        hips, head = person_12[4:8].reshape(2, 2) * side - offset
        found.append(Detection((left, top, left + width, top + height), score, region_of(hips, head)))
    return found


def _square(image_HWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the picture into the middle of a black square; also returns where in it (x, y)."""
    height, width = image_HWC.shape[:2]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    square_SSC = np.zeros((side, side, 3), np.uint8)
    square_SSC[top : top + height, left : left + width] = image_HWC
    return square_SSC, np.array([left, top])


@functools.cache
def _anchors() -> np.ndarray:
    """Return middles of the cells, in sides of the picture. [2254, 2] float32."""
    grids = []
    for cells, count in _GRIDS:
        middles = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(middles, middles, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), count, 0))
    return np.concatenate(grids)


def _merged(people_N12: np.ndarray, scores_N: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Merge overlapping boxes into their score-weighted mean, from the surest on."""
    order = np.argsort(-scores_N, kind="stable")
    merged = []
    while len(order):
        same = _overlap(people_N12[order[0]], people_N12[order]) > _MOST_OVERLAP
        same[0] = True
        weights = scores_N[order[same]]
        merged.append((weights @ people_N12[order[same]] / weights.sum(), float(scores_N[order[0]])))
        order = order[~same]
    return merged


def _overlap(one_12: np.ndarray, others_N12: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes (middle x, y, width, height). [N]."""
    low = np.maximum(one_12[:2] - one_12[2:4] / 2, others_N12[:, :2] - others_N12[:, 2:4] / 2)
    high = np.minimum(one_12[:2] + one_12[2:4] / 2, others_N12[:, :2] + others_N12[:, 2:4] / 2)
    both = np.clip(high - low, 0, None).prod(1)
    return both / np.maximum(one_12[2:4].prod() + others_N12[:, 2:4].prod(1) - both, 1e-12)
