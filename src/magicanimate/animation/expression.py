"""Opens the facial expressions of a job: the driver's face is followed, and moves the face of the picture.

Shape legend: H W pixels.
"""

from __future__ import annotations

import numpy as np

from magicanimate.animation.edit_motion import timing_edits
from magicanimate.animation.settings import AnimateSettings
from magicanimate.body.motion import BodyMotion
from magicanimate.motion.clip import MotionClip
from magicanimate.person.expression import move_face
from magicanimate.person.face_warp import FaceWarp
from magicanimate.person.faces import find_face, height_of, track_face
from magicanimate.progress import Progress

_LEAST_DRIVER, _LEAST_PICTURE = 48, 32
"""Heights of faces in pixels, from hairline to chin, below which they say too little."""
_LEAST_SEEN = 0.2  # of the frames in which the driver's face must be seen


def open_face(
    clip: MotionClip,
    settings: AnimateSettings,
    picture_HWC: np.ndarray,
    body: BodyMotion,
    notes: list[str],
    progress: Progress | None = None,
) -> FaceWarp | None:
    """Return the picture's face with the driver's expressions; None, and mostly a note, where it keeps its own.

    Args:
        clip: the motion, whose faces are seen if it is a video of one person.
        settings: with the strength of the expression.
        picture_HWC: uint8.
        body: of the person in the picture, one frame, in its pixels.
        notes: a sentence is added.
        progress: told ("faces", done, total).
    """
    if settings.expression == 0:
        return None
    if clip.pictures is None or clip.body is None:
        if "expression" in settings.model_fields_set:
            notes.append("The motion is no video of one person, so the face keeps its expression.")
        return None
    if edits := timing_edits(settings):
        notes.append(f"With {edits[0]} the face keeps its expression.")
        return None
    face_N3 = find_face(picture_HWC, body)
    if face_N3 is None or height_of(face_N3) < _LEAST_PICTURE:
        notes.append("The face in the picture is not seen well enough, so it keeps its expression.")
        return None
    track = track_face(clip.pictures, clip.body, progress)
    height = float(np.median([height_of(points) for points in track.points_FN3[track.seen_F]] or [0]))
    if track.seen_F.mean() < _LEAST_SEEN or height < _LEAST_DRIVER:
        seen = f"is only {height:.0f} pixels high" if height else "is not seen"
        notes.append(f"The face in {clip.path.name} {seen}, so the picture's face keeps its expression.")
        return None
    notes.append(
        f"The face follows the expression of the one in {clip.path.name}, which is {height:.0f} pixels high, at "
        f"{settings.expression:g} (--expression 0: not)."
    )
    return FaceWarp(face_N3[:, :2], move_face(face_N3, track, settings.expression))
