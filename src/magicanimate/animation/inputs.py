"""Read a picture and a motion in any form that the library takes.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from magicanimate.animation.presets import PRESETS
from magicanimate.animation.settings import AnimateSettings
from magicanimate.errors import InputError
from magicanimate.media import Clip, Span, clip_of_frames, load_picture
from magicanimate.motion.open import MotionClip, open_motion
from magicanimate.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

PictureInput: TypeAlias = "str | Path | Image | np.ndarray"
"""See `as_picture`."""
MotionInput: TypeAlias = "str | Path | Clip | MotionClip | np.ndarray"
"""See `as_motion`."""


def as_picture(image: PictureInput) -> np.ndarray:
    """Read any picture (path, Pillow image, array) as `image_HWC` uint8. Raises InputError for anything else."""
    if isinstance(image, str | Path):
        return load_picture(image)
    from PIL import Image

    from magicanimate.media.pictures import to_rgb

    if isinstance(image, Image.Image):
        return np.asarray(to_rgb(image))
    image_HWC = np.asarray(image)
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or 0 in image_HWC.shape:
        raise InputError("The picture must be a path, a Pillow image, or an array [height, width, 3] of uint8.")
    return image_HWC


def motion_span(settings: AnimateSettings) -> Span:
    """Return the frames of the motion that these settings ask for."""
    chosen = PRESETS[settings.preset] | {name: getattr(settings, name) for name in settings.model_fields_set}
    fps = chosen.get("fps") if chosen.get("resample", True) else None
    return Span(settings.start, settings.end, fps, settings.max_frames)


def as_motion(motion: MotionInput, settings: AnimateSettings, progress: Progress | None = None) -> MotionClip:
    """Open any motion as part maps.

    Args:
        motion: path, `Clip`, `MotionClip`, or `frames_FHWC` uint8 (25 fps unless the settings say otherwise).
        settings: which frames, and how people are found in ordinary videos.
        progress: told how far extraction is.

    Raises:
        InputError: it cannot be read, shows nobody, or is no motion.
    """
    if isinstance(motion, MotionClip):
        return motion
    span = motion_span(settings)
    if not isinstance(motion, str | Path | Clip):
        frames_FHWC = np.asarray(motion)
        four = frames_FHWC.ndim == 4 and frames_FHWC.shape[3] == 3 and 0 not in frames_FHWC.shape
        if frames_FHWC.dtype != np.uint8 or not four:
            raise InputError("The motion must be a path or an array [frames, height, width, 3] of uint8.")
        motion = clip_of_frames(frames_FHWC, settings.fps or 25.0, span)
    return open_motion(motion, span, extractor=settings.extractor, person=settings.person, progress=progress)
