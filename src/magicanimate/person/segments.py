"""Assigns the person's pixels to layers: the trunk with head and legs, and each arm.

The fitted body says roughly where the arms are; the picture says where they end. Pixels deep inside a part of the drawn
body are seeds; every other one goes to the seed that is nearest along a path that changes color little and, where the
layers have colors of their own, keeps to one side of them (geodesic segmentation, Bai & Sapiro 2009).

Shape legend: H W pixels, L layers.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import ndimage

NOBODY, TRUNK, LEFT_ARM, RIGHT_ARM = 0, 1, 2, 3
"""Labels of pixels. Left and right are the person's."""
_CORE = 0.011  # of the figure's height: how far inside its part a pixel is a seed; less in thin parts
_THIN = 0.45  # of a part's own half thickness: seeds in parts that are thinner than twice that
_REACH = 0.07  # of the figure's height: how far from the drawn arm its pixels may lie
_NEAR_ARMS = 0.10  # of the figure's height: where colors are compared
_BINS = 12  # of each color channel
_FLAT, _EDGE, _COLOR = 0.15, 6.0, 12.0  # costs of a step: of a pixel, of a color difference (0..1), of a likelihood's
_SMALL = 0.002  # of the figure: pieces that are smaller join their neighbors


def assign_layers(picture_HWC: np.ndarray, alpha_HW: np.ndarray, drawn_HW: np.ndarray, height: float) -> np.ndarray:
    """Labels [H, W] uint8 of a person's pixels.

    Args:
        picture_HWC: uint8.
        alpha_HW: uint8, the person's matte.
        drawn_HW: uint8, labels of the body that was fitted, 0 beside it.
        height: of the figure in pixels.
    """
    inside_HW = alpha_HW > 12
    solid_HW = alpha_HW > 200
    image = ndimage.gaussian_filter(picture_HWC.astype(np.float32) / 255, (0.7, 0.7, 0))
    seeds_HW = np.where(solid_HW, _seeds(drawn_HW, height), NOBODY)
    labels_HW = np.zeros_like(drawn_HW)
    if not (seeds_HW > TRUNK).any():
        labels_HW[inside_HW] = TRUNK
        return labels_HW
    likelihood_HW = _arm_likelihood(image, seeds_HW, drawn_HW, height)
    distances = [
        _geodesic(image, likelihood_HW, inside_HW, seeds_HW == label, _FLAT, _EDGE, _COLOR)
        for label in (TRUNK, LEFT_ARM, RIGHT_ARM)
    ]
    for index, label in enumerate((LEFT_ARM, RIGHT_ARM), 1):
        far_HW = ndimage.distance_transform_edt(drawn_HW != label) > _REACH * height
        distances[index] = np.where(far_HW, np.inf, distances[index])
    labels_HW = (np.argmin(distances, 0) + 1).astype(np.uint8)
    labels_HW[~inside_HW] = NOBODY
    return _without_specks(labels_HW, height)


def _seeds(drawn_HW: np.ndarray, height: float) -> np.ndarray:
    """Labels of pixels that surely belong to their layer."""
    seeds_HW = np.zeros_like(drawn_HW)
    for label in (TRUNK, LEFT_ARM, RIGHT_ARM):
        own_HW = drawn_HW == label
        deep_HW = ndimage.distance_transform_edt(own_HW)
        size = max(3, round(0.05 * height)) | 1
        thickness_HW = ndimage.maximum_filter(deep_HW, size)
        core_HW = deep_HW > np.minimum(_CORE * height, _THIN * thickness_HW)
        if label == TRUNK:  # errors of the arms' place are errors of the trunk's border too
            arms_HW = drawn_HW > TRUNK
            core_HW = own_HW & (ndimage.distance_transform_edt(~arms_HW) > 2 * _CORE * height) if arms_HW.any() else own_HW
        seeds_HW[core_HW] = label
    return seeds_HW


def _arm_likelihood(image: np.ndarray, seeds_HW: np.ndarray, drawn_HW: np.ndarray, height: float) -> np.ndarray:
    """Probability [H, W] float32 that a pixel's color is an arm's rather than the trunk's, by histograms near arms."""
    near_HW = ndimage.distance_transform_edt(drawn_HW <= TRUNK) < _NEAR_ARMS * height
    bins = np.minimum((image * _BINS).astype(int), _BINS - 1)
    at = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]

    def histogram(chosen_HW: np.ndarray) -> np.ndarray:
        counts = np.bincount(at[chosen_HW], minlength=_BINS**3).reshape((_BINS,) * 3).astype(np.float32)
        smooth = ndimage.gaussian_filter(counts, 0.6, mode="nearest").ravel()
        return smooth / max(smooth.sum(), 1e-9) + 2e-5

    arm, trunk = histogram(seeds_HW > TRUNK), histogram((seeds_HW == TRUNK) & near_HW)
    return (arm / (arm + trunk))[at].astype(np.float32)


def _without_specks(labels_HW: np.ndarray, height: float) -> np.ndarray:
    """Small pieces of a layer go to the layer around them."""
    out = labels_HW.copy()
    least = max(4, _SMALL * (labels_HW > 0).sum())
    for label in (TRUNK, LEFT_ARM, RIGHT_ARM):
        pieces_HW, count = ndimage.label(labels_HW == label)
        sizes = np.bincount(pieces_HW.ravel(), minlength=count + 1)
        small = sizes < least
        small[0] = False
        out[small[pieces_HW]] = NOBODY
    missing_HW = (out == NOBODY) & (labels_HW > NOBODY)
    if missing_HW.any() and (out > 0).any():
        nearest = ndimage.distance_transform_edt(out == NOBODY, return_distances=False, return_indices=True)
        out[missing_HW] = out[tuple(nearest)][missing_HW]
    return out


@njit(cache=True, nogil=True)
def _geodesic(image, likelihood, inside, seeds, flat, edge, color):  # type: ignore[no-untyped-def]
    """Length [H, W] of the shortest path to a seed through the inside, by alternating sweeps; inf where there is none."""
    height, width = inside.shape
    distance = np.where(seeds, 0.0, np.inf).astype(np.float32)
    for sweep in range(8):
        changed = False
        down, right = sweep & 1 == 0, sweep & 2 == 0
        for i in range(height):
            row = i if down else height - 1 - i
            for j in range(width):
                column = j if right else width - 1 - j
                if not inside[row, column]:
                    continue
                best = distance[row, column]
                for dy in range(-1, 2):
                    y = row + dy
                    if y < 0 or y >= height:
                        continue
                    for dx in range(-1, 2):
                        x = column + dx
                        if x < 0 or x >= width or not inside[y, x] or distance[y, x] >= best:
                            continue
                        change = 0.0
                        for c in range(3):
                            change += abs(image[row, column, c] - image[y, x, c])
                        other = abs(likelihood[row, column] - likelihood[y, x])
                        step = flat * np.sqrt(dy * dy + dx * dx) + edge * change / 3 + color * other
                        if distance[y, x] + step < best:
                            best = distance[y, x] + step
                            changed = True
                distance[row, column] = best
        if not changed and sweep >= 3:
            break
    return distance
