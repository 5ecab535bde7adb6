"""The start of a correction: the person of a picture as they are found, in the form that `person_edit` takes."""

from __future__ import annotations

import numpy as np

from magicanimate.animation.scene import NOBODY
from magicanimate.body.draw import draw_parts
from magicanimate.errors import InputError
from magicanimate.media.framing import own_placement
from magicanimate.media.pictures import fit_picture
from magicanimate.person.edit import PersonEdit
from magicanimate.person.find import find_person
from magicanimate.person.matte import find_matte
from magicanimate.person.track_person import NAMES

SHOWN = (
    "nose",
    *(
        f"{side}_{joint}"
        for joint in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ),
)
"""Joints of the start; hands and feet follow wrists and ankles."""


def begin_person_edit(image_HWC: np.ndarray) -> PersonEdit:
    """Return the person of a picture [H, W, 3] uint8, in pixels of a video of the picture's shape.

    Used unchanged, the edit changes nothing in that video.

    Raises:
        InputError: nobody is found.
    """
    shape = (image_HWC.shape[0], image_HWC.shape[1])
    placement = own_placement(shape)
    picture_HWC = fit_picture(image_HWC, placement)
    person = find_person(picture_HWC)
    if person is None or person.track is None:
        raise InputError(NOBODY)
    points_J3 = person.track.points_FJ3[0]
    joints = {}
    for name in SHOWN:
        x, y, trust = points_J3[NAMES.index(name)].tolist()
        if trust > 0:  # inside the picture
            joints[name] = (x, y)
    parts_HW = draw_parts(person.body)
    matte = find_matte(picture_HWC, parts_HW).only(parts_HW > 0)
    return PersonEdit(placement.size, joints, matte.alpha_HW)
