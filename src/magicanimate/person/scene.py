"""A picture as a scene: its people as layers that move, before the picture without them or another background.

Shape legend: H W pixels, F frames, J joints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from magicanimate.body.motion import BodyMotion
from magicanimate.person.cutout import cut_out
from magicanimate.person.drawing import Drawing, PeopleRenderer
from magicanimate.person.face_warp import FaceWarp
from magicanimate.person.head_turn import calm_heads
from magicanimate.person.layers import COMPLETED, GUESSED, KNOWN, LayeredPerson
from magicanimate.person.light import light_near, match_light, relit
from magicanimate.person.shadow import ContactShadow
from magicanimate.person.texture import complete_texture

BACKGROUND, FILLED = 0, 4
"""Further kinds of pixels: the picture's own background, and what was continued behind its people."""
_FRINGE = 0.009  # of the picture's longer side: how far around a matte the background is continued too
_UNMOVED = (0.25, 2.0)  # pixels that joints move by: up to there the frame is the picture, from there the drawing
_FAINT = 2  # alpha from which a pixel is not the background's
_SLIVER = 0.025  # of the longer side: widest gap within a person that is continued as well

__all__ = ["BACKGROUND", "COMPLETED", "FILLED", "GUESSED", "KNOWN", "Backdrop", "DrawnFrame", "Scene"]


@dataclass(frozen=True)
class Backdrop:
    """A background that is not the picture's own."""

    frame: Callable[[int], np.ndarray]
    """Number of a frame -> [H, W, 3] uint8, of the video's size."""
    light_3: np.ndarray | None = None
    """[3] mean linear light that people before it are matched to; None: they keep their colors."""


@dataclass(frozen=True)
class DrawnFrame:
    """One frame of a scene."""

    frame_HWC: np.ndarray
    """[H, W, 3] uint8."""
    alpha_HW: np.ndarray
    """[H, W] uint8: how much of each pixel is a person's."""
    kind_HW: np.ndarray
    """[H, W] uint8: BACKGROUND, KNOWN, COMPLETED, GUESSED or FILLED."""


class Scene:
    """Draws the people of a picture in the poses of a motion. Frames are numbered as the motion's."""

    def __init__(
        self,
        picture_HWC: np.ndarray,
        people: Sequence[LayeredPerson],
        motions: Sequence[BodyMotion],
        backdrop: Backdrop | None = None,
        guests: int = 0,
        face: FaceWarp | None = None,
    ) -> None:
        """
        Args:
            picture_HWC: uint8.
            people: of that picture; the last ones may be guests.
            motions: one for each person, in pixels of the picture, or of the backdrop's frames.
            backdrop: instead of the picture's own background.
            guests: number of people, at the end, who were cut out of other pictures. They have no shadow.
            face: the first person's facial expressions.
        """
        self._face = face
        self.size = motions[0].size
        self.motions = list(motions)
        self._backdrop = backdrop
        self._transforms = [calm_heads(motion, person.body) for motion, person in zip(motions, people, strict=True)]
        size = (picture_HWC.shape[0], picture_HWC.shape[1])
        own = people[: len(people) - guests]
        alpha_HW = np.max([person.matte.alpha_HW for person in own], 0)
        reach = max(3, round(_FRINGE * max(size)))
        person_HW = ndimage.distance_transform_edt(alpha_HW <= _FAINT) <= reach
        shadows = [ContactShadow.near_feet(person, size) for person in own]
        self._hole_HW = _without_slivers(
            np.any([person_HW, *(shadow.region_HW for shadow in shadows)], 0), _SLIVER * max(size)
        )
        self.plate_HWC = complete_texture(picture_HWC, self._hole_HW)
        shadows = [shadow.measured(picture_HWC, self.plate_HWC, person_HW) for shadow in shadows]
        shadows += [ContactShadow.none(size)] * guests
        self._gray = [
            shadow.gray(_scale(person, motion))
            for shadow, person, motion in zip(shadows, people, motions, strict=True)
        ]  # fmt: skip
        self._shadows = shadows
        self._moves = [motion.points() for motion in motions]
        self._picture_HWC = picture_HWC
        self._own_poses = [person.body.project(person.body.points())[0] for person in people]
        if backdrop is not None and backdrop.light_3 is not None:
            own_3 = light_near(picture_HWC, self._hole_HW)
            people = people if own_3 is None else relit(people, match_light(own_3, backdrop.light_3))
        self._renderer = PeopleRenderer(people, self.size)

    def __len__(self) -> int:
        return len(self.motions[0])

    def __call__(self, index: int) -> DrawnFrame:
        """Draw one frame."""
        if self._backdrop is None:
            plate, behind_HW = self._cast(self._shadows, self.plate_HWC, index), self._filled_HW()
        else:
            plate = self._cast(self._gray, self._backdrop.frame(index), index)
            behind_HW = np.full(self.size, BACKGROUND, np.uint8)
        drawing = self._drawing(index)
        share = drawing.alpha_HW[..., None].astype(np.float32) / 255
        frame = plate + share * (drawing.color_HWC.astype(np.float32) - plate)
        if (unmoved := self._unmoved(index)) > 0:
            picture_HWC = self._picture_HWC if self._face is None else self._face(index, self._picture_HWC)
            frame += unmoved * (picture_HWC - frame)
        kind_HW = np.where(drawing.kind_HW == 255, behind_HW, drawing.kind_HW).astype(np.uint8)
        return DrawnFrame(np.rint(frame).astype(np.uint8), drawing.alpha_HW, kind_HW)

    def cutout(self, index: int) -> np.ndarray:
        """Return one frame's people and their shadows alone. [H, W, 4] uint8, colors not multiplied by alpha."""
        light_HW1 = self._cast(self._gray, np.ones((*self.size, 1), np.float32), index)
        return cut_out(self._drawing(index), light_HW1[..., 0])

    def _cast(self, shadows: Sequence[ContactShadow], plate_HWC: np.ndarray, index: int) -> np.ndarray:
        """Return a background [H, W, C] with the people's shadows."""
        for shadow, motion, points_FS3 in zip(shadows, self.motions, self._moves, strict=True):
            if motion.present_F[index]:
                plate_HWC = shadow.cast(plate_HWC, motion.project(points_FS3[index]))
        return plate_HWC

    def _unmoved(self, index: int) -> float:
        """Return how much a frame is the picture itself: 1 where everybody is in its pose, 0 from a few pixels on."""
        if self._backdrop is not None or not all(motion.present_F[index] for motion in self.motions):
            return 0.0
        moved = [
            np.linalg.norm(motion.project(points_FS3[index]) - own_S2, axis=1).max()
            for motion, points_FS3, own_S2 in zip(self.motions, self._moves, self._own_poses, strict=True)
        ]
        return float(np.interp(max(moved), _UNMOVED, (1, 0)))

    def _filled_HW(self) -> np.ndarray:
        return np.where(self._hole_HW, FILLED, BACKGROUND)

    def _drawing(self, index: int) -> Drawing:
        poses = [
            (transforms_FJ34[index], motion.focal) if motion.present_F[index] else None
            for transforms_FJ34, motion in zip(self._transforms, self.motions, strict=True)
        ]
        if self._face is None:
            return self._renderer(poses)
        changed = partial(self._face, index)
        return self._renderer(poses, [changed, *[None] * (len(poses) - 1)])


def _without_slivers(hole_HW: np.ndarray, width: float) -> np.ndarray:
    """A hole with gaps in it that are narrower than so many pixels: alone, lit by the person, they would be seen."""
    near_HW = ndimage.distance_transform_edt(~hole_HW) <= width / 2
    return hole_HW | (ndimage.distance_transform_edt(np.pad(near_HW, 1, mode="edge"))[1:-1, 1:-1] > width / 2 + 1)


def _scale(person: LayeredPerson, motion: BodyMotion) -> float:
    """Return how much larger a person is in a motion than in their picture."""
    if not motion.present_F.any():
        return 1.0
    own, moved = person.body, float(np.median(motion.position_F3[motion.present_F, 1]))
    scale = motion.focal / moved * float(own.position_F3[0, 1]) / own.focal
    return 1.0 if abs(scale - 1) < 0.02 else float(np.clip(scale, 0.1, 10))
