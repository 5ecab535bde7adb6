"""Assigns the person's pixels to layers: the trunk with head and legs, and each arm.

The fitted body says roughly where the arms are; the picture says where they end. Pixels deep inside a part of the drawn
body are seeds; every other one goes to the seed that is nearest along a path that changes color little and, where the
layers have colors of their own, keeps to one side of them (geodesic segmentation, Bai & Sapiro 2009).

Shape legend: H W pixels, L layers.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from magicanimate.compiled import compiled
from magicanimate.parts.regions import nearest_known

NOBODY, TRUNK, LEFT_ARM, RIGHT_ARM = 0, 1, 2, 3
"""Labels of pixels. Left and right are the person's."""
LEFT_HAND, RIGHT_HAND, FACE, LEFT_FOREARM, RIGHT_FOREARM = 4, 5, 6, 7, 8
"""Further labels of the drawn body: hands and forearms belong to arms, the face to the trunk."""
_ARM_OF = {LEFT_HAND: LEFT_ARM, RIGHT_HAND: RIGHT_ARM, LEFT_FOREARM: LEFT_ARM, RIGHT_FOREARM: RIGHT_ARM}
_TRUNKS_COLOR = 0.1  # share of a color that is other arms', below which a pixel of a forearm or hand may be the trunk's
_FEWEST = 30  # pixels of known colors
_LEAST_SKIN = 0.3  # share of a drawn hand that must look like skin or sleeve, or it is in a pocket or behind something
_CORE = 0.011  # of the figure's height: how far inside its part a pixel is a seed; less in thin parts
_THIN = 0.45  # of a part's own half thickness: seeds in parts that are thinner than twice that
_REACH = 0.07  # of the figure's height: how far from the drawn arm its pixels may lie
_NEAR_ARMS = 0.10  # of the figure's height: where colors are compared
_BINS = 12  # of each color channel
_FLAT, _EDGE, _COLOR = 0.15, 6.0, 12.0  # costs of a step: of a pixel, of a color difference (0..1), of a likelihood's
_SMOOTH = 0.004  # of the figure's height: smoothness of borders between layers
_RIBBON = 0.009  # of the figure's height: half width of strips that are no part of the trunk
_BRIDGE = 0.002  # of the figure's height: half width of bridges that join nothing
_FINGERS, _SKIN = 0.035, 0.9  # of the figure's height, around drawn hands; likelihood of an arm's color there
_SMALL = 0.002  # of the figure: pieces that are smaller join their neighbors


def assign_layers(picture_HWC: np.ndarray, alpha_HW: np.ndarray, drawn_HW: np.ndarray, height: float) -> np.ndarray:
    """Label a person's pixels, [H, W] uint8.

    Args:
        picture_HWC: uint8.
        alpha_HW: uint8, the person's matte.
        drawn_HW: uint8, labels of the body that was fitted, hands, forearms and face with their own, 0 beside it.
        height: of the figure in pixels.
    """
    inside_HW = alpha_HW > 12
    solid_HW = alpha_HW > 200
    image = ndimage.gaussian_filter(picture_HWC.astype(np.float32) / 255, (0.7, 0.7, 0))
    shown_HW = _with_hands(image, solid_HW, drawn_HW)
    shown_HW[_trunk_colored(image, solid_HW, drawn_HW)] = NOBODY
    hands_HW = np.isin(drawn_HW, (LEFT_HAND, RIGHT_HAND)) & (shown_HW > TRUNK)
    drawn_HW = shown_HW
    seeds_HW = np.where(solid_HW, _seeds(drawn_HW, height), NOBODY)
    labels_HW = np.zeros_like(drawn_HW)
    if not (seeds_HW > TRUNK).any():
        labels_HW[inside_HW] = TRUNK
        return labels_HW
    likelihood_HW = _arm_likelihood(image, seeds_HW, drawn_HW, height)
    distances = [geodesic(image, likelihood_HW, inside_HW, seeds_HW == label) for label in (TRUNK, LEFT_ARM, RIGHT_ARM)]
    for index, label in enumerate((LEFT_ARM, RIGHT_ARM), 1):
        far_HW = ndimage.distance_transform_edt(drawn_HW != label) > _REACH * height
        distances[index] = np.where(far_HW, np.inf, distances[index])
    labels_HW = (np.argmin(distances, 0) + 1).astype(np.uint8)
    labels_HW[~inside_HW] = NOBODY
    labels_HW = _without_ribbons(_smooth_borders(labels_HW, height), height)
    labels_HW = _with_fingers(labels_HW, likelihood_HW, hands_HW, height)
    return _with_soft_rims(_without_specks(_without_islands(labels_HW, solid_HW, seeds_HW, height), height), solid_HW)


def _with_fingers(labels_HW: np.ndarray, likelihood_HW: np.ndarray, hands_HW: np.ndarray, height: float) -> np.ndarray:
    """Label pixels of an arm's color near the drawn hands, and join them to the arm that they touch."""
    if not hands_HW.any():
        return labels_HW
    near_HW = ndimage.distance_transform_edt(~hands_HW) < _FINGERS * height
    skin_HW = near_HW & (likelihood_HW > _SKIN) & (labels_HW == TRUNK)
    out = labels_HW.copy()
    for arm in (LEFT_ARM, RIGHT_ARM):
        out[ndimage.binary_propagation(labels_HW == arm, mask=skin_HW | (labels_HW == arm)) & skin_HW] = arm
    return out


def _smooth_borders(labels_HW: np.ndarray, height: float) -> np.ndarray:
    """Smooth the borders of labels with each other; the person's outline stays."""
    sigma = _SMOOTH * height
    shares = [ndimage.gaussian_filter((labels_HW == k).astype(np.float32), sigma) for k in (TRUNK, LEFT_ARM, RIGHT_ARM)]
    smooth_HW = (np.argmax(shares, 0) + 1).astype(np.uint8)
    thin_HW = _thickness(labels_HW > TRUNK, height) < 2 * sigma  # fingers would be worn away
    return np.where((labels_HW > NOBODY) & ~thin_HW, smooth_HW, labels_HW)


def _thickness(mask_HW: np.ndarray, height: float) -> np.ndarray:
    """Return the half thickness [H, W] of what a mask shows, 0 outside."""
    return ndimage.maximum_filter(ndimage.distance_transform_edt(mask_HW), max(3, round(0.02 * height)) | 1) * mask_HW


def _without_ribbons(labels_HW: np.ndarray, height: float) -> np.ndarray:
    """Give thin strips of the trunk's label along an arm to it: rims of sleeves differ in color from the sleeve."""
    trunk_HW = labels_HW == TRUNK
    radius = max(1.5, _RIBBON * height)
    core_HW = ndimage.distance_transform_edt(trunk_HW) > radius
    thick_HW = ndimage.distance_transform_edt(~core_HW) <= radius + 1.5
    arm_HW = labels_HW > TRUNK
    if not arm_HW.any():
        return labels_HW
    distance_HW, nearest_HW = nearest_known(labels_HW, arm_HW)
    return np.where(trunk_HW & ~thick_HW & (distance_HW < 3 * radius), nearest_HW, labels_HW)


def _without_islands(labels_HW: np.ndarray, solid_HW: np.ndarray, seeds_HW: np.ndarray, height: float) -> np.ndarray:
    """Give pieces of the trunk's label that hold no seed of it, or only by thin bridges, to the nearest arm."""
    trunk_HW = (labels_HW == TRUNK) & solid_HW
    arm_HW = labels_HW > TRUNK
    if not arm_HW.any():
        return labels_HW
    thin = max(1, round(_BRIDGE * height))
    pieces_HW, count = ndimage.label(ndimage.distance_transform_edt(trunk_HW) > thin)
    seeded = np.isin(np.arange(count + 1), pieces_HW[seeds_HW == TRUNK])
    seeded[0] = False
    if not seeded.any():
        return labels_HW
    near_HW = ndimage.distance_transform_edt(~seeded[pieces_HW]) <= thin + 2.5
    distance_HW, nearest_HW = nearest_known(labels_HW, arm_HW)
    return np.where(trunk_HW & ~near_HW & (distance_HW < _REACH * height), nearest_HW, labels_HW)


def _with_soft_rims(labels_HW: np.ndarray, solid_HW: np.ndarray) -> np.ndarray:
    """Give soft pixels the label of the nearest solid one, so that rims move with what they are the rim of."""
    known_HW = solid_HW & (labels_HW > NOBODY)
    if not known_HW.any():
        return labels_HW
    return np.where((labels_HW > NOBODY) & ~solid_HW, nearest_known(labels_HW, known_HW)[1], labels_HW)


def _trunk_colored(image: np.ndarray, solid_HW: np.ndarray, drawn_HW: np.ndarray) -> np.ndarray:
    """Find pixels [H, W] bool of forearms and hands that look like the trunk, not the face and the other arm's: the
    trunk may lie before them."""
    out = np.zeros_like(solid_HW)
    trunk_HW = (drawn_HW == TRUNK) & solid_HW
    for name in _ARM_OF:
        own_HW = drawn_HW == name
        alike_HW = np.isin(drawn_HW, (FACE, *_ARM_OF)) & ~own_HW & solid_HW
        if min(alike_HW.sum(), trunk_HW.sum()) > _FEWEST:
            out |= own_HW & (color_shares(image, alike_HW, trunk_HW) < _TRUNKS_COLOR)
    return out


def _with_hands(image: np.ndarray, solid_HW: np.ndarray, drawn_HW: np.ndarray) -> np.ndarray:
    """Draw the body with four labels; hands that look like neither skin nor sleeve, but like the trunk and legs, are
    hidden: nothing is said about their pixels."""
    out = np.where(drawn_HW == FACE, TRUNK, drawn_HW).astype(np.uint8)
    face_HW = (drawn_HW == FACE) & solid_HW
    body_HW = (drawn_HW == TRUNK) & solid_HW
    known = min(face_HW.sum(), body_HW.sum()) > _FEWEST
    tone = image / np.maximum(image.sum(-1, keepdims=True), 1e-3)
    for label, arm in _ARM_OF.items():
        out[drawn_HW == label] = arm
    for hand in (LEFT_HAND, RIGHT_HAND):
        hand_HW, arm = drawn_HW == hand, _ARM_OF[hand]
        seen_HW = hand_HW & solid_HW
        if not known or seen_HW.sum() < 10:
            continue
        own_HW = face_HW | ((out == arm) & ~hand_HW & solid_HW)
        own, other = (_log_likelihood(tone, image, chosen, seen_HW) for chosen in (own_HW, body_HW))
        if (own > other).mean() < _LEAST_SKIN:
            out[hand_HW] = NOBODY
    return out


def _log_likelihood(tone: np.ndarray, image: np.ndarray, chosen: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Log likelihood of pixels' hue and, less, brightness under a kernel density of those chosen. [N]."""
    features = np.concatenate([tone[..., :2] * 25, image.mean(-1, keepdims=True) * 4], -1)
    sample = features[chosen]
    sample = sample[:: max(1, len(sample) // 300)]
    distance = ((features[at][:, None] - sample[None]) ** 2).sum(-1)
    return np.log(np.exp(-2 * distance).mean(1) + 1e-6)


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
            core_HW = (
                own_HW & (ndimage.distance_transform_edt(~arms_HW) > 2 * _CORE * height) if arms_HW.any() else own_HW
            )
        seeds_HW[core_HW] = label
    return seeds_HW


def _arm_likelihood(image: np.ndarray, seeds_HW: np.ndarray, drawn_HW: np.ndarray, height: float) -> np.ndarray:
    """Return the probability [H, W] float32 that a color is an arm's, not the trunk's, by histograms near arms."""
    near_HW = ndimage.distance_transform_edt(drawn_HW <= TRUNK) < _NEAR_ARMS * height
    return color_shares(image, seeds_HW > TRUNK, (seeds_HW == TRUNK) & near_HW)


def color_shares(image: np.ndarray, some_HW: np.ndarray, others_HW: np.ndarray) -> np.ndarray:
    """Return the probability [H, W] float32 that a pixel's color is of some pixels, not of others, by histograms."""
    bins = np.minimum((image * _BINS).astype(int), _BINS - 1)
    at = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]

    def histogram(chosen_HW: np.ndarray) -> np.ndarray:
        counts = np.bincount(at[chosen_HW], minlength=_BINS**3).reshape((_BINS,) * 3).astype(np.float32)
        smooth = ndimage.gaussian_filter(counts, 0.6, mode="nearest").ravel()
        return smooth / max(smooth.sum(), 1e-9) + 2e-5

    some, others = histogram(some_HW), histogram(others_HW)
    return (some / (some + others))[at].astype(np.float32)


def _without_specks(labels_HW: np.ndarray, height: float) -> np.ndarray:
    """Give small pieces of a layer to the layer around them."""
    out = labels_HW.copy()
    least = max(4, _SMALL * (labels_HW > 0).sum())
    for label in (TRUNK, LEFT_ARM, RIGHT_ARM):
        pieces_HW, count = ndimage.label(labels_HW == label)
        sizes = np.bincount(pieces_HW.ravel(), minlength=count + 1)
        small = sizes < least
        small[0] = False
        out[small[pieces_HW]] = NOBODY
    missing_HW = (out == NOBODY) & (labels_HW > NOBODY)
    return np.where(missing_HW, nearest_known(out, out > NOBODY)[1], out) if (out > NOBODY).any() else out


def geodesic(image: np.ndarray, likelihood_HW: np.ndarray, inside_HW: np.ndarray, seeds_HW: np.ndarray) -> np.ndarray:
    """Return lengths [H, W] of the shortest paths to a seed through the inside; inf: there is none."""
    return _geodesic(image, likelihood_HW, inside_HW, seeds_HW, _FLAT, _EDGE, _COLOR)


@compiled
def _geodesic(image, likelihood, inside, seeds, flat, edge, color):
    """Compute the same for given costs, by alternating sweeps."""
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
