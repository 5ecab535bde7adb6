"""Builds the scene of a job: the people of the picture as layers, each with the motion that moves them.

Shape legend: H W pixels, F frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from magicanimate.body.draw import draw_parts
from magicanimate.body.motion import BodyMotion
from magicanimate.errors import InputError
from magicanimate.motion.placing.align import Alignment
from magicanimate.motion.placing.fit_parts import fit_parts_once
from magicanimate.parts.frame_store import PackedFrames
from magicanimate.parts.skeleton import LENGTHS
from magicanimate.person.face_warp import FaceWarp
from magicanimate.person.find import Person, count_people, find_people
from magicanimate.person.layers import LayeredPerson, build_layers
from magicanimate.person.light import light_near, match_light, relit
from magicanimate.person.matte import corrected_matte, find_matte
from magicanimate.person.scene import Backdrop, Scene
from magicanimate.person.track_people import divide

_TRUSTED = 0.45  # agreement of body and matte below which a fit is not used
_WHOLE_HEAD = 0.75  # of its pixels inside the picture
NOBODY = (
    "No person was recognized in the picture, so its pixels cannot be moved with a body; give a photograph in which "
    "one person is seen clearly and large enough, or cut it closer to the person."
)


def build_scene(
    picture_HWC: np.ndarray,
    aligned: Alignment,
    parts_FHW: PackedFrames,
    people: int,
    fps: float,
    warnings: list[str],
    backdrop: Backdrop | None = None,
    face: FaceWarp | None = None,
) -> Scene | None:
    """Return the scene of one job; None, and a warning, where the picture's people cannot be moved.

    Args:
        picture_HWC: uint8, as the video shows it.
        aligned: the motion in that picture.
        parts_FHW: its part maps, for motions of several people.
        people: how many move.
        fps: of the motion.
        warnings: a sentence is added where something cannot be done.
        backdrop: instead of the picture's own background.
        face: the expressions of the one who moves.
    """
    if aligned.person is None:
        warnings.append(NOBODY)
        return None
    if people > 1:
        return _several(picture_HWC, parts_FHW, people, fps, warnings, backdrop)
    if aligned.body is None or aligned.picture_body is None:
        warnings.append("No body could be fitted to the motion, so the picture's pixels are not moved with one.")
        return None
    if aligned.person.agreement < _TRUSTED:
        warnings.append(
            f"The body that was fitted to the person in the picture covers only {aligned.person.agreement:.0%} of what "
            "is seen of them, so the result may be wrong; give a picture in which the whole person is seen clearly."
        )
    if aligned.person.visible_L[LENGTHS.index("head")] < _WHOLE_HEAD:
        warnings.append(
            "The picture cuts the head off, so where the motion lowers it a head of one color is drawn; give a picture "
            "with the whole head."
        )
    if (seen := count_people(picture_HWC)) > 1:
        warnings.append(
            f"{seen} people are seen in the picture and one moves: the largest of them does, the others stay where "
            "they are; a motion of several people moves several, and a picture that is cut to one person moves only "
            "them."
        )
    body = aligned.picture_body
    parts_HW = draw_parts(body)
    matte = find_matte(picture_HWC, parts_HW).only(parts_HW > 0)
    if aligned.person.mask_HW is not None:
        matte = corrected_matte(picture_HWC, matte, aligned.person.mask_HW)
    if not matte.mask_HW.any():
        warnings.append(NOBODY)
        return None
    return Scene(picture_HWC, [build_layers(picture_HWC, matte, body)], [aligned.body], backdrop, face=face)


def _several(
    picture_HWC: np.ndarray,
    parts_FHW: PackedFrames,
    people: int,
    fps: float,
    warnings: list[str],
    backdrop: Backdrop | None,
) -> Scene | None:
    """Return each person of the picture in the pose of one of those who move, from left to right."""
    size = (picture_HWC.shape[0], picture_HWC.shape[1])
    found = sorted(find_people(picture_HWC, people), key=_middle_of)
    bodies, middles = _moving_bodies(parts_FHW, people, fps, size)
    if not found or not bodies:
        warnings.append(NOBODY)
        return None
    if len(found) < len(bodies):
        warnings.append(f"{len(bodies)} people move and the picture shows {len(found)}, so only as many are drawn.")
    if len(found) > len(bodies):
        found = [found[k] for k in matched(middles, [_middle_of(person) for person in found])]
    chosen = matched([_middle_of(person) for person in found], middles)
    everybody_HW = np.max([person.parts_HW for person in found], 0)
    matte, outlines = find_matte(picture_HWC, everybody_HW), [person.parts_HW > 0 for person in found]
    people_layers = []
    for index, person in enumerate(found):
        others_HW = np.any([o for i, o in enumerate(outlines) if i != index] or [np.zeros(size, bool)], 0)
        people_layers.append(build_layers(picture_HWC, matte.only(outlines[index], others_HW), person.body))
    motions = [bodies[k].with_shape(person.body.shape) for person, k in zip(found, chosen, strict=True)]
    return Scene(picture_HWC, people_layers, motions, backdrop)


def _moving_bodies(
    parts_FHW: PackedFrames, people: int, fps: float, size: tuple[int, int]
) -> tuple[list[BodyMotion], list[float]]:
    """Return the bodies of those who move, from left to right, in pixels of `size`, and the x of their middles."""
    moving_FHW = divide(parts_FHW, people)
    bodies: list[BodyMotion] = []
    for k in range(1, people + 1):
        try:
            bodies.append(fit_parts_once(_only(parts_FHW, moving_FHW, k), fps).resized(size))
        except InputError:  # nobody to be made out among these pixels
            continue
    middles = [float(np.median(body.project(body.points())[body.present_F, 0, 0])) for body in bodies]
    order = np.argsort(middles)
    return [bodies[i] for i in order], [middles[i] for i in order]


def build_joint_scene(
    pictures: Sequence[np.ndarray], parts_FHW: PackedFrames, people: int, fps: float, backdrop: Backdrop | None = None
) -> Scene:
    """Combine the largest person of each picture before the first one's background, each in the pose of one who moves.

    Args:
        pictures: [H, W, 3] uint8 each, for those who move from left to right; the first as the video shows it.
        parts_FHW: the motion's part maps.
        people: how many move.
        fps: of the motion.
        backdrop: instead of the first picture's background.

    Raises:
        InputError: a picture without a person, or more pictures than people who move.
    """
    size = (pictures[0].shape[0], pictures[0].shape[1])
    bodies, _ = _moving_bodies(parts_FHW, people, fps, size) if people > 1 else ([], [])
    if len(bodies) < len(pictures):
        moving = max(1, len(bodies))
        raise InputError(
            f"{len(pictures)} pictures were given and {moving} {'person moves' if moving == 1 else 'people move'}; "
            "give part maps of as many people, or a video with --extractor densepose."
        )
    layered: list[LayeredPerson] = []
    light_3 = None
    for number, picture_HWC in enumerate(pictures, 1):
        found = next(iter(find_people(picture_HWC, 1)), None)
        if found is None:
            raise InputError(f"No person was recognized in picture number {number}; give one that shows somebody well.")
        matte = find_matte(picture_HWC, found.parts_HW).only(found.parts_HW > 0)
        person = build_layers(picture_HWC, matte, found.body)
        own_3 = light_near(picture_HWC, matte.alpha_HW > 0)
        if light_3 is not None and own_3 is not None:
            (person,) = relit([person], match_light(own_3, light_3))
        light_3 = own_3 if number == 1 else light_3
        layered.append(person)
    motions = [body.with_shape(person.body.shape) for person, body in zip(layered, bodies, strict=False)]
    return Scene(pictures[0], layered, motions, backdrop, guests=len(layered) - 1)


def matched(some: Sequence[float], others: Sequence[float]) -> list[int]:
    """Match people by x position from left to right to the nearest of the others, of whom there are at least as many:
    indices that rise."""
    ways = combinations(range(len(others)), len(some))
    return list(min(ways, key=lambda way: sum(abs(others[k] - x) for k, x in zip(way, some, strict=True))))


def _middle_of(person: Person) -> float:
    return float(np.nonzero(person.parts_HW)[1].mean())


def _only(parts_FHW: PackedFrames, moving_FHW: PackedFrames, k: int) -> Iterator[np.ndarray]:
    for parts_HW, moving_HW in zip(parts_FHW, moving_FHW, strict=True):
        yield np.where(moving_HW == k, parts_HW, 0).astype(np.uint8)
