"""Further control signals of a generated clip: the skeleton of everybody in it, and depth, as `body.draw` has them."""

import numpy as np

from magicanimate.body.draw import ARM, depth_levels, draw_skeleton
from magicanimate.errors import InputError
from magicanimate.synth.clip import GeneratedClip

CONTROLS = ("pose", "depth")


def check_controls(controls: tuple[str, ...]) -> None:
    """Raise InputError for a kind that cannot be written."""
    unknown = [name for name in controls if name not in CONTROLS]
    if unknown:
        raise InputError(f"Unknown control {unknown[0]!r}; besides parts there are {' and '.join(CONTROLS)}.")


def control_frames(clip: GeneratedClip, kind: str) -> np.ndarray:
    """pose: [F,H,W,3] uint8, colored limbs on black. depth: [F,H,W] uint8, 255 nearest, 1 farthest, 0 nobody."""
    if kind == "depth":
        return np.stack([depth_levels(distance_HW, _span(clip.distance)) for distance_HW in clip.distance])
    _, height, width = clip.parts.shape
    size = (height, width)
    in_pixels = clip.points * np.array([width, height], np.float32)
    return np.stack([np.max([draw_skeleton(at_S2, size) for at_S2 in people], axis=0) for people in in_pixels])


def _span(distance_FHW: np.ndarray) -> tuple[float, float]:
    """Return the nearest distance and depth of a whole clip: an arm's length around the body's middle. Meters."""
    middle = [float(np.median(frame[frame > 0])) for frame in distance_FHW if (frame > 0).any()] or [2 * ARM]
    near = max(0.1, min(middle) - ARM)
    return near, max(middle) + ARM - near
