"""The parametric body: anny's rest shape reduced to the joints, weights and surface coordinates that rendering needs.

Axes: x to the person's left, y to the back, z up, metres. J joints, V vertices.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# joint -> (parent, bone whose head is the joint, prefixes of the anny bones that it moves)
JOINTS: dict[str, tuple[str | None, str, tuple[str, ...]]] = {
    "pelvis": (None, "root", ("root", "pelvis", "spine05")),
    "spine": ("pelvis", "spine04", ("spine04", "spine03")),
    "chest": ("spine", "spine02", ("spine02", "spine01", "breast")),
    "neck": ("chest", "neck01", ("neck",)),
    "head": ("neck", "head", ()),  # and every bone of the face
    **{
        f"{joint}.{s}": (parent if parent in ("pelvis", "chest") else f"{parent}.{s}", f"{bone}.{s}", prefixes)
        for s in "LR"
        for joint, parent, bone, prefixes in (
            ("clavicle", "chest", "clavicle", ("clavicle", "shoulder")),
            ("upper_arm", "clavicle", "upperarm01", ("upperarm",)),
            ("lower_arm", "upper_arm", "lowerarm01", ("lowerarm",)),
            ("hand", "lower_arm", "wrist", ("wrist", "metacarpal")),
            ("fingers", "hand", "finger3-1", ("finger",)),
            ("thigh", "pelvis", "upperleg01", ("upperleg",)),
            ("shin", "thigh", "lowerleg01", ("lowerleg",)),
            ("foot", "shin", "foot", ("foot", "toe")),
        )
    },
}
JOINT_NAMES = tuple(JOINTS)
JOINT_INDEX = {name: i for i, name in enumerate(JOINT_NAMES)}

# Surface regions, in the order of the shader's region weights; each splits into two DensePose parts (hands, feet: one).
REGIONS = (
    "torso", "head",
    "upper_arm.L", "lower_arm.L", "hand.L", "upper_arm.R", "lower_arm.R", "hand.R",
    "thigh.L", "shin.L", "foot.L", "thigh.R", "shin.R", "foot.R",
)  # fmt: skip
# (part on the negative side, part on the positive side) of the region's split coordinate, reference.md section 3
REGION_PARTS = {
    "torso": (1, 2), "head": (23, 24),
    "upper_arm.L": (15, 17), "lower_arm.L": (19, 21), "hand.L": (4, 4),
    "upper_arm.R": (16, 18), "lower_arm.R": (20, 22), "hand.R": (3, 3),
    "thigh.L": (8, 10), "shin.L": (12, 14), "foot.L": (5, 5),
    "thigh.R": (7, 9), "shin.R": (11, 13), "foot.R": (6, 6),
}  # fmt: skip
_REGION_OF_JOINT = {"neck": "torso", "clavicle": "torso", "pelvis": "torso", "spine": "torso", "chest": "torso",
                    "fingers": "hand"}  # fmt: skip

TORSO_FRONT_COSINE = 0.05  # DensePose counts the flanks as back: the front ends a little before the side line


@dataclass(frozen=True)
class BodyTemplate:
    """What is the same for every person: topology, skinning weights and surface coordinates on the mean shape."""

    triangles: np.ndarray  # [N,3] int32
    joint_indices: np.ndarray  # [V,4] float32
    joint_weights: np.ndarray  # [V,4] float32, rows sum to 1
    region_weights: np.ndarray  # [V,14] float32, rows sum to 1
    split: np.ndarray  # [V,3] float32: front/back of torso and legs, outer/inner of arms, left/right of head
    along: np.ndarray  # [V,3] float32: arm 0 shoulder 1 elbow 2 wrist; leg 0 hip 1 knee 2 ankle; torso 0 crotch 1 neck
    hair: np.ndarray  # [V] float32: larger = deeper inside the hair-covered part of the head
    eyeball: np.ndarray  # [V] float32: 1 on the eyeballs


@dataclass(frozen=True)
class BodyShape:
    """One person's rest shape."""

    vertices: np.ndarray  # [V,3] float32
    normals: np.ndarray  # [V,3] float32
    joints: np.ndarray  # [J,3] float32
    eye: np.ndarray  # [3] float32, centre of the left eye
    mouth: np.ndarray  # [3] float32


@lru_cache(maxsize=1)
def _anny():
    try:
        import anny
    except ImportError as error:
        from magicanimate.errors import InputError

        raise InputError("The body model is missing; install it with: pip install 'magicanimate[train]'.") from error
    with warnings.catch_warnings():
        # anny announces its own defaults and the absence of the optional warp library: neither concerns our callers.
        warnings.simplefilter("ignore")
        return anny.create_fullbody_model()


def _joint_of_bone(bone: str) -> str:
    name, _, side = bone.partition(".")
    for joint, (_, _, prefixes) in JOINTS.items():
        base, _, joint_side = joint.partition(".")
        if any(name.startswith(p) for p in prefixes) and (not joint_side or joint_side == side) and base != "head":
            return joint
    return "head"


def _region_of_bone(bone: str) -> str:
    if bone.startswith(("neck02", "neck03")):
        return "head"
    joint, _, side = _joint_of_bone(bone).partition(".")
    region = _REGION_OF_JOINT.get(joint, joint)
    return f"{region}.{side}" if side and region != "torso" else region


def _along(v: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Position of v along a->b: 0 at a, 1 at b, not clamped. [V,3] -> [V]."""
    return (v - a) @ (b - a) / ((b - a) @ (b - a))


def _limb(v: np.ndarray, joints: dict[str, np.ndarray], names: tuple[str, str, str]) -> np.ndarray:
    """Limb coordinate 0..1 on the first segment and 1..2 on the second, by the side of the body. [V]."""
    sides = []
    for s in "LR":
        a, b, c = (joints[f"{n}.{s}"] for n in names)
        sides.append(np.minimum(_along(v, a, b), 1) + np.maximum(_along(v, b, c), 0))
    return np.where(v[:, 0] > 0, sides[0], sides[1])


def _offset_direction(v: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Unit vector from the axis a->b to each vertex. [V,3]."""
    offset = v - a - np.clip(_along(v, a, b), -0.2, 1.2)[:, None] * (b - a)
    return offset / np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-6)


def _splits(v: np.ndarray, joints: dict[str, np.ndarray], regions: np.ndarray) -> np.ndarray:
    """The three coordinates whose sign splits regions into DensePose parts. [V,3]."""
    front = np.array([0.0, -1.0, 0.0])
    # The root joint lies far back: an axis through it would leave the small of the back in front of it.
    torso = v[regions == REGIONS.index("torso")]
    low, high = (torso[np.abs(torso[:, 2] - joints[name][2]) < 0.05].mean(0) for name in ("pelvis", "neck"))
    front_back = _offset_direction(v, low * [0, 1, 1], high * [0, 1, 1]) @ front - TORSO_FRONT_COSINE
    outer = np.zeros(len(v))
    for s, sign in (("L", 1.0), ("R", -1.0)):
        for limb, top, bottom in (("thigh", "thigh", "shin"), ("shin", "shin", "foot"), ("foot", "shin", "foot")):
            along = _offset_direction(v, joints[f"{top}.{s}"], joints[f"{bottom}.{s}"])
            mask = regions == REGIONS.index(f"{limb}.{s}")
            front_back[mask] = (along @ front)[mask]
        for limb, top, bottom in (("upper_arm", "upper_arm", "lower_arm"), ("lower_arm", "lower_arm", "hand")):
            a, b = joints[f"{top}.{s}"], joints[f"{bottom}.{s}"]
            axis = (b - a) / np.linalg.norm(b - a)
            away = np.array([sign * 0.8, 0.55, 0.6])
            away -= (away @ axis) * axis
            along = _offset_direction(v, a, b) @ (away / np.linalg.norm(away))
            mask = regions == REGIONS.index(f"{limb}.{s}")
            outer[mask] = along[mask]
    return np.stack([front_back, outer, v[:, 0]], 1)


def _vertex_normals(v: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals. [V,3], [N,3] -> [V,3]."""
    a, b, c = (v[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.stack([sum(np.bincount(triangles[:, i], face[:, k], len(v)) for i in range(3)) for k in range(3)], 1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _connected_groups(quads: np.ndarray, count: int) -> np.ndarray:
    """A label per vertex: the smallest index in its connected piece of the mesh. [V]."""
    label = np.arange(count)
    while True:
        low = label[quads].min(1)
        new = label.copy()
        for k in range(quads.shape[1]):
            np.minimum.at(new, quads[:, k], low)
        new = new[new]
        if (new == label).all():
            return label
        label = new


@lru_cache(maxsize=1)
def template() -> BodyTemplate:
    """Topology and surface coordinates. The first call on a machine takes about 45 s, in which anny fills its cache."""
    model = _anny()
    shape = body_shape({})
    v = shape.vertices.astype(np.float64)
    joints = dict(zip(JOINT_NAMES, shape.joints.astype(np.float64), strict=True))
    quads = model.faces.numpy()
    weights = model.dense_vertex_bone_weights.numpy()
    bones = model.bone_labels

    to_joint = np.zeros((len(bones), len(JOINT_NAMES)))
    to_region = np.zeros((len(bones), len(REGIONS)))
    for i, bone in enumerate(bones):
        to_joint[i, JOINT_INDEX[_joint_of_bone(bone)]] = 1
        to_region[i, REGIONS.index(_region_of_bone(bone))] = 1
    joint_weights = weights @ to_joint
    order = np.argsort(-joint_weights, axis=1)[:, :4]
    top = np.take_along_axis(joint_weights, order, 1)
    region_weights = weights @ to_region
    regions = region_weights.argmax(1)

    piece = _connected_groups(quads, len(v))
    sizes = np.bincount(piece, minlength=len(v))[piece]
    eyeball = sizes < 100
    tongue = (sizes >= 100) & (sizes < 1000)
    quads = quads[~tongue[quads].any(1)]

    crotch = joints["thigh.L"][2] - 0.06
    head = joints["head"] + np.array([0, -0.02, 0.06])
    direction = (v - head) / 0.105
    hair = 0.75 * direction[:, 1] + 0.85 * direction[:, 2] - 0.25 * np.abs(direction[:, 0])
    hair = np.where(regions == REGIONS.index("head"), hair, -9.0)
    hair[eyeball] = -9.0
    return BodyTemplate(
        triangles=np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
        joint_indices=order.astype(np.float32),
        joint_weights=(top / top.sum(1, keepdims=True)).astype(np.float32),
        region_weights=region_weights.astype(np.float32),
        split=_splits(v, joints, regions).astype(np.float32),
        along=np.stack(
            [
                _limb(v, joints, ("upper_arm", "lower_arm", "hand")),
                _limb(v, joints, ("thigh", "shin", "foot")),
                (v[:, 2] - crotch) / (joints["neck"][2] - crotch),
            ],
            1,
        ).astype(np.float32),
        hair=hair.astype(np.float32),
        eyeball=eyeball.astype(np.float32),
    )


@lru_cache(maxsize=1)
def _all_triangles() -> np.ndarray:
    quads = _anny().faces.numpy()
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def body_shape(phenotype: dict[str, float]) -> BodyShape:
    """Rest shape of a person.

    phenotype: anny's sliders (gender, age, muscle, weight, height, proportions), each 0..1.
    """
    import torch

    model = _anny()
    with torch.no_grad():
        out = model(phenotype_kwargs=phenotype or {"gender": 0.5})
    vertices = out["rest_vertices"][0].numpy()
    heads = dict(zip(model.bone_labels, out["rest_bone_heads"][0].numpy(), strict=True))
    return BodyShape(
        vertices=vertices.astype(np.float32),
        normals=_vertex_normals(vertices, _all_triangles()).astype(np.float32),
        joints=np.stack([heads[JOINTS[name][1]] for name in JOINT_NAMES]).astype(np.float32),
        eye=heads["eye.L"].astype(np.float32),
        mouth=heads["oris05"].astype(np.float32),
    )
