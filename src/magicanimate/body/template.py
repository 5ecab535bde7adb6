"""The body's surface: which DensePose part each place belongs to, and coordinates along limbs and trunk.

V vertices, J joints; axes as in body/rig.py.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from magicanimate.body.rig import REGIONS, BodyShape, body_shape, rig, triangles

# (part on the negative side, part on the positive side) of each region's split coordinate; hands and feet have one part
REGION_PARTS = {
    "torso": (1, 2), "head": (23, 24),
    "upper_arm.L": (15, 17), "lower_arm.L": (19, 21), "hand.L": (4, 4),
    "upper_arm.R": (16, 18), "lower_arm.R": (20, 22), "hand.R": (3, 3),
    "thigh.L": (8, 10), "shin.L": (12, 14), "foot.L": (5, 5),
    "thigh.R": (7, 9), "shin.R": (11, 13), "foot.R": (6, 6),
}  # fmt: skip

TORSO_FRONT_COSINE = 0.05  # DensePose counts the flanks as back: the front ends a little before the side line


@dataclass(frozen=True)
class BodyTemplate:
    """Data shared by all people: topology, skinning weights and surface coordinates on the mean shape."""

    triangles: np.ndarray  # [N,3] int32
    joint_indices: np.ndarray  # [V,4] float32
    joint_weights: np.ndarray  # [V,4] float32, rows sum to 1
    region_weights: np.ndarray  # [V,14] float32, rows sum to 1
    split: np.ndarray  # [V,3] float32: front/back of torso and legs, outer/inner of arms, left/right of head
    along: np.ndarray  # [V,3] float32: arm 0 shoulder 1 elbow 2 wrist; leg 0 hip 1 knee 2 ankle; torso 0 crotch 1 neck
    hair: np.ndarray  # [V] float32: larger = deeper inside the hair-covered part of the head
    eyeball: np.ndarray  # [V] float32: 1 on the eyeballs


def _along(v: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Position of v along a->b: 0 at a, 1 at b, not clamped. [V,3] -> [V]."""
    return (v - a) @ (b - a) / ((b - a) @ (b - a))


def _limb(v: np.ndarray, shape: BodyShape, names: tuple[str, str, str]) -> np.ndarray:
    """Return limb coordinate 0..1 on the first segment and 1..2 on the second, by the side of the body. [V]."""
    sides = []
    for s in "LR":
        a, b, c = (shape.point(f"{n}.{s}").astype(np.float64) for n in names)
        sides.append(np.minimum(_along(v, a, b), 1) + np.maximum(_along(v, b, c), 0))
    return np.where(v[:, 0] > 0, sides[0], sides[1])


def _offset_direction(v: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return unit vector from the axis a->b to each vertex. [V,3]."""
    offset = v - a - np.clip(_along(v, a, b), -0.2, 1.2)[:, None] * (b - a)
    return offset / np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-6)


def _splits(v: np.ndarray, shape: BodyShape, regions: np.ndarray) -> np.ndarray:
    """Return the three coordinates whose sign splits regions into DensePose parts. [V,3]."""

    def joint(name: str) -> np.ndarray:
        return shape.point(name).astype(np.float64)

    front = np.array([0.0, -1.0, 0.0])
    # The root joint lies far back: an axis through it would leave the small of the back in front of it.
    torso = v[regions == REGIONS.index("torso")]
    low, high = (torso[np.abs(torso[:, 2] - joint(name)[2]) < 0.05].mean(0) for name in ("pelvis", "neck"))
    front_back = _offset_direction(v, low * [0, 1, 1], high * [0, 1, 1]) @ front - TORSO_FRONT_COSINE
    outer = np.zeros(len(v))
    for s, sign in (("L", 1.0), ("R", -1.0)):
        for limb, top, bottom in (("thigh", "thigh", "shin"), ("shin", "shin", "foot"), ("foot", "shin", "foot")):
            along = _offset_direction(v, joint(f"{top}.{s}"), joint(f"{bottom}.{s}"))
            mask = regions == REGIONS.index(f"{limb}.{s}")
            front_back[mask] = (along @ front)[mask]
        for limb, top, bottom in (("upper_arm", "upper_arm", "lower_arm"), ("lower_arm", "lower_arm", "hand")):
            a, b = joint(f"{top}.{s}"), joint(f"{bottom}.{s}")
            axis = (b - a) / np.linalg.norm(b - a)
            away = np.array([sign * 0.8, 0.55, 0.6])
            away -= (away @ axis) * axis
            along = _offset_direction(v, a, b) @ (away / np.linalg.norm(away))
            mask = regions == REGIONS.index(f"{limb}.{s}")
            outer[mask] = along[mask]
    return np.stack([front_back, outer, v[:, 0]], 1)


@lru_cache(maxsize=1)
def template() -> BodyTemplate:
    """Return topology and surface coordinates, worked out once on the mean shape."""
    stored, shape = rig(), body_shape({})
    v = shape.vertices.astype(np.float64)
    regions = stored.region_weights.argmax(1)
    crotch = shape.point("thigh.L")[2] - 0.06
    head = shape.point("head") + np.array([0, -0.02, 0.06])
    direction = (v - head) / 0.105
    hair = 0.75 * direction[:, 1] + 0.85 * direction[:, 2] - 0.25 * np.abs(direction[:, 0])
    hair = np.where((regions == REGIONS.index("head")) & (stored.eyeball == 0), hair, -9.0)
    return BodyTemplate(
        triangles=triangles(),
        joint_indices=stored.joint_indices.astype(np.float32),
        joint_weights=stored.joint_weights,
        region_weights=stored.region_weights,
        split=_splits(v, shape, regions).astype(np.float32),
        along=np.stack(
            [
                _limb(v, shape, ("upper_arm", "lower_arm", "hand")),
                _limb(v, shape, ("thigh", "shin", "foot")),
                (v[:, 2] - crotch) / (shape.point("neck")[2] - crotch),
            ],
            1,
        ).astype(np.float32),
        hair=hair.astype(np.float32),
        eyeball=stored.eyeball,
    )
