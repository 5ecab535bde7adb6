"""Who in the picture is who in the motion.

Shape legend: H W pixels, F frames, K people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from magicanimate.parts.frame_store import PackedFrames
from magicanimate.person.find import Person, find_people
from magicanimate.person.track_people import divide
from magicanimate.person.warp import LOOSE


class Cast(NamedTuple):
    """Own map (`warp`) of a picture [H,W], None where nobody was found; with several people also whose each of its
    pixels is [H,W], and whose each pixel of the motion is [F,H,W], both with the same numbers from 1 on."""

    own_HW: np.ndarray | None
    people_HW: np.ndarray | None = None
    moving_FHW: PackedFrames | None = None


def find_cast(picture_HWC: np.ndarray, parts_FHW: PackedFrames, people: int, notes: list[str]) -> Cast:
    """For a picture [H,W,3] uint8 and the part maps of a motion with so many people, which may reach farther to the
    right and below. Adds a note where somebody goes without."""
    found = find_people(picture_HWC, max(1, people))
    if not found:
        notes.append("Body parts in the picture are not known, so the model goes by its impression alone.")
        return Cast(None)
    if people <= 1:
        return Cast(found[0].own_HW)
    own_HW, standing_HW = apart(found)
    moving_FHW = divide(parts_FHW, people)
    numbers = matched(_middles(standing_HW[None], len(found)), _middles(moving_FHW, people))
    if len(found) < people:
        notes.append(
            f"{people} people move and the picture shows {len(found)}, so detail is taken from it for as many only."
        )
    return Cast(own_HW, np.array([0, *(1 + k for k in numbers)], np.uint8)[standing_HW], moving_FHW)


def apart(found: Sequence[Person]) -> tuple[np.ndarray, np.ndarray]:
    """One own map [H,W] of several people, and whose each of its pixels is [H,W] uint8: 1, 2, ... from left to right.

    Masks of people who touch take in some of each other: parts come before hair and clothes, and whoever is nearer to
    the camera before others.
    """
    from_left = sorted(found, key=lambda person: float(np.nonzero(person.parts_HW)[1].mean()))
    far_first = sorted(enumerate(from_left, 1), key=lambda one: -float(one[1].body.position_F3[0, 1]))
    somebody_HW = np.any([person.own_HW > 0 for person in found], 0)
    own_HW, people_HW = np.zeros_like(found[0].own_HW), np.zeros(somebody_HW.shape, np.uint8)
    loose = [(k, np.where(person.own_HW == LOOSE, LOOSE, 0)) for k, person in far_first]
    reaching = [(k, np.where(somebody_HW, person.parts_HW, 0)) for k, person in far_first]
    sure = [(k, np.where(person.own_HW == LOOSE, 0, person.own_HW)) for k, person in far_first]
    for k, layer_HW in [*loose, *reaching, *sure]:
        own_HW = np.where(layer_HW > 0, layer_HW, own_HW).astype(np.uint8)
        people_HW[layer_HW > 0] = k
    return own_HW, people_HW


def matched(some: Sequence[float], others: Sequence[float]) -> list[int]:
    """For each of some people, at x positions from left to right, the index of one of the others, of whom there are at
    least as many: in the same order, and otherwise as near as that allows."""
    ways = combinations(range(len(others)), len(some))
    return list(min(ways, key=lambda way: sum(abs(others[k] - x) for k, x in zip(way, some, strict=True))))


def _middles(people_FHW: Iterable[np.ndarray], people: int) -> list[float]:
    """x of everybody's middle in the first frame that shows them; 0 for those who are never seen."""
    middles: dict[int, float] = {}
    for people_HW in people_FHW:
        for k in set(range(1, people + 1)) - middles.keys():
            x = np.nonzero(people_HW == k)[1]
            if len(x):
                middles[k] = float(x.mean())
        if len(middles) == people:
            break
    return [middles.get(k, 0.0) for k in range(1, people + 1)]
