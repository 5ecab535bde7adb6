"""The people in the picture, measured once with the extractor that also reads ordinary videos.

Shape legend: H W pixels, J joints, L lengths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from magicanimate.parts.skeleton import GROUP_OF_PART, GROUPS, LENGTHS, find_joints
from magicanimate.person.texture import smooth_fill

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion

_AROUND = 3  # times the picture's size: what is drawn to see how much of the body lies outside
_REST_SIDE = 384  # pixels of the drawing in which lengths are measured
_REST_SHARE = 0.42  # of its side, that a metre takes
_COVER = 0.04  # of somebody's height: how far around them the picture is painted over before others are looked for
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


def find_person(picture_HWC: np.ndarray) -> Person | None:
    """The person in a picture [H, W, 3] uint8; None if nobody is found. The last pictures are remembered.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    return _find_person(picture_HWC.tobytes(), picture_HWC.shape)


def find_people(picture_HWC: np.ndarray, most: int) -> list[Person]:
    """Up to so many people in a picture [H, W, 3] uint8, the one that `find_person` finds first; each of the others is
    looked for where those before are painted over.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    people: list[Person] = []
    covered_HW = np.zeros(picture_HWC.shape[:2], bool)
    left_HWC = picture_HWC
    while len(people) < most:
        person = find_person(left_HWC)
        if person is None or covered_HW[person.parts_HW > 0].mean() > _TWICE:
            break
        people.append(person)
        height = np.ptp(np.nonzero(person.parts_HW)[0])
        covered_HW |= ndimage.distance_transform_edt(person.parts_HW == 0) < _COVER * height
        filled = smooth_fill(picture_HWC.astype(np.float32), ~covered_HW)
        left_HWC = np.where(covered_HW[..., None], filled, picture_HWC).astype(np.uint8)
    return people


@lru_cache(maxsize=8)
def _find_person(pixels: bytes, shape: tuple[int, ...]) -> Person | None:
    from magicanimate.body.draw import draw_motion
    from magicanimate.body.fit import fit_track
    from magicanimate.person.track_person import track_picture

    picture_HWC = np.frombuffer(pixels, np.uint8).reshape(shape)
    track = track_picture(picture_HWC)
    if track is None:
        return None
    body, mask_HW = fit_track(track), track.masks(0) if track.masks else None
    height, width = body.size
    wide = next(iter(draw_motion(body.moved(size=(_AROUND * height, _AROUND * width)), kinds=("parts",))))["parts"]
    top, left = (_AROUND - 1) * height // 2, (_AROUND - 1) * width // 2
    parts_HW = wide[top : top + height, left : left + width]
    shown = {
        name: _share(parts_HW, wide, index) for index, name in enumerate(GROUPS)
    }  # fmt: skip
    joints_J2, _ = find_joints(wide)
    agreement = 1.0 if mask_HW is None else _agreement(parts_HW, mask_HW)
    return Person(
        body,
        parts_HW,
        joints_J2 - (left, top),
        _rest_lengths(body),
        np.array([np.mean([shown[group] for group in _SHOWN_BY[name]]) for name in LENGTHS]),
        (shown["foot.L"] + shown["foot.R"]) / 2,
        agreement,
    )


def _agreement(parts_HW: np.ndarray, mask_HW: np.ndarray) -> float:
    """Intersection over union of a body and a smaller mask."""
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
    """[L] pixels, measured in a drawing of the same body at the same distance that stands upright and faces us."""
    from magicanimate.body.draw import draw_motion

    rest = np.zeros_like(body.pose_FP[:1])
    rest[0, [0, 4]] = 1  # the first two columns of the identity: facing the camera
    distance = float(body.position_F3[0, 1])
    focal = _REST_SHARE * _REST_SIDE * distance
    standing = replace(
        body, pose_FP=rest, position_F3=np.array([[0, distance, 0]], np.float32), focal=focal,
        size=(_REST_SIDE, _REST_SIDE),
    )  # fmt: skip
    _, lengths_L = find_joints(next(iter(draw_motion(standing, kinds=("parts",))))["parts"])
    return lengths_L * body.focal / focal
