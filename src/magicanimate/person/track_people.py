"""Assign every body pixel of a motion of several people to a person, with identities stable over time.

A region of the map that one person is in is theirs. Where people touch or pass each other, each is looked for by the
parts that they had when they were last seen whole: where these agree best with what nobody else explains, near where
they should be as they were moving. Pixels then go to whoever has the same part nearest.

Shape legend: F frames, H W pixels, h w pixels of a small map, N pixels, K people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from magicanimate.parts.densepose import AREAS, HEAD, resize_parts
from magicanimate.parts.frame_store import PackedFrames
from magicanimate.parts.regions import nearest_known

STRANGER = 255
"""Somebody beside the people who are followed."""
_SIDE = 160  # pixels of the longer side at which people are followed
_SKULL = AREAS[HEAD[0]]
_FRAGMENT = 0.25  # of the largest: smaller heads and regions are pieces of somebody
_STEPS = [np.array((y, x)) for y in range(-6, 7, 2) for x in range(-6, 7, 2)]
"""Small pixels from where somebody should be, at which they are looked for."""
_STRAY = 0.01  # of somebody's pixels: what each small pixel of such a step costs
_SEEN = 0.25  # of somebody's pixels must agree, or they are hidden
_WHOLE = 0.1  # of somebody's pixels: at most so many more or less than when they were alone, for a new look at them
_BEHIND = 6.0  # small pixels that somebody who does not agree at all is farther from everything
_EASED = 0.9  # of a speed is left after each frame in which somebody is hidden
_LONG = 50  # frames after which somebody who is hidden is no longer thought to be behind others
_SLIVER = 0.02  # of a region: less is an error of the small map


def divide(parts_FHW: PackedFrames, people: int) -> PackedFrames:
    """Assign people [H,W] uint8 to each frame: 1..`people`, from left to right where they are first seen apart; 0 for
    the background, STRANGER for others."""
    first = _first_apart(parts_FHW, people)
    start_K = _by_heads(_small(parts_FHW[first]), people)
    before = PackedFrames(_follow(start_K, (parts_FHW[frame] for frame in range(first - 1, -1, -1))))
    divided = PackedFrames(before[frame] for frame in range(first - 1, -1, -1))
    for people_HW in _follow(start_K, (parts_FHW[frame] for frame in range(first, len(parts_FHW)))):
        divided.append(people_HW)
    return divided


@dataclass(frozen=True)
class _Person:
    """Somebody as last seen whole; ways (y, x) in small pixels."""

    area_hw: np.ndarray
    size: int
    """Pixels when they were last alone in a region."""
    way: np.ndarray
    """Movement since then."""
    speed: np.ndarray
    """Their usual way in a frame."""
    step: np.ndarray
    """Movement in the last frame."""
    agrees: float = 1.0
    """Share of their pixels that the last map had where they were looked for."""
    hidden: int = 0
    """Frames in a row."""

    def place(self) -> np.ndarray:
        """Return their areas where they are now. [h,w]"""
        moved_hw = np.zeros_like(self.area_hw)
        y, x, area = self.pixels(self.way)
        moved_hw[y, x] = area
        return moved_hw

    def away(self, point_2: np.ndarray) -> float:
        """Return the distance of their last middle from a point (y, x)."""
        if not self.area_hw.any():
            return np.inf
        return float(np.linalg.norm(np.argwhere(self.area_hw).mean(0) + self.way - point_2))

    def pixels(self, way: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return y, x and area of their pixels, moved that way, as far as they stay on the map. [N] each."""
        height, width = self.area_hw.shape
        y, x = np.nonzero(self.area_hw)
        area = self.area_hw[y, x]
        down, right = np.rint(way).astype(int)
        y, x = y + down, x + right
        inside = (y >= 0) & (x >= 0) & (y < height) & (x < width)
        return y[inside], x[inside], area[inside]


def _follow(start_K: list[_Person], maps: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield people [H,W] of part maps [H,W], one after the other."""
    people_K = start_K
    for parts_HW in maps:
        area_hw = _small(parts_HW)
        people_K = _found(people_K, area_hw)
        owner_hw, alone = _shared_out(people_K, area_hw)
        people_K = [
            _next(person, np.where(owner_hw == 1 + k, area_hw, 0).astype(np.uint8), k in alone)
            for k, person in enumerate(people_K)
        ]
        yield _at_full_size(owner_hw, parts_HW)


def _small(parts_HW: np.ndarray) -> np.ndarray:
    """Return areas of a map, made small."""
    scale = min(1.0, _SIDE / max(parts_HW.shape))
    height, width = (max(1, round(scale * side)) for side in parts_HW.shape)
    return AREAS[resize_parts(parts_HW, (height, width))]


def _heads(area_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return numbered heads [h,w], and the numbers of those that are no pieces, the largest first."""
    head_hw, _ = ndimage.label(area_hw == _SKULL)
    sizes = np.bincount(head_hw.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")
    return head_hw, 1 + order[sizes[order] >= _FRAGMENT * sizes.max(initial=0)]


def _first_apart(parts_FHW: PackedFrames, people: int) -> int:
    """Return the first frame in which so many heads are in regions of their own; else the first with most heads."""
    most, at = 0, 0
    for frame, parts_HW in enumerate(parts_FHW):
        area_hw = _small(parts_HW)
        head_hw, numbers = _heads(area_hw)
        region_hw, _ = ndimage.label(area_hw)
        if len(np.unique(region_hw[np.isin(head_hw, numbers)])) >= people:
            return frame
        if len(numbers) > most:
            most, at = len(numbers), frame
    return at


def _by_heads(area_hw: np.ndarray, people: int) -> list[_Person]:
    """Find people from left to right: regions with one head, and of those with several the columns nearest to each."""
    head_hw, numbers = _heads(area_hw)
    region_hw, _ = ndimage.label(area_hw)
    columns = np.arange(area_hw.shape[1])
    away_Khw = np.full((people, *area_hw.shape), np.inf)
    middles = sorted((float(np.nonzero(head_hw == head)[1].mean()), int(head)) for head in numbers[:people])
    for k, (middle, head) in enumerate(middles):
        around_hw = region_hw == region_hw[head_hw == head][0]
        away_Khw[k] = np.where(around_hw, np.abs(columns - middle), np.inf)
    owner_hw = _grown(np.where(np.isfinite(away_Khw).any(0), 1 + away_Khw.argmin(0), 0))
    areas_Khw, still = [np.where(owner_hw == 1 + k, area_hw, 0).astype(np.uint8) for k in range(people)], np.zeros(2)
    return [_Person(own_hw, int(np.count_nonzero(own_hw)), still, still, still) for own_hw in areas_Khw]


def _found(people_K: list[_Person], area_hw: np.ndarray) -> list[_Person]:
    """Look for everybody in a map: first whoever explains most of it, the others in what is left."""
    found_K, waiting, left_hw = list(people_K), list(range(len(people_K))), area_hw
    while waiting:
        looks = {k: _looked_for(people_K[k], left_hw) for k in waiting}
        k = max(looks, key=lambda k: looks[k].agrees * np.count_nonzero(looks[k].area_hw))
        waiting.remove(k)
        found_K[k] = looks[k]
        if looks[k].agrees >= _SEEN:
            left_hw = np.where(ndimage.binary_dilation(looks[k].place() > 0), 0, left_hw)
    return found_K


def _looked_for(person: _Person, left_hw: np.ndarray) -> _Person:
    """Move somebody to where they agree best with a map, or to where they should be if they are hidden."""
    count = max(1, int(np.count_nonzero(person.area_hw)))
    likely = person.way + person.speed
    worth, way, agrees = -np.inf, likely, 0.0
    for step in _STEPS:
        y, x, area = person.pixels(likely + step)
        share = int(np.count_nonzero(left_hw[y, x] == area)) / count
        if share >= _SEEN and share - _STRAY * float(np.hypot(*step)) > worth:
            worth, way, agrees = share - _STRAY * float(np.hypot(*step)), likely + step, share
    if agrees < _SEEN:
        return replace(person, way=likely, speed=_EASED * person.speed, agrees=agrees, hidden=person.hidden + 1)
    return replace(person, way=way, step=way - person.way, agrees=agrees, hidden=0)


def _shared_out(people_K: list[_Person], area_hw: np.ndarray) -> tuple[np.ndarray, set[int]]:
    """Assign each pixel [h,w] to a person, as if it were somebody's; and find who is in a region with nobody else."""
    region_hw, count = ndimage.label(area_hw)
    place_Khw = np.stack([person.place() for person in people_K])
    covered_KR = np.stack([np.bincount(region_hw[place_hw > 0], minlength=count + 1) for place_hw in place_Khw])
    covered_KR[:, 0] = 0
    inside = _who_is_where(people_K, covered_KR, region_hw, area_hw)
    owner_hw = np.zeros(area_hw.shape, np.uint8)
    for region, those in inside.items():
        where_hw = region_hw == region
        owner_hw[where_hw] = 1 + those[0]
        if len(those) > 1:
            far = [_far(place_Khw[k], area_hw) + _BEHIND * (1 - people_K[k].agrees) for k in those]
            owner_hw[where_hw] = (1 + np.array(those, np.uint8))[np.argmin(far, 0)][where_hw]
    there = [k for k, person in enumerate(people_K) if person.hidden < _LONG]
    met = {k for region, those in inside.items() for k in those if any(covered_KR[j, region] for j in there if j != k)}
    alone = {k for those in inside.values() for k in those} - met
    return _grown(owner_hw), alone


def _who_is_where(
    people_K: list[_Person], covered_KR: np.ndarray, region_hw: np.ndarray, area_hw: np.ndarray
) -> dict[int, list[int]]:
    """Return the people in each region with a head or somebody's place, from 0; others are nearest to one of these."""
    inside: dict[int, list[int]] = {}
    for k, person in enumerate(people_K):
        if not person.hidden:
            inside.setdefault(int(covered_KR[k].argmax()), []).append(k)
    missing = [k for k, person in enumerate(people_K) if person.hidden]
    head_hw, numbers = _heads(area_hw)
    for head in numbers:
        region = int(region_hw[head_hw == head][0])
        if region in inside:
            continue
        nearest = int(covered_KR[:, region].argmax())
        if 2 * covered_KR[nearest, region] < np.count_nonzero(region_hw == region):  # not cut off from the rest of one
            middle = np.array(ndimage.center_of_mass(region_hw == region))
            nearest = min(missing, key=lambda k: people_K[k].away(middle), default=STRANGER - 1)
        inside[region] = [nearest]
        missing = [k for k in missing if k != nearest]
    return inside


def _far(place_hw: np.ndarray, area_hw: np.ndarray) -> np.ndarray:
    """Return each pixel's distance [h,w] to somebody's nearest pixel of the same area, or of any where none is."""
    if not place_hw.any():
        return np.full(area_hw.shape, np.inf)
    far_hw = ndimage.distance_transform_edt(place_hw == 0)
    for area in np.unique(place_hw[place_hw > 0]):
        same_hw = area_hw == area
        far_hw[same_hw] = ndimage.distance_transform_edt(place_hw != area)[same_hw]
    return far_hw


def _grown(owner_hw: np.ndarray) -> np.ndarray:
    """Return every pixel with the owner of the nearest one that has any."""
    if not owner_hw.any():
        return owner_hw
    return nearest_known(owner_hw, owner_hw > 0)[1]


def _next(person: _Person, own_hw: np.ndarray, alone: bool) -> _Person:
    """Update somebody as they are seen now, if they are seen whole."""
    count, still = int(np.count_nonzero(own_hw)), np.zeros(2)
    speed = still if person.hidden else (person.speed + person.step) / 2
    if alone:
        return _Person(own_hw, count, still, speed, still)
    if abs(count - person.size) <= _WHOLE * person.size:
        return _Person(own_hw, person.size, still, speed, still)
    return person


def _at_full_size(owner_hw: np.ndarray, parts_HW: np.ndarray) -> np.ndarray:
    """Return people [H,W] uint8. Regions that are nearly all one person's are all theirs."""
    height, width = parts_HW.shape
    people_HW = np.where(parts_HW > 0, resize_parts(owner_hw, (height, width)), 0).astype(np.uint8)
    region_HW, count = ndimage.label(parts_HW)
    numbers = np.unique(owner_hw)
    pixels_RK = np.stack([np.bincount(region_HW[people_HW == k], minlength=count + 1) for k in numbers], 1)
    most_R = numbers[pixels_RK.argmax(1)]
    nearly_R = pixels_RK.max(1) >= (1 - _SLIVER) * pixels_RK.sum(1)
    return np.where((nearly_R & (np.arange(count + 1) > 0))[region_HW], most_R[region_HW], people_HW).astype(np.uint8)
