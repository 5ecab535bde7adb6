"""Control pictures of a body in motion: DensePose parts, depth, normals, OpenPose-style skeleton.

Shape legend: F frames, S points of the rig, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from magicanimate.body.graphics import BodyMesh, PartDrawer, View, shared_context
from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import POINT_INDEX

KINDS = ("parts", "depth", "normals", "pose")
_CHUNK = 64  # frames whose transforms are held
ARM = 1.0  # metres before and behind the pelvis that a body reaches

_SKELETON = (
    ("neck", "shoulder.R"), ("neck", "shoulder.L"), ("shoulder.R", "lower_arm.R"), ("lower_arm.R", "hand.R"),
    ("shoulder.L", "lower_arm.L"), ("lower_arm.L", "hand.L"), ("neck", "thigh.R"), ("thigh.R", "shin.R"),
    ("shin.R", "ankle.R"), ("neck", "thigh.L"), ("thigh.L", "shin.L"), ("shin.L", "ankle.L"), ("neck", "nose"),
    ("nose", "eye.R"), ("eye.R", "ear.R"), ("nose", "eye.L"), ("eye.L", "ear.L"),
)  # fmt: skip
"""Limbs in OpenPose's order; limb i has hue i / 18, as in its drawings."""


def _view(motion: BodyMotion, size: tuple[int, int], span: tuple[float, float]) -> View:
    height, width = motion.size
    # what the motion's picture shows fills the drawn one
    return View(0.0, 0.0, 0.0, (2 * motion.focal / width, 2 * motion.focal / height), span)


def _span(motion: BodyMotion) -> tuple[float, float]:
    """Nearest distance and depth of the whole motion, with room for limbs. Metres."""
    distances = motion.position_F3[motion.present_F, 1] if motion.present_F.any() else np.ones(1)
    near = max(0.1, float(distances.min()) - ARM)
    return near, float(distances.max()) + ARM - near


def depth_levels(distance_HW: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Metres to 255 (nearest) .. 1 (farthest), 0 background. [H,W] uint8."""
    near, depth = span
    level = 255 - 254 * np.clip((distance_HW - near) / depth, 0, 1)
    return np.where(distance_HW > 0, level, 0).astype(np.uint8)


def _hue(i: int) -> tuple[int, int, int]:
    import colorsys

    r, g, b = (round(255 * value) for value in colorsys.hsv_to_rgb(i / 18, 1, 1))
    return r, g, b


def draw_skeleton(at_S2: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An OpenPose-style skeleton: coloured limbs on black. at_S2: rig points in pixels. [H,W,3] uint8."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size[1], size[0]))
    pen = ImageDraw.Draw(image)
    width = max(1, round(max(size) / 110))
    for i, (a, b) in enumerate(_SKELETON):
        ends = [tuple(at_S2[POINT_INDEX[name]].tolist()) for name in (a, b)]
        pen.line(ends, tuple(round(0.6 * c) for c in _hue(i)), width)
    for i, name in enumerate(dict.fromkeys(name for limb in _SKELETON for name in limb)):
        x, y = at_S2[POINT_INDEX[name]].tolist()
        pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), _hue(i))
    return np.asarray(image)


def draw_motion(
    motion: BodyMotion, size: tuple[int, int] | None = None, kinds: Sequence[str] = ("parts",)
) -> Iterator[dict[str, np.ndarray]]:
    """Draw a motion, frame by frame; frames without a person are empty.

    Args:
        motion: whose own picture fills the drawn one.
        size: (height, width) to draw; by default the motion's.
        kinds: of KINDS: parts [H,W] uint8 0..24; depth [H,W] uint8, 255 nearest and 0 background; normals [H,W,3]
            uint8; pose [H,W,3] uint8.

    Raises:
        InputError: moderngl or EGL is missing.
    """
    size = size or motion.size
    span = _span(motion)
    view = _view(motion, size, span)
    drawer = PartDrawer(shared_context(), size)
    mesh = BodyMesh(drawer, motion.shape.rest)
    scale = np.array([size[1] / motion.size[1], size[0] / motion.size[0]])
    try:
        for start in range(0, len(motion), _CHUNK):
            chunk = slice(start, min(start + _CHUNK, len(motion)))
            transforms_FJ34, points_FS3 = motion.transforms(chunk), motion.points(chunk)
            for f, present in enumerate(motion.present_F[chunk]):
                drawer.draw([(mesh, transforms_FJ34[f])] if present else [], view)
                out: dict[str, np.ndarray] = {}
                if "parts" in kinds:
                    out["parts"] = drawer.parts()
                if "depth" in kinds:
                    out["depth"] = depth_levels(drawer.distance(), span)
                if "normals" in kinds:
                    out["normals"] = drawer.normals()
                if "pose" in kinds:
                    at = motion.project(points_FS3[f]) * scale if present else np.zeros((len(POINT_INDEX), 2)) - 9
                    out["pose"] = draw_skeleton(at, size)
                yield out
    finally:
        mesh.release()
        drawer.release()
