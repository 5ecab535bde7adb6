"""The people in the picture, measured once with the extractor that also reads ordinary videos.

Shape legend: H W pixels, J joints, L lengths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from magicanimate.parts.skeleton import GROUP_OF_PART, GROUPS, JOINT, LENGTHS, find_joints
from magicanimate.person import detect
from magicanimate.person.detect import Detection
from magicanimate.person.edit import PersonEdit, correct_track, track_of_edit
from magicanimate.person.regions import Region
from magicanimate.person.track_person import shrunk, track_picture

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion
    from magicanimate.body.track import Track

_AROUND = 3  # times the picture's size: what is drawn to see how much of the body lies outside
_REST_SIDE = 384  # pixels of the drawing in which lengths are measured
_REST_SHARE = 0.42  # of its side, that a meter takes
_NEAR = 0.12  # of a region's side: distance of the hips within which it is the same person's
_FARTHER = 1.4  # times the detector's region
_BYSTANDER = 0.5  # of the largest person's size: smaller ones do not count
_TWICE = 0.5  # of somebody's parts that are where others were found: the same person once more
_SHOWN_BY = {
    "head": ("head",), "torso": ("torso",), "width": ("torso",),
    **{name: (f"{name}.L", f"{name}.R") for name in LENGTHS[3:]},
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """Somebody in a picture, in its pixels."""

    body: BodyMotion
    parts_HW: np.ndarray
    """Their parts, as far as the picture shows them."""
    joints_J2: np.ndarray
    """Joints; also those outside the picture."""
    lengths_L: np.ndarray
    """Lengths of `skeleton.LENGTHS` as they would be seen from the front, none shortened by its direction."""
    visible_L: np.ndarray
    """Share of the part that each length is of, that lies inside the picture."""
    feet: float
    """Share of the feet that lies inside the picture."""
    agreement: float
    """Intersection over union of the body's outline and the mask of whoever is seen there, 0..1."""
    track: Track | None = field(default=None, repr=False)
    """Their landmarks, which the body was fitted to."""
    mask_HW: np.ndarray | None = field(default=None, repr=False)
    """[H, W] uint8 alpha, where somebody corrected it."""
    corrected: bool = False
    """True if somebody moved joints."""


def find_person(picture_HWC: np.ndarray, edit: PersonEdit | None = None) -> Person | None:
    """Find the largest person in a picture [H, W, 3] uint8; None if nobody is found. The last pictures are remembered.

    Args:
        picture_HWC: the picture.
        edit: in its pixels, what is known better.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    person = next(iter(find_people(picture_HWC, 1)), None)
    if edit is None:
        return person
    if person is None or person.track is None:
        track, moved = track_of_edit(edit), True
    else:
        track, moved = correct_track(person.track, edit)
    if moved:
        person = None if track is None else _fitted(track)
    return None if person is None else replace(person, mask_HW=edit.mask_HW, corrected=moved)


def find_people(picture_HWC: np.ndarray, most: int) -> list[Person]:
    """Find up to so many people in a picture [H, W, 3] uint8, the largest first.

    The detector looks at the whole picture, and where that shows too few people, at its parts.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    people: list[Person] = []
    pixels = picture_HWC.tobytes()
    for region in _regions(picture_HWC):
        if any(_is_of(region, person) for person in people):
            continue
        person = _person(pixels, picture_HWC.shape, region)
        if person is None or any(_is_same(person, other) for other in people):
            continue
        people.append(person)
        if len(people) == most:
            break
    return people


def count_people(picture_HWC: np.ndarray) -> int:
    """Number of people in a picture [H, W, 3] uint8 who are at least half as large as the largest.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    found: list[Region] = []
    for region in _regions(picture_HWC):
        known = any(_distance(region, other) < 2 * _NEAR * min(region.side, other.side) for other in found)
        if not known and track_picture(picture_HWC, region):
            found.append(region)
    return sum(region.side > _BYSTANDER * max(other.side for other in found) for region in found)


def _distance(region: Region, other: Region) -> float:
    """Return the distance between the middles, in pixels."""
    return math.dist(region.center, other.center)


def _regions(picture_HWC: np.ndarray) -> Iterator[Region]:
    """Yield regions where people may be, the largest first: the whole picture, the same from farther away, which helps
    where much of a body is out of sight, then nine parts of the picture, which overlap by half."""
    whole = [each.region for each in sorted(_detected(picture_HWC), key=_clearness)]
    yield from whole
    yield from (replace(region, side=_FARTHER * region.side) for region in whole)
    height, width = picture_HWC.shape[:2]
    rows, columns = height // 2, width // 2
    found = [
        (detection, (left, top))
        for top in (0, (height - rows) // 2, height - rows)
        for left in (0, (width - columns) // 2, width - columns)
        for detection in _detected(picture_HWC[top : top + rows, left : left + columns])
    ]
    for detection, (left, top) in sorted(found, key=lambda pair: _clearness(pair[0])):
        yield detection.region.moved(left, top)


def _detected(picture_HWC: np.ndarray) -> list[Detection]:
    """Return the people that the detector sees, in pixels of the picture."""
    if 0 in picture_HWC.shape:
        return []
    small_HWC = shrunk(picture_HWC)
    scale = max(picture_HWC.shape[:2]) / max(small_HWC.shape[:2])
    return [replace(each, region=each.region.scaled(scale)) for each in detect.find_people(small_HWC)]


def _clearness(found: Detection) -> float:
    """Sort large and sure people to the front."""
    return -found.score * found.region.side


def _is_of(region: Region, person: Person) -> bool:
    """Return True if a region is around the hips of a person."""
    away_2 = person.joints_J2[JOINT["pelvis"]] - region.center
    return float(np.linalg.norm(away_2)) < _NEAR * region.side  # never where the hips are not known


def _is_same(person: Person, other: Person) -> bool:
    mine_HW = person.parts_HW > 0
    return float((other.parts_HW > 0)[mine_HW].mean()) > _TWICE if mine_HW.any() else True


@lru_cache(maxsize=8)
def _person(pixels: bytes, shape: tuple[int, ...], region: Region) -> Person | None:
    """Return the person in a region of a picture."""
    track = track_picture(np.frombuffer(pixels, np.uint8).reshape(shape), region)
    return None if track is None else _fitted(track)


def _fitted(track: Track) -> Person:
    """Return the person with these landmarks, in one frame."""
    from magicanimate.body.draw import draw_parts
    from magicanimate.body.fit import fit_track

    body, mask_HW = fit_track(track), track.masks(0) if track.masks else None
    height, width = body.size
    wide = draw_parts(body.moved(size=(_AROUND * height, _AROUND * width)))
    top, left = (_AROUND - 1) * height // 2, (_AROUND - 1) * width // 2
    parts_HW = wide[top : top + height, left : left + width]
    shown = {
        name: _share(parts_HW, wide, index) for index, name in enumerate(GROUPS)
    }  # fmt: skip
    joints_J2 = _joints(wide)
    agreement = 1.0 if mask_HW is None else _agreement(parts_HW, mask_HW)
    return Person(
        body,
        parts_HW,
        joints_J2 - (left, top),
        _rest_lengths(body),
        np.array([np.mean([shown[group] for group in _SHOWN_BY[name]]) for name in LENGTHS]),
        (shown["foot.L"] + shown["foot.R"]) / 2,
        agreement,
        track,
    )


def _joints(parts_HW: np.ndarray) -> np.ndarray:
    """Return joints [J, 2] in pixels of the map, looked for near the body only, so that small ones are fine too."""
    if not parts_HW.any():
        return np.full((len(JOINT), 2), np.nan)
    rows, columns = (np.flatnonzero((parts_HW > 0).any(axis)) for axis in (1, 0))
    top, left = max(0, rows[0] - 2), max(0, columns[0] - 2)
    joints_J2, _ = find_joints(parts_HW[top : rows[-1] + 3, left : columns[-1] + 3])
    return joints_J2 + np.array([left, top])


def _agreement(parts_HW: np.ndarray, mask_HW: np.ndarray) -> float:
    """Return the intersection over union of a body and a smaller mask."""
    rows, columns = (
        (np.arange(count) * full // count) for count, full in zip(mask_HW.shape, parts_HW.shape, strict=True)
    )
    body_HW = parts_HW[rows[:, None], columns] > 0
    return float((body_HW & mask_HW).sum() / max(1, (body_HW | mask_HW).sum()))


def _share(parts_HW: np.ndarray, wide_HW: np.ndarray, group: int) -> float:
    """Share of a group's pixels that lie inside the picture; 1 for a part that others cover."""
    whole = int((GROUP_OF_PART[wide_HW] == group).sum())
    return float((GROUP_OF_PART[parts_HW] == group).sum() / whole) if whole else 0.0


def _rest_lengths(body: BodyMotion) -> np.ndarray:
    """Measure lengths [L] in pixels in a drawing of the same body at the same distance, upright and facing us."""
    from magicanimate.body.draw import draw_parts

    rest = np.zeros_like(body.pose_FP[:1])
    rest[0, [0, 4]] = 1  # the first two columns of the identity: facing the camera
    distance = float(body.position_F3[0, 1])
    focal = _REST_SHARE * _REST_SIDE * distance
    standing = replace(
        body, pose_FP=rest, position_F3=np.array([[0, distance, 0]], np.float32), focal=focal,
        size=(_REST_SIDE, _REST_SIDE),
    )  # fmt: skip
    _, lengths_L = find_joints(draw_parts(standing))
    return lengths_L * body.focal / focal
