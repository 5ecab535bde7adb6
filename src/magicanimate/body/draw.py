"""Control pictures of a body in motion: DensePose parts, depth, normals, OpenPose-style skeleton.

Shape legend: F frames, S points of the rig, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from magicanimate.body.motion import BodyMotion
from magicanimate.body.raster import Raster, rasterize
from magicanimate.body.rig import POINT_INDEX, REGIONS, BodyShape
from magicanimate.body.skinning import skin_weights
from magicanimate.body.template import REGION_PARTS, template

KINDS = ("parts", "depth", "normals", "pose")
_CHUNK = 64  # frames whose transforms are held
ARM = 1.0  # meters before and behind the pelvis that a body reaches

_SKELETON = (
    ("neck", "shoulder.R"), ("neck", "shoulder.L"), ("shoulder.R", "lower_arm.R"), ("lower_arm.R", "hand.R"),
    ("shoulder.L", "lower_arm.L"), ("lower_arm.L", "hand.L"), ("neck", "thigh.R"), ("thigh.R", "shin.R"),
    ("shin.R", "ankle.R"), ("neck", "thigh.L"), ("thigh.L", "shin.L"), ("shin.L", "ankle.L"), ("neck", "nose"),
    ("nose", "eye.R"), ("eye.R", "ear.R"), ("nose", "eye.L"), ("eye.L", "ear.L"),
)  # fmt: skip
"""Limbs in OpenPose's order; limb i has hue i / 18, as in its drawings."""

_PARTS_OF = np.array([REGION_PARTS[region] for region in REGIONS], np.uint8)
"""[14, 2]: the parts of each region where its split is not positive and where it is."""
_SPLIT_OF = np.array([{"torso": 0, "head": 2}.get(name, int("arm" in name or "hand" in name)) for name in REGIONS])
"""[14]: which split of the template divides each region."""


class BodyDrawer:
    """Draws one body at one size (height, width); depths outside `span` (nearest, room behind it) are cut off."""

    def __init__(self, shape: BodyShape, size: tuple[int, int], span: tuple[float, float]) -> None:
        self.size, self._span = size, span
        self._rest_V4 = np.concatenate([shape.vertices, np.ones((len(shape.vertices), 1), np.float32)], 1)
        self._normals_V3 = shape.normals
        self._skin_V34 = np.zeros((len(self._rest_V4), 3, 4), np.float32)
        self._raster: Raster | None = None

    def draw(self, transforms_J34: np.ndarray, focal: tuple[float, float]) -> None:
        """Draw the body once; focal: pixels at distance 1, across and down, of a camera at the origin."""
        joints = len(transforms_J34)
        self._skin_V34 = (skin_weights() @ transforms_J34.reshape(joints, 12)).reshape(-1, 3, 4)
        world_V3 = np.einsum("vij,vj->vi", self._skin_V34, self._rest_V4)
        depth_V = world_V3[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):  # the rasterizer leaves out what is behind the camera
            x = self.size[1] / 2 + focal[0] * world_V3[:, 0] / depth_V
            y = self.size[0] / 2 - focal[1] * world_V3[:, 2] / depth_V
        reach = (self._span[0], sum(self._span))
        self._raster = rasterize(np.stack([x, y, depth_V], 1), template().triangles, self.size, reach)

    def clear(self) -> None:
        """Draw nobody."""
        self._raster = None

    def parts(self) -> np.ndarray:
        """Return DensePose parts [H,W] uint8 of what was drawn, 0 background."""
        if self._raster is None:
            return np.zeros(self.size, np.uint8)
        surface_N17 = self._raster.interpolate(_surface())
        region_N = surface_N17[:, : len(REGIONS)].argmax(1)
        split_N = surface_N17[np.arange(len(region_N)), len(REGIONS) + _SPLIT_OF[region_N]]
        return self._raster.picture(_PARTS_OF[region_N, (split_N > 0).astype(int)])

    def distance(self) -> np.ndarray:
        """Return the distance to the camera's plane [H,W] float32 meters, 0 background."""
        if self._raster is None:
            return np.zeros(self.size, np.float32)
        return np.where(self._raster.triangle_HW >= 0, self._raster.depth_HW, 0)

    def normals(self) -> np.ndarray:
        """Return surface normals [H,W,3] uint8 (to the right, up, towards the camera; 128 is 0), 0 background."""
        if self._raster is None:
            return np.zeros((*self.size, 3), np.uint8)
        normals_N3 = self._raster.interpolate(np.einsum("vij,vj->vi", self._skin_V34[..., :3], self._normals_V3))
        normals_N3 /= np.sqrt(np.maximum(np.einsum("nc,nc->n", normals_N3, normals_N3), 1e-12))[:, None]
        facing_N3 = normals_N3[:, [0, 2, 1]] * np.array([127.5, 127.5, -127.5], np.float32) + 127.5
        return self._raster.picture(facing_N3.round().astype(np.uint8))


@lru_cache(maxsize=1)
def _surface() -> np.ndarray:
    """Return the values that tell parts apart at vertices: weights of the regions, then splits. [V, 17] float32."""
    return np.concatenate([template().region_weights, template().split], 1)


@lru_cache(maxsize=1)
def surface_parts() -> np.ndarray:
    """Return the DensePose part of each vertex. [V] uint8."""
    surface_V17 = _surface()
    region_V = surface_V17[:, : len(REGIONS)].argmax(1)
    split_V = surface_V17[np.arange(len(region_V)), len(REGIONS) + _SPLIT_OF[region_V]]
    return _PARTS_OF[region_V, (split_V > 0).astype(int)].astype(np.uint8)


def _span(motion: BodyMotion) -> tuple[float, float]:
    """Return the nearest distance and depth of the whole motion, with room for limbs. Meters."""
    distances = motion.position_F3[motion.present_F, 1] if motion.present_F.any() else np.ones(1)
    near = max(0.1, float(distances.min()) - ARM)
    return near, float(distances.max()) + ARM - near


def depth_levels(distance_HW: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Convert meters to 255 (nearest) .. 1 (farthest), 0 background. [H,W] uint8."""
    near, depth = span
    level = 255 - 254 * np.clip((distance_HW - near) / depth, 0, 1)
    return np.where(distance_HW > 0, level, 0).astype(np.uint8)


def _hue(i: int) -> tuple[int, int, int]:
    import colorsys

    r, g, b = (round(255 * value) for value in colorsys.hsv_to_rgb(i / 18, 1, 1))
    return r, g, b


def draw_skeleton(at_S2: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an OpenPose-style skeleton: colored limbs on black. at_S2: rig points in pixels. [H,W,3] uint8."""
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


def draw_parts(body: BodyMotion) -> np.ndarray:
    """Draw the parts [H, W] uint8 of a body of one frame."""
    return next(iter(draw_motion(body)))["parts"]


def draw_motion(
    motion: BodyMotion, size: tuple[int, int] | None = None, kinds: Sequence[str] = ("parts",)
) -> Iterator[dict[str, np.ndarray]]:
    """Draw a motion on the CPU, frame by frame; frames without a person are empty.

    Args:
        motion: whose own picture fills the drawn one.
        size: (height, width) to draw; by default the motion's.
        kinds: of KINDS: parts [H,W] uint8 0..24; depth [H,W] uint8, 255 nearest and 0 background; normals [H,W,3]
            uint8; pose [H,W,3] uint8.
    """
    size = size or motion.size
    span = _span(motion)
    scale = np.array([size[1] / motion.size[1], size[0] / motion.size[0]])  # the motion's picture fills the drawn one
    drawer = BodyDrawer(motion.shape.rest, size, span)
    for start in range(0, len(motion), _CHUNK):
        chunk = slice(start, min(start + _CHUNK, len(motion)))
        transforms_FJ34, points_FS3 = motion.transforms(chunk), motion.points(chunk)
        for f, present in enumerate(motion.present_F[chunk]):
            if present:
                drawer.draw(transforms_FJ34[f], (motion.focal * scale[0], motion.focal * scale[1]))
            else:
                drawer.clear()
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
