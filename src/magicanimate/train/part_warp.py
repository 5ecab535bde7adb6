"""The picture, warped to a motion by body parts: no network, no training.

Each part of the target takes the pixels of the same part of the picture, moved, turned and scaled so that centers and
principal axes of both areas agree (limbs.py; the motion model of first-order methods such as MRAA, with known parts). A
head also turns around its own axis (head_turn.py). An area that the picture does not show takes one of the same kind.
Behind the person is the picture's background, filled from its border.

A baseline of the study, and in training the stand-in for the drawn people that `animate` shows a model (warps.py).

Legend: H W pixels, N points, P areas: 25. Only numpy and scipy are needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from magicanimate.parts.densepose import AREAS, HEAD, LOOSE
from magicanimate.train.head_turn import Turn, facing
from magicanimate.train.limbs import ARMS, PARTS, SKULL, TRUNK, Areas, box, ellipse, measure_areas, sources_of

SCALES = (0.5, 2.0)  # how much an area may shrink or grow along an axis
CLOTH = 0.02  # of the picture's height: how far clothes and hair mostly reach beyond the parts
RIM = 0.016  # the same where the picture's own map has them: its errors, and soft edges
ASIDE = 0.012  # likewise: what lies beside an arm and is not taken for what is behind it
_BLURS = (0.01, 0.02, 0.04, 0.08)  # of its height too: of the filled background, a stronger one farther inside
KNOWN, STAND_IN, UNKNOWN = 255, 128, 0
"""Pixels of the same part, or of open background; those of another part; guesses."""


class Warped(NamedTuple):
    """picture [H,W,3] uint8; known [H,W] uint8: KNOWN, STAND_IN or UNKNOWN."""

    picture_HWC: np.ndarray
    known_HW: np.ndarray


class Maps(NamedTuple):
    """Affine maps of the pixels of a target's parts into the picture; and heads that turn, by area."""

    turn_P22: np.ndarray
    shift_P2: np.ndarray
    turns: dict[int, Turn]

    def origins(
        self, x_N: np.ndarray, y_N: np.ndarray, part_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the picture's pixels x [N], y [N], maybe outside it, for pixels that move as their parts do; and those
        that it does not show, [N] bool."""
        from_x, from_y = (
            turn_P2[part_N, 0] * x_N + turn_P2[part_N, 1] * y_N + shift_P[part_N]
            for turn_P2, shift_P in zip(self.turn_P22.swapaxes(0, 1), self.shift_P2.T, strict=True)
        )
        hidden = np.zeros(len(part_N), bool)
        for head, turn in self.turns.items():
            own = np.flatnonzero(part_N == head)
            further_N2, hidden[own] = turn.moves(x_N[own], y_N[own])
            from_x[own] += further_N2[:, 0]
            from_y[own] += further_N2[:, 1]
        return np.rint(from_x).astype(int), np.rint(from_y).astype(int), hidden


def fill_background(picture_HWC: np.ndarray, own_HW: np.ndarray) -> Warped:
    """Remove the person from the picture: each covered pixel takes the nearest uncovered one, the more blurred the
    farther it is, so that no seams show where two sides meet."""
    covered = own_HW > 0
    reach = max(1, round((RIM if (own_HW == LOOSE).any() else CLOTH) * len(covered)))
    covered = ndimage.binary_dilation(covered, iterations=reach)
    known_HW = np.where(covered, UNKNOWN, KNOWN).astype(np.uint8)
    if covered.all():
        return Warped(picture_HWC.copy(), known_HW)
    distance_HW, nearest = ndimage.distance_transform_edt(covered, return_indices=True)
    filled_HWC = picture_HWC[tuple(nearest)].astype(np.float32)
    soft_HWC = filled_HWC
    for blur in np.multiply(_BLURS, len(covered)):
        share_HW1 = np.clip(distance_HW / blur - 1, 0, 1)[..., None]
        soft_HWC = soft_HWC + share_HW1 * (ndimage.gaussian_filter(filled_HWC, (blur, blur, 0)) - soft_HWC)
    return Warped(np.where(covered[..., None], np.rint(soft_HWC), picture_HWC).astype(np.uint8), known_HW)


class PartWarp:
    """Warps one picture to any number of part maps."""

    def __init__(self, picture_HWC: np.ndarray, own_HW: np.ndarray) -> None:
        """picture uint8 [H,W,3] with its own map [H,W]: parts, and LOOSE where that is known."""
        self._background = fill_background(picture_HWC, own_HW)
        parts_HW = np.where(own_HW == LOOSE, 0, own_HW).astype(own_HW.dtype)
        self._pixels, self._parts = picture_HWC.reshape(-1, 3), parts_HW.ravel()
        area_HW = AREAS[parts_HW]
        self._areas = measure_areas(area_HW)
        self._face = _facing(parts_HW, area_HW, self._areas)
        self._source_P = np.array([_first_present(area, self._areas.present_P) for area in range(PARTS)])
        self._nearest, self._start_P, self._box_P4 = _nearest_pixels(area_HW, self._areas.present_P)

    def __call__(self, parts_HW: np.ndarray) -> Warped:
        """Return the picture for a target part map [H,W]."""
        area_HW = AREAS[parts_HW]
        return self._warped(parts_HW, area_HW, self._maps(parts_HW, area_HW))

    def _warped(self, parts_HW: np.ndarray, area_HW: np.ndarray, maps: Maps) -> Warped:
        picture_HWC, known_HW = (array.copy() for array in self._background)
        rows, columns = box(area_HW)
        y, x = np.nonzero(self._source_P[area_HW[rows, columns]] > 0)
        y, x = y + rows.start, x + columns.start
        area_N = area_HW[y, x]
        source_N = self._source_P[area_N]
        from_x, from_y, hidden = maps.origins(x, y, area_N)
        left_N, top_N, right_N, bottom_N = self._box_P4[source_N].T
        column = np.clip(from_x, left_N, right_N) - left_N
        row = np.clip(from_y, top_N, bottom_N) - top_N
        pixel_N = self._nearest[self._start_P[source_N] + row * (right_N - left_N + 1) + column]
        picture_HWC[y, x] = self._pixels[pixel_N]
        known_HW[y, x] = np.where(self._parts[pixel_N] == parts_HW[y, x], KNOWN, STAND_IN)
        known_HW[y[hidden], x[hidden]] = UNKNOWN
        return Warped(picture_HWC, known_HW)

    def _maps(self, parts_HW: np.ndarray, area_HW: np.ndarray) -> Maps:
        """Return the maps of a target's parts. Areas too small for a direction take the source center's color."""
        target = measure_areas(area_HW)
        source = Areas(*(values[self._source_P] for values in self._areas))
        scale_P2 = np.clip(source.extents_P2 / target.extents_P2, *SCALES)
        turn_P22 = (source.axes_P22 * scale_P2[:, None]) @ target.axes_P22.transpose(0, 2, 1)
        turn_P22 = np.where(target.present_P[:, None, None], turn_P22, 0.0)
        turns = {}
        looks = _facing(parts_HW, area_HW, target)
        turn = Turn.between(ellipse(target, SKULL), ellipse(self._areas, SKULL), looks, self._face)
        if turn is not None:
            turns[SKULL] = turn
        return Maps(turn_P22, source.center_P2 - (turn_P22 @ target.center_P2[..., None])[..., 0], turns)


def _facing(parts_HW: np.ndarray, area_HW: np.ndarray, areas: Areas) -> float | None:
    """Return the direction a head faces; None where that is not seen."""
    rows, columns = box(area_HW)
    cut, parts = area_HW[rows, columns], parts_HW[rows, columns]
    y, x = np.nonzero(cut == SKULL)
    across_N = ellipse(areas, SKULL).places(x + columns.start, y + rows.start)[:, 1]
    back, front = (np.count_nonzero(cut == side) for side in TRUNK)
    return facing(across_N, parts[y, x] == HEAD[1], bool(front > back))


def _first_present(part: int, present_P: np.ndarray) -> int:
    """Return the best part to take a part's pixels from; 0 where there is none."""
    return next((source for source in sources_of(part) if source and present_P[source]), 0)


def _nearest_pixels(parts_HW: np.ndarray, present_P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find for each position of each part's box the picture's nearest pixel inside the part, and off the rim of an arm
    before it: numbers of pixels, boxes one after the other; where each box starts [P]; and the boxes [P,4] (left,
    top, right, bottom, all inside)."""
    width, rim_HW = parts_HW.shape[1], _rim_of_arms(parts_HW)
    found, start_P, box_P4 = [], np.zeros(len(present_P), int), np.zeros((len(present_P), 4), int)
    total = 0
    boxes = ndimage.find_objects(parts_HW.astype(int), max_label=len(present_P) - 1)
    for part in np.flatnonzero(present_P):
        rows, columns = boxes[part - 1]
        outside = parts_HW[rows, columns] != part
        barred = outside | rim_HW[rows, columns]
        outside = outside if barred.all() else barred
        row, column = ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
        found.append(((row + rows.start) * width + column + columns.start).ravel())
        start_P[part], total = total, total + outside.size
        box_P4[part] = columns.start, rows.start, columns.stop - 1, rows.stop - 1
    return np.concatenate(found) if found else np.zeros(0, int), start_P, box_P4


def _rim_of_arms(area_HW: np.ndarray) -> np.ndarray:
    """Find pixels of trunks and legs beside arms and hands, whose colors they have: edges are soft, maps not exact. Not
    of heads, where what is nearest may be hair for skin. [H,W] bool"""
    arms_HW = np.isin(area_HW, ARMS)
    beside_HW = ndimage.binary_dilation(arms_HW, iterations=max(1, round(ASIDE * len(area_HW))))
    return beside_HW & ~np.isin(area_HW, [*ARMS, SKULL])
