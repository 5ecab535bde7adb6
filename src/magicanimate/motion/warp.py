"""The picture, warped to a motion by body parts: no network, no training.

Each part of the target takes the pixels of the same part of the picture, moved, turned and scaled so that centres and
principal axes of both areas agree (the motion model of first-order methods such as MRAA, with known parts). A part that
the picture does not show takes a part of the same kind. Behind the person is the picture's background, filled from
its border.

It is a baseline of its own, and an input of models with `warp_input` (warped.py).

Legend: H W pixels, N points, P parts. Only numpy and scipy are needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from magicanimate.motion.densepose import FLIP_TABLE

PARTS = len(FLIP_TABLE)
TRUNK = (1, 2)
SMALLEST = 12  # pixels that an area needs for a direction
SCALES = (0.5, 2.0)  # how much an area may shrink or grow along an axis
CLOTH = 0.02  # of the picture's height: how far clothes and hair mostly reach beyond the parts
BEYOND = 0.1  # and at most
KNOWN, STAND_IN, UNKNOWN = 255, 128, 0
"""Pixels of the same part, or of open background; those of a part of the same kind; guesses."""
# The other side of the same limb: front and back, inner and outer.
_OTHER_SIDE = {1: 2, 7: 9, 8: 10, 11: 13, 12: 14, 15: 17, 16: 18, 19: 21, 20: 22, 23: 24}
OTHER_SIDE = _OTHER_SIDE | {b: a for a, b in _OTHER_SIDE.items()}


class Areas(NamedTuple):
    """Of each part: whether its area is large enough, centre (x, y), principal axes (columns, the longer first) and
    extents along them, in pixels."""

    present_P: np.ndarray
    centre_P2: np.ndarray
    axes_P22: np.ndarray
    extents_P2: np.ndarray


class Warped(NamedTuple):
    """picture [H,W,3] uint8; known [H,W] uint8: KNOWN, STAND_IN or UNKNOWN."""

    picture_HWC: np.ndarray
    known_HW: np.ndarray


class Beyond(NamedTuple):
    """What lies beside the parts and may be hair, a skirt, a loose sleeve, or only background: the warped picture
    [H,W,3] uint8 with everything near the parts moved as the nearest part is, and where that was done [H,W] uint8,
    KNOWN or UNKNOWN."""

    picture_HWC: np.ndarray
    moved_HW: np.ndarray


class Maps(NamedTuple):
    """For each part of a target, the affine map of its pixels into the picture."""

    turn_P22: np.ndarray
    shift_P2: np.ndarray

    def origins(self, x_N: np.ndarray, y_N: np.ndarray, part_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture's pixels x [N], y [N], perhaps outside it, for pixels that move as their parts do."""
        at_N21 = np.stack([x_N, y_N], 1)[..., None]
        from_N2 = np.rint((self.turn_P22[part_N] @ at_N21)[..., 0] + self.shift_P2[part_N]).astype(int)
        return from_N2[:, 0], from_N2[:, 1]


def measure_areas(parts_HW: np.ndarray) -> Areas:
    """Moments of all parts of a map. The longer axis points away from the trunk's centre; no axes are mirrored."""
    y, x = np.nonzero(parts_HW)
    label = parts_HW[y, x]
    count_P = np.bincount(label, minlength=PARTS)
    present_P = count_P >= SMALLEST
    share_P = np.maximum(count_P, 1)
    centre_P2 = np.stack([np.bincount(label, v, PARTS) / share_P for v in (x, y)], 1)
    away_N2 = np.stack([x, y], 1) - centre_P2[label]
    covariance_P22 = np.empty((PARTS, 2, 2))
    for i, j in ((0, 0), (0, 1), (1, 1)):
        sums_P = np.bincount(label, away_N2[:, i] * away_N2[:, j], PARTS)
        covariance_P22[:, i, j] = covariance_P22[:, j, i] = sums_P / np.maximum(count_P - 1, 1)
    values_P2, vectors_P22 = np.linalg.eigh(covariance_P22 + 0.25 * np.eye(2))
    long_P2, short_P2 = vectors_P22[..., 1], vectors_P22[..., 0]
    inwards_P = (long_P2 * (centre_P2 - _body_centre(parts_HW))).sum(1) < 0
    long_P2 = np.where(inwards_P[:, None], -long_P2, long_P2)
    mirrored_P = long_P2[:, 0] * short_P2[:, 1] - long_P2[:, 1] * short_P2[:, 0] < 0
    short_P2 = np.where(mirrored_P[:, None], -short_P2, short_P2)
    return Areas(present_P, centre_P2, np.stack([long_P2, short_P2], 2), np.sqrt(values_P2[:, ::-1]))


def sources_of(part: int) -> list[int]:
    """Parts of the picture that may stand in for a part, the best first."""
    other = OTHER_SIDE.get(part, part)
    return list(dict.fromkeys([part, other, int(FLIP_TABLE[part]), int(FLIP_TABLE[other])]))


def fill_background(picture_HWC: np.ndarray, parts_HW: np.ndarray) -> Warped:
    """The picture without its person: each covered pixel takes the nearest uncovered one."""
    covered = parts_HW > 0
    reach = max(1, round(CLOTH * len(covered)))
    covered = ndimage.binary_dilation(covered, iterations=reach)
    known_HW = np.where(covered, UNKNOWN, KNOWN).astype(np.uint8)
    if covered.all():
        return Warped(picture_HWC.copy(), known_HW)
    nearest = ndimage.distance_transform_edt(covered, return_distances=False, return_indices=True)
    return Warped(picture_HWC[tuple(nearest)], known_HW)


class PartWarp:
    """Warps one picture to any number of part maps."""

    def __init__(self, picture_HWC: np.ndarray, parts_HW: np.ndarray) -> None:
        """picture uint8 [H,W,3] with its part map [H,W]."""
        self._background = fill_background(picture_HWC, parts_HW)
        self._pixels, self._parts = picture_HWC.reshape(-1, 3), parts_HW
        self._areas = measure_areas(parts_HW)
        self._source_P = np.array([_first_present(part, self._areas.present_P) for part in range(PARTS)])
        self._nearest, self._start_P, self._box_P4 = _nearest_pixels(parts_HW, self._areas.present_P)

    def __call__(self, parts_HW: np.ndarray) -> Warped:
        """The picture for a target part map [H,W]."""
        return self._warped(parts_HW, self._maps(measure_areas(parts_HW)))

    def with_surroundings(self, parts_HW: np.ndarray) -> tuple[Warped, Beyond]:
        """The same, and what lies beside the target's parts."""
        maps = self._maps(measure_areas(parts_HW))
        warped = self._warped(parts_HW, maps)
        return warped, self._beyond(parts_HW, maps, warped)

    def _warped(self, parts_HW: np.ndarray, maps: Maps) -> Warped:
        picture_HWC, known_HW = (array.copy() for array in self._background)
        drawn_HW = (parts_HW > 0) & (self._source_P[parts_HW] > 0)
        y, x = np.nonzero(drawn_HW)
        part_N = parts_HW[y, x]
        source_N = self._source_P[part_N]
        from_x, from_y = maps.origins(x, y, part_N)
        left_N, top_N, right_N, bottom_N = self._box_P4[source_N].T
        column = np.clip(from_x, left_N, right_N) - left_N
        row = np.clip(from_y, top_N, bottom_N) - top_N
        pixel_N = self._nearest[self._start_P[source_N] + row * (right_N - left_N + 1) + column]
        picture_HWC[y, x] = self._pixels[pixel_N]
        known_HW[y, x] = np.where(source_N == part_N, KNOWN, STAND_IN)
        return Warped(picture_HWC, known_HW)

    def _beyond(self, parts_HW: np.ndarray, maps: Maps, warped: Warped) -> Beyond:
        picture_HWC, moved_HW = warped.picture_HWC.copy(), np.zeros_like(parts_HW)
        height, width = parts_HW.shape
        y, x, part_N = _surroundings(parts_HW, round(BEYOND * height))
        source_N = self._source_P[part_N]
        column, row = maps.origins(x, y, part_N)
        there = (source_N > 0) & (column >= 0) & (row >= 0) & (column < width) & (row < height)
        y, x, column, row, source_N = (values[there] for values in (y, x, column, row, source_N))
        label_N = self._parts[row, column]
        free = (label_N == 0) | (label_N == source_N)  # not somebody's other arm
        y, x = y[free], x[free]
        picture_HWC[y, x] = self._pixels[row[free] * width + column[free]]
        moved_HW[y, x] = KNOWN
        return Beyond(picture_HWC, moved_HW)

    def _maps(self, target: Areas) -> Maps:
        """Of a target's parts. Areas too small for a direction take the colour of the source's centre."""
        source = Areas(*(values[self._source_P] for values in self._areas))
        scale_P2 = np.clip(source.extents_P2 / target.extents_P2, *SCALES)
        turn_P22 = (source.axes_P22 * scale_P2[:, None]) @ target.axes_P22.transpose(0, 2, 1)
        turn_P22 = np.where(target.present_P[:, None, None], turn_P22, 0.0)
        return Maps(turn_P22, source.centre_P2 - (turn_P22 @ target.centre_P2[..., None])[..., 0])


def _first_present(part: int, present_P: np.ndarray) -> int:
    """The best part to take a part's pixels from; 0 where there is none."""
    return next((source for source in sources_of(part) if source and present_P[source]), 0)


def _nearest_pixels(parts_HW: np.ndarray, present_P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each position of each part's box, the picture's nearest pixel inside the part: numbers of pixels, boxes one
    after the other; where each box starts [P]; and the boxes [P,4] (left, top, right, bottom, all inside)."""
    width = parts_HW.shape[1]
    found, start_P, box_P4 = [], np.zeros(PARTS, int), np.zeros((PARTS, 4), int)
    total = 0
    boxes = ndimage.find_objects(parts_HW.astype(int), max_label=PARTS - 1)
    for part in np.flatnonzero(present_P):
        rows, columns = boxes[part - 1]
        outside = parts_HW[rows, columns] != part
        row, column = ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
        found.append(((row + rows.start) * width + column + columns.start).ravel())
        start_P[part], total = total, total + outside.size
        box_P4[part] = columns.start, rows.start, columns.stop - 1, rows.stop - 1
    return np.concatenate(found) if found else np.zeros(0, int), start_P, box_P4


def _surroundings(parts_HW: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels beside the parts, at most `reach` away: y [N], x [N] and the nearest part [N]."""
    found = ndimage.find_objects((parts_HW > 0).astype(int))
    if not found:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0, int)
    rows, columns = (slice(max(0, s.start - reach), s.stop + reach) for s in found[0])
    cut = parts_HW[rows, columns]
    distance, (row, column) = ndimage.distance_transform_edt(cut == 0, return_indices=True)
    y, x = np.nonzero((distance > 0) & (distance <= reach))
    return y + rows.start, x + columns.start, cut[row[y, x], column[y, x]]


def _body_centre(parts_HW: np.ndarray) -> np.ndarray:
    """Centre (x, y) of the trunk, or of everything where no trunk shows."""
    mask = np.isin(parts_HW, TRUNK)
    if not mask.any():
        mask = parts_HW > 0
    if not mask.any():
        return np.zeros(2)
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()])
