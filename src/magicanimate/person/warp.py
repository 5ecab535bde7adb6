"""The picture, warped to a motion by body parts: no network, no training.

Each part of the target takes the pixels of the same part of the picture, moved, turned and scaled so that centres and
principal axes of both areas agree (areas.py; the motion model of first-order methods such as MRAA, with known parts). A
head also turns around its own axis (turning.py). An area that the picture does not show takes one of the same kind.
Behind the person is the picture's background, filled from its border. Of several people each has areas of their own,
and takes pixels from one person of the picture only.

It is a baseline of its own, and an input of models with `warp_input` (warped.py).

Legend: H W pixels, N points, P areas: 25, times the people of the picture. Only numpy and scipy are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from magicanimate.parts.densepose import HEAD
from magicanimate.person.head_turn import Turn, facing
from magicanimate.person.limbs import AREAS, ARMS, PARTS, SKULL, TRUNK, Areas, box, ellipse, measure_areas, sources_of

SCALES = (0.5, 2.0)  # how much an area may shrink or grow along an axis
CLOTH = 0.02  # of the picture's height: how far clothes and hair mostly reach beyond the parts
RIM = 0.016  # the same where the picture's own map has them: its errors, and soft edges
ASIDE = 0.012  # likewise: what lies beside an arm and is not taken for what is behind it
BEYOND = 0.1  # and at most
HAIR = 2.0  # times the head's own radii: what is loose within it is hair
LOOSE = PARTS
"""In the picture's own map: hair and clothes beyond the parts. A map without it says nothing about them."""
_BLURS = (0.01, 0.02, 0.04, 0.08)  # of its height too: of the filled background, a stronger one farther inside
KNOWN, STAND_IN, UNKNOWN = 255, 128, 0
"""Pixels of the same part, or of open background; those of another part; guesses."""


class Warped(NamedTuple):
    """picture [H,W,3] uint8; known [H,W] uint8: KNOWN, STAND_IN or UNKNOWN."""

    picture_HWC: np.ndarray
    known_HW: np.ndarray


class Beyond(NamedTuple):
    """What lies beside the parts and may be hair, a skirt, a loose sleeve, or only background: the warped picture
    [H,W,3] uint8 with hair moved as its head is and everything else near the parts as the nearest one is, and where
    that was done [H,W] uint8: KNOWN for hair, STAND_IN for the rest, UNKNOWN."""

    picture_HWC: np.ndarray
    moved_HW: np.ndarray


class Maps(NamedTuple):
    """For each part of a target, the affine map of its pixels into the picture; and heads that turn, by area."""

    turn_P22: np.ndarray
    shift_P2: np.ndarray
    turns: dict[int, Turn]

    def origins(
        self, x_N: np.ndarray, y_N: np.ndarray, part_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The picture's pixels x [N], y [N], perhaps outside it, for pixels that move as their parts do; and those that
        it does not show, [N] bool."""
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


def with_loose(parts_HW: np.ndarray, person_HW: np.ndarray) -> np.ndarray:
    """Part map(s) of a picture with LOOSE where somebody is seen beside the parts, and no parts where nobody is."""
    return np.where(person_HW, np.where(parts_HW > 0, parts_HW, LOOSE), 0).astype(np.uint8)


def each_frame(parts_FHW: np.ndarray, people_FHW: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """What a `PartWarp` is called with, frame by frame: parts [H,W], and whose they are."""
    return zip(parts_FHW, repeat(None) if people_FHW is None else people_FHW, strict=False)


def fill_background(picture_HWC: np.ndarray, own_HW: np.ndarray) -> Warped:
    """The picture without its person: each covered pixel takes the nearest uncovered one, the more blurred the farther
    it is, so that no seams show where two sides meet."""
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

    def __init__(self, picture_HWC: np.ndarray, own_HW: np.ndarray, people_HW: np.ndarray | None = None) -> None:
        """picture uint8 [H,W,3] with its own map [H,W]: parts, and LOOSE where that is known; people [H,W] uint8: whose
        each pixel of the own map is, 1, 2, ... and 0 for nobody's; None: all one person's."""
        self._background = fill_background(picture_HWC, own_HW)
        loose_HW = own_HW == LOOSE
        parts_HW = np.where(loose_HW, 0, own_HW).astype(own_HW.dtype)
        self._people = 1 if people_HW is None else max(1, int(people_HW.max()))
        self._shown = np.isin(np.arange(256), 1 if people_HW is None else people_HW) & (np.arange(256) > 0)
        self._pixels, self._parts = picture_HWC.reshape(-1, 3), parts_HW.ravel()
        self._area_HW = self._areas_of(parts_HW, people_HW)
        self._loose = loose_HW if loose_HW.any() else parts_HW == 0
        self._owner_HW = people_HW
        self._areas = self._measured(self._area_HW)
        self._hair_HW = _hair(self._area_HW, loose_HW, self._areas, people_HW)
        self._hairy = [int(head) for head in np.unique(self._hair_HW) if head]
        self._faces = self._facing(parts_HW, self._area_HW, self._areas)
        self._source_P = _sources(self._areas.present_P)
        self._nearest, self._start_P, self._box_P4 = _nearest_pixels(self._area_HW, self._areas.present_P)

    def __call__(self, parts_HW: np.ndarray, people_HW: np.ndarray | None = None) -> Warped:
        """The picture for a target part map [H,W], with whose each of its pixels is [H,W]; None: all person 1's."""
        area_HW = self._areas_of(parts_HW, people_HW)
        maps = self._maps(parts_HW, area_HW)
        return self._warped(parts_HW, area_HW, maps)

    def with_surroundings(self, parts_HW: np.ndarray, people_HW: np.ndarray | None = None) -> tuple[Warped, Beyond]:
        """The same, and what lies beside the target's parts."""
        area_HW = self._areas_of(parts_HW, people_HW)
        maps = self._maps(parts_HW, area_HW)
        warped = self._warped(parts_HW, area_HW, maps)
        return warped, self._beyond(area_HW, maps, warped)

    def missing(self, people_HW: np.ndarray) -> np.ndarray:
        """Pixels of people whom the picture does not show. Any shape, bool."""
        return (people_HW > 0) & ~self._shown[people_HW]

    def _areas_of(self, parts_HW: np.ndarray, people_HW: np.ndarray | None) -> np.ndarray:
        """What each pixel [H,W] moves with: 0 for background, person k's areas from PARTS (k - 1) on, the last one for
        people whom the picture does not show."""
        area_HW = AREAS[parts_HW]
        if people_HW is None:
            return area_HW
        own_HW = np.where(
            self._shown[people_HW], area_HW + PARTS * (people_HW.astype(np.int16) - 1), PARTS * self._people
        )
        return np.where(area_HW > 0, own_HW, 0).astype(np.int16)

    def _measured(self, area_HW: np.ndarray) -> Areas:
        """Everybody's areas."""
        measured = []
        for before in range(0, PARTS * self._people, PARTS):
            own_HW = (area_HW > before) & (area_HW < before + PARTS)
            measured.append(measure_areas(np.where(own_HW, area_HW - before, 0)))
        return Areas(*(np.concatenate(values) for values in zip(*measured, _NOBODYS, strict=True)))

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
        known_HW[area_HW == PARTS * self._people] = UNKNOWN
        return Warped(picture_HWC, known_HW)

    def _beyond(self, area_HW: np.ndarray, maps: Maps, warped: Warped) -> Beyond:
        picture_HWC, moved_HW = warped.picture_HWC.copy(), np.zeros(area_HW.shape, np.uint8)
        beside_y, beside_x, area_N = _surroundings(area_HW, round(BEYOND * len(area_HW)))
        taken = [(STAND_IN, self._moved_along(area_N, beside_y, beside_x, maps))]
        taken += [(KNOWN, self._hair_of(head, beside_y, beside_x, maps)) for head in self._hairy]
        for mark, (y, x, row, column) in taken:
            picture_HWC[y, x] = self._pixels[row * area_HW.shape[1] + column]
            moved_HW[y, x] = mark
        return Beyond(picture_HWC, moved_HW)

    def _moved_along(self, area_N: np.ndarray, y: np.ndarray, x: np.ndarray, maps: Maps) -> tuple[np.ndarray, ...]:
        """Those of the pixels that may have moved as their nearest areas did, and where they come from: y, x, row and
        column [N]."""
        source_N = self._source_P[area_N]
        column, row, _ = maps.origins(x, y, area_N)
        there = (source_N > 0) & self._contains(row, column)
        y, x, column, row, source_N = (values[there] for values in (y, x, column, row, source_N))
        loose = self._loose[row, column]
        if self._owner_HW is not None:  # not somebody else's hair
            loose &= _may_be_of(self._owner_HW[row, column], source_N)
        free = loose | (self._area_HW[row, column] == source_N)  # not somebody's other arm
        return y[free], x[free], row[free], column[free]

    def _hair_of(self, head: int, y: np.ndarray, x: np.ndarray, maps: Maps) -> tuple[np.ndarray, ...]:
        """Those of the pixels that a head's hair covers, whatever part is nearest to them, and where it comes from: y,
        x, row and column [N]."""
        column, row, _ = maps.origins(x, y, np.full(len(x), head))
        at = np.flatnonzero(self._contains(row, column))
        at = at[self._hair_HW[row[at], column[at]] == head]
        return y[at], x[at], row[at], column[at]

    def _contains(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Whether places are inside the picture. [N] bool"""
        height, width = self._area_HW.shape
        return (row >= 0) & (column >= 0) & (row < height) & (column < width)

    def _facing(self, parts_HW: np.ndarray, area_HW: np.ndarray, areas: Areas) -> dict[int, float | None]:
        """Which way everybody's head faces, by area."""
        found = {}
        rows, columns = box(area_HW)
        cut, parts = area_HW[rows, columns], parts_HW[rows, columns]
        for head in range(SKULL, PARTS * self._people, PARTS):
            y, x = np.nonzero(cut == head)
            across_N = ellipse(areas, head).places(x + columns.start, y + rows.start)[:, 1]
            back, front = (np.count_nonzero(cut == head - SKULL + side) for side in TRUNK)
            found[head] = facing(across_N, parts[y, x] == HEAD[1], bool(front > back))
        return found

    def _maps(self, parts_HW: np.ndarray, area_HW: np.ndarray) -> Maps:
        """Of a target's parts. Areas too small for a direction take the colour of the source's centre."""
        target = self._measured(area_HW)
        source = Areas(*(values[self._source_P] for values in self._areas))
        scale_P2 = np.clip(source.extents_P2 / target.extents_P2, *SCALES)
        turn_P22 = (source.axes_P22 * scale_P2[:, None]) @ target.axes_P22.transpose(0, 2, 1)
        turn_P22 = np.where(target.present_P[:, None, None], turn_P22, 0.0)
        turns = {}
        for head, looks in self._facing(parts_HW, area_HW, target).items():
            turn = Turn.between(ellipse(target, head), ellipse(self._areas, head), looks, self._faces[head])
            if turn is not None:
                turns[head] = turn
        return Maps(turn_P22, source.centre_P2 - (turn_P22 @ target.centre_P2[..., None])[..., 0], turns)


_NOBODYS = Areas(np.zeros(1, bool), np.zeros((1, 2)), np.eye(2)[None], np.ones((1, 2)))
"""The area of people whom the picture does not show."""


def _sources(present_P: np.ndarray) -> np.ndarray:
    """[P] the best area of the same person to take each area's pixels from; 0 where there is none."""
    source_P = np.zeros(len(present_P), int)
    for first in range(0, len(present_P) - 1, PARTS):
        own_P = present_P[first : first + PARTS]
        for area in range(PARTS):
            found = _first_present(area, own_P)
            source_P[first + area] = first + found if found else 0
    return source_P


def _first_present(part: int, present_P: np.ndarray) -> int:
    """The best part to take a part's pixels from; 0 where there is none."""
    return next((source for source in sources_of(part) if source and present_P[source]), 0)


def _nearest_pixels(parts_HW: np.ndarray, present_P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each position of each part's box, the picture's nearest pixel inside the part, and not at the rim of an arm
    before it: numbers of pixels, boxes one after the other; where each box starts [P]; and the boxes [P,4] (left, top,
    right, bottom, all inside)."""
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
    """Pixels of trunks and legs beside arms and hands, whose colours they have: edges are soft and maps not exact. Not
    of heads, where what is nearest may be hair for skin. [H,W] bool"""
    arms_HW = np.isin(area_HW % PARTS, ARMS)
    beside_HW = ndimage.binary_dilation(arms_HW, iterations=max(1, round(ASIDE * len(area_HW))))
    return beside_HW & ~np.isin(area_HW % PARTS, [*ARMS, SKULL])


def _surroundings(parts_HW: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels beside the parts, at most `reach` away: y [N], x [N] and the nearest part [N]."""
    spans = box(parts_HW)
    if spans[0].stop == 0:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0, int)
    rows, columns = (slice(max(0, side.start - reach), side.stop + reach) for side in spans)
    cut = parts_HW[rows, columns]
    distance, (row, column) = ndimage.distance_transform_edt(cut == 0, return_indices=True)
    y, x = np.nonzero((distance > 0) & (distance <= reach))
    return y + rows.start, x + columns.start, cut[row[y, x], column[y, x]]


def _hair(area_HW: np.ndarray, loose_HW: np.ndarray, areas: Areas, people_HW: np.ndarray | None) -> np.ndarray:
    """The head, by area, whose hair each loose pixel is: it lies around it, or is nearest to it of all parts. 0 for all
    others. [H,W]"""
    hair_HW = np.zeros_like(area_HW)
    if not loose_HW.any():
        return hair_HW
    y, x, nearest_N = _surroundings(area_HW, sum(area_HW.shape))
    y, x, nearest_N = (values[loose_HW[y, x]] for values in (y, x, nearest_N))
    owner_N = np.zeros(len(y), int) if people_HW is None else people_HW[y, x]
    for head in range(SKULL, len(areas.present_P) - 1, PARTS):
        if not areas.present_P[head]:
            continue
        around_N = np.linalg.norm(ellipse(areas, head).places(x, y), axis=1) < HAIR
        own_N = (nearest_N == head) | (around_N & (nearest_N // PARTS == head // PARTS))
        own_N &= _may_be_of(owner_N, head)
        hair_HW[y[own_N], x[own_N]] = head
    return hair_HW


def _may_be_of(owner_N: np.ndarray, area: np.ndarray | int) -> np.ndarray:
    """Whether pixels of nobody in particular (0), or of person 1, 2, ..., may be of an area's person. [N] bool"""
    return (owner_N == 0) | (owner_N == area // PARTS + 1)
