"""The person of a picture takes the place of the one who moves in a video: where they are, as large as they are.

Shape legend: F frames, H W pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from magicanimate.media.pictures import Fit, place
from magicanimate.motion.placing.align import Alignment, drawn_alignment, placed_body, plain_alignment
from magicanimate.person.edit import PersonEdit
from magicanimate.person.find import find_person

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion
    from magicanimate.motion.clip import MotionClip

_REST_TURN = (0, 4)
"""Numbers of a pose that are 1 in the rest pose; all others are 0."""


def take_place(
    motion: MotionClip, size: tuple[int, int], fit: Fit, picture_HWC: np.ndarray, edit: PersonEdit | None = None
) -> Alignment:
    """Return the motion of a video's person in a frame of (height, width) that shows the video, with another's body.

    `used` is the size of the figure in pixels of that frame for one in the picture.

    Args:
        motion: with a body.
        size: of the frame.
        fit: how the video is fitted to it.
        picture_HWC: the picture with the other person, of any size.
        edit: what is known better about them, in its pixels.
    """
    assert motion.body is not None
    plain = plain_alignment(motion, size, fit)
    person = find_person(picture_HWC, edit)
    if person is None:
        return plain
    driver = placed_body(motion.body, place(motion.size, size, fit))
    body = _as_large(driver.with_shape(person.body.shape), driver)
    notes = [
        *plain.notes,
        f"The person in {motion.path.name} was taken out, and the one in the picture put in their place at their size.",
    ]
    distance = float(np.median(body.position_F3[body.present_F, 1]))
    used = (body.focal / distance) / (person.body.focal / float(person.body.position_F3[0, 1]))
    return replace(drawn_alignment(plain, body, person.body, size, notes), person=person, needed=used, used=used)


def _as_large(body: BodyMotion, other: BodyMotion) -> BodyMotion:
    """Return a body that appears as tall as another one, with its lowest point where it is."""
    scale = _height(other) / _height(body)
    foot_F3 = body.position_F3.copy()
    foot_F3[:, 2] = body.points()[..., 2].min(1)
    return replace(body, position_F3=(body.position_F3 + foot_F3 * (1 / scale - 1)).astype(np.float32))


def _height(body: BodyMotion) -> float:
    """Return the height of a body that stands upright, in meters."""
    rest = np.zeros_like(body.pose_FP[:1])
    rest[0, list(_REST_TURN)] = 1
    standing = replace(body, pose_FP=rest, position_F3=np.zeros((1, 3), np.float32), present_F=np.ones(1, bool))
    return float(np.ptp(standing.points()[0, :, 2]))
