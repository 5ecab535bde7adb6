"""A picture as a scene: its people as layers that move, before the picture without them.

Shape legend: H W pixels, F frames, J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from magicanimate.body.motion import BodyMotion
from magicanimate.person.drawing import PeopleRenderer
from magicanimate.person.layers import COMPLETED, GUESSED, KNOWN, LayeredPerson
from magicanimate.person.shadow import ContactShadow
from magicanimate.person.texture import complete_texture

BACKGROUND, FILLED = 0, 4
"""Further kinds of pixels: the picture's own background, and what was continued behind its people."""
_FRINGE = 0.009  # of the picture's longer side: how far around a matte the background is continued too
_FAINT = 2  # alpha from which a pixel is not the background's

__all__ = ["BACKGROUND", "COMPLETED", "FILLED", "GUESSED", "KNOWN", "DrawnFrame", "Scene"]


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

    def __init__(self, picture_HWC: np.ndarray, people: Sequence[LayeredPerson], motions: Sequence[BodyMotion]) -> None:
        """
        Args:
            picture_HWC: uint8.
            people: of that picture.
            motions: one for each person, in pixels of the picture.
        """
        self.size = (picture_HWC.shape[0], picture_HWC.shape[1])
        self.motions = list(motions)
        self._transforms = [motion.transforms() for motion in motions]
        self._renderer = PeopleRenderer(people, self.size)
        alpha_HW = np.max([person.matte.alpha_HW for person in people], 0)
        reach = max(3, round(_FRINGE * max(self.size)))
        person_HW = ndimage.distance_transform_edt(alpha_HW <= _FAINT) <= reach
        shadows = [ContactShadow.near_feet(person, self.size) for person in people]
        self._hole_HW = np.any([person_HW, *(shadow.region_HW for shadow in shadows)], 0)
        self.plate_HWC = complete_texture(picture_HWC, self._hole_HW)
        self._shadows = [shadow.measured(picture_HWC, self.plate_HWC, person_HW) for shadow in shadows]
        self._moves = [motion.points() for motion in motions]

    def __len__(self) -> int:
        return len(self.motions[0])

    def __call__(self, index: int) -> DrawnFrame:
        """Draw one frame."""
        plate = self.plate_HWC
        present = [bool(motion.present_F[index]) for motion in self.motions]
        for shadow, motion, points_FS3, here in zip(self._shadows, self.motions, self._moves, present, strict=True):
            if here:
                plate = shadow.cast(plate, motion.project(points_FS3[index]))
        poses = [
            (transforms_FJ34[index], motion.focal) if here else None
            for transforms_FJ34, motion, here in zip(self._transforms, self.motions, present, strict=True)
        ]
        drawing = self._renderer(poses)
        share = drawing.alpha_HW[..., None].astype(np.float32) / 255
        frame = plate + share * (drawing.color_HWC.astype(np.float32) - plate)
        background_HW = np.where(self._hole_HW, FILLED, BACKGROUND)
        kind_HW = np.where(drawing.kind_HW == 255, background_HW, drawing.kind_HW).astype(np.uint8)
        return DrawnFrame(np.rint(frame).astype(np.uint8), drawing.alpha_HW, kind_HW)
