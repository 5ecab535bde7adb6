"""Colors the body under the layers: what the picture never shows is guessed from the same material.

Shape legend: H W pixels, V vertices.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import REGIONS, rig, triangles, vertex_normals
from magicanimate.body.template import template
from magicanimate.person.matte import Matte

_SAME_DEPTH = 0.03  # meters: a vertex this near to the visible surface is seen
_FLAT = 0.35  # depth counts this much where the nearest seen vertex is looked for: front and back are alike
_OTHER_SKIN = 90  # largest difference of a channel from the face's color that skin has
_SHADE = 0.95  # hidden hands against the face
_THINNER, _HANDS_THINNER = 0.006, 0.001  # meters: how much the body lies below the layers; hands, with thin fingers
_BESIDE = (0.01, 0.03)  # meters beside the matte from where on arms and hands fade, and are gone
_LITTLE, _MOSTLY = 0.08, 0.5  # of a hand's vertices
_MOST_THINNER = 0.05  # meters, where the picture shows that the body is thinner


def color_body(
    matte: Matte, labels_HW: np.ndarray, screen_V3: np.ndarray, depth_HW: np.ndarray, rest_V3: np.ndarray,
    body: BodyMotion,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return colors [V, 3] float32, 0..255, of the body's vertices, rest positions [V, 3] below the layers, and
    opacities [V] float32, 0 where the picture shows that nothing is."""
    height, width = matte.alpha_HW.shape
    x, y = np.rint(screen_V3[:, 0] - 0.5).astype(int), np.rint(screen_V3[:, 1] - 0.5).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    front = inside & (np.abs(depth_HW[y, x] - screen_V3[:, 2]) < _SAME_DEPTH)
    region = rig().region_weights.argmax(1)
    arm_V = np.array(["arm" in name or "hand" in name for name in REGIONS])[region]
    same = arm_V == (labels_HW[y, x] > 1)
    sure_HW = ndimage.binary_erosion(matte.alpha_HW > 230, iterations=2)
    seen = front & same & sure_HW[y, x]
    color = matte.foreground_HWC[y, x].astype(np.float32)
    if seen.any():
        color = _guessed(color, seen, region, rest_V3)
    outside = np.where(inside, ndimage.distance_transform_edt(matte.alpha_HW < 128)[y, x], 0)
    meters = outside * np.maximum(screen_V3[:, 2], 0.1) / body.focal
    shown = np.where(arm_V, np.interp(meters, _BESIDE, (1, 0)), 1).astype(np.float32)
    hidden_hands = _hidden_hands(region, seen, color, ~inside | (matte.alpha_HW[y, x] > 127))
    shown = np.where(np.isin(region, hidden_hands), 1, shown).astype(np.float32)
    hands = np.char.startswith(np.array(REGIONS), "hand")[region]
    return color, _below(np.where(hands, _HANDS_THINNER - _THINNER, meters), rest_V3), shown


def _guessed(color_V3: np.ndarray, seen: np.ndarray, region: np.ndarray, rest_V3: np.ndarray) -> np.ndarray:
    """Return colors with those of unseen vertices from the nearest seen ones of the same kind, or of the other side."""
    out = color_V3.copy()
    scale = np.array([1, _FLAT, 1])
    names = np.array(REGIONS)
    kinds = {
        "head": names == "head", "hands": np.char.startswith(names, "hand"), "arms": np.char.find(names, "_arm") >= 0,
        "torso": names == "torso", "legs": np.isin(names, ["thigh.L", "thigh.R", "shin.L", "shin.R"]),
        "feet": np.char.startswith(names, "foot"),
    }  # fmt: skip
    skin = _skin_color(color_V3, seen, region)
    for name, which in kinds.items():
        own = which[region]
        known = own & seen
        if name == "hands" and skin is not None:
            bare = np.abs(color_V3 - skin).max(1) < _OTHER_SKIN
            known &= bare
            out[own & ~known] = skin * _SHADE
            continue
        if name == "head":
            known &= ~face_vertices() | ~_back_of_head(rest_V3)
        if known.sum() < 4:
            known = seen
        points = np.concatenate([rest_V3[known], rest_V3[known] * [-1, 1, 1]]) * scale
        colors = np.concatenate([color_V3[known]] * 2)
        if name == "head":  # no face on the back of the head: hair, where some is seen
            hairy = known & (template().hair > 0.2)
            unseen = own & ~seen & (template().hair > 0.2)
            if hairy.sum() > 8 and unseen.any():
                out[unseen] = _nearest(rest_V3[hairy] * scale, color_V3[hairy], rest_V3[unseen] * scale)
                own = own & ~unseen
        missing = own & ~known
        if missing.any():
            out[missing] = _nearest(points, colors, rest_V3[missing] * scale)
    return out


def _nearest(points: np.ndarray, colors: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return means of the colors of near points, weighted by the inverse square of their distance."""
    distance, index = cKDTree(points).query(at, k=min(8, len(points)))
    if distance.ndim == 1:
        return colors[index]
    weight = 1 / (distance + 0.01) ** 2
    return (colors[index] * weight[..., None]).sum(1) / weight.sum(1, keepdims=True)


def face_vertices() -> np.ndarray:
    """Return vertices of the face. [V] bool."""
    body = template()
    return (body.region_weights.argmax(1) == REGIONS.index("head")) & (body.hair < -0.1)


def _back_of_head(rest_V3: np.ndarray) -> np.ndarray:
    head = template().region_weights.argmax(1) == REGIONS.index("head")
    return head & (rest_V3[:, 1] > rest_V3[head, 1].mean())


def _skin_color(color_V3: np.ndarray, seen: np.ndarray, region: np.ndarray) -> np.ndarray | None:
    """Return median color of the face, or of hands, [3]; None where neither is seen."""
    for chosen in (face_vertices() & seen & (rig().eyeball == 0), seen & np.isin(region, [4, 7])):
        if chosen.sum() > 30:
            bright = color_V3[chosen].sum(1)
            middle = (bright >= np.quantile(bright, 0.4)) & (bright <= np.quantile(bright, 0.9))
            return color_V3[chosen][middle].mean(0)
    return None


def _hidden_hands(region: np.ndarray, seen: np.ndarray, color_V3: np.ndarray, on_V: np.ndarray) -> list[int]:
    """Find regions of hands on the person in the picture (`on_V`, or outside it) that show little skin: they are in
    pockets, or behind something."""
    skin = _skin_color(color_V3, seen, region)
    if skin is None:
        return []
    bare = np.abs(color_V3 - skin).max(1) < _OTHER_SKIN
    hands = [region == REGIONS.index(f"hand.{side}") for side in "LR"]
    return [int(region[own][0]) for own in hands if on_V[own].mean() > _MOSTLY and (bare & seen)[own].mean() < _LITTLE]


def _below(meters_V: np.ndarray, rest_V3: np.ndarray) -> np.ndarray:
    """Rest positions moved inward: a little everywhere, and as far as the body sticks out of the matte."""
    thinner = _THINNER + np.clip(meters_V, _HANDS_THINNER - _THINNER, _MOST_THINNER)
    normals = vertex_normals(rest_V3.astype(np.float64), triangles())
    return (rest_V3 - normals * thinner[:, None]).astype(np.float32)
