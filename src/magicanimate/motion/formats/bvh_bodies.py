"""Bodies as BVH: written with the rig's own bones, and read back without a fit.

Meters, y up; who faces the camera faces +z, as Blender's importer expects with its defaults. Bones have Blender's names
for sides (`upper_arm.L`); the rotation channels are Zrotation Xrotation Yrotation.

Shape legend: F frames, J joints, A angles.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from magicanimate.body.bones import BONES, Proportions, stretches
from magicanimate.body.kinematics import POSE_NUMBERS, TURN, angle_map, turn_from_rotation
from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import JOINT_INDEX, JOINT_NAMES, PARENTS, BodyShape
from magicanimate.errors import InputError
from magicanimate.files import write_text
from magicanimate.motion.formats.bvh import Capture, camera_before

_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Axes of a body (y away from the camera, z up) -> axes of the file."""
_ENDS = {"fingers.L": "index.L", "fingers.R": "index.R", "foot.L": "toe.L", "foot.R": "toe.R", "head": "nose"}
"""Points at which chains end."""
_SHORTEST_END = 0.02  # meters
_SAME_SKELETON = 0.02  # meters that joints at rest may be off in a file of ours


def write_bvh(body: BodyMotion, path: Path) -> None:
    """Write a body's motion. Frames without a person repeat the pose before them (or the first one).

    Raises:
        InputError: there is no frame with a person.
    """
    known = np.flatnonzero(body.present_F)
    if not known.size:
        raise InputError("Nobody moves in this motion, so there is nothing to write as BVH.")
    shown = known[np.maximum(np.searchsorted(known, np.arange(len(body)), side="right") - 1, 0)]
    offsets_J3 = rest_offsets(body.shape) @ _UP.T
    turns_FJ33, places_F3 = body.joint_rotations()[shown], body.position_F3[shown].astype(float)
    lowest = body.points()[known][..., 2].min()
    places_F3 = (places_F3 - (places_F3[0, 0], places_F3[0, 1], lowest)) @ _UP.T
    columns = [places_F3]
    for name in _order():
        local = turns_FJ33[:, JOINT_INDEX[name]]
        parent = PARENTS[name]
        if parent is not None:
            local = turns_FJ33[:, JOINT_INDEX[parent]].transpose(0, 2, 1) @ local
        columns.append(_euler(_UP @ local @ _UP.T))
    rows = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in np.concatenate(columns, 1))
    head = f"HIERARCHY\n{_bone('pelvis', offsets_J3, body.shape, 0)}"
    write_text(path, f"{head}MOTION\nFrames: {len(body)}\nFrame Time: {1 / body.fps:.12f}\n{rows}\n")


def rest_offsets(shape: Proportions) -> np.ndarray:
    """Return each joint's offset from its parent in the rest pose, [J, 3] meters; the pelvis is at 0."""
    rest, stretch_J33 = shape.rest, stretches(torch.from_numpy(shape.lengths), shape.rest).numpy()
    offsets_J3 = np.zeros((len(JOINT_NAMES), 3))
    for name, parent in PARENTS.items():
        if parent is not None:
            p = JOINT_INDEX[parent]
            offsets_J3[JOINT_INDEX[name]] = stretch_J33[p] @ (rest.point(name) - rest.point(parent))
    return offsets_J3


def _children(name: str) -> list[str]:
    return [child for child, parent in PARENTS.items() if parent == name]


@lru_cache(maxsize=1)
def _order() -> tuple[str, ...]:
    """Return joints as the hierarchy lists them."""

    def below(name: str) -> list[str]:
        return [name, *(joint for child in _children(name) for joint in below(child))]

    return tuple(below("pelvis"))


def _bone(name: str, offsets_J3: np.ndarray, shape: Proportions, depth: int) -> str:
    tab, kind = "\t" * depth, "JOINT" if depth else "ROOT"
    channels = "3" if depth else "6 Xposition Yposition Zposition"
    inner = "".join(_bone(child, offsets_J3, shape, depth + 1) for child in _children(name))
    return (
        f"{tab}{kind} {name}\n{tab}{{\n{tab}\tOFFSET {_numbers(offsets_J3[JOINT_INDEX[name]])}\n"
        f"{tab}\tCHANNELS {channels} Zrotation Xrotation Yrotation\n"
        f"{inner or _end(name, shape.rest, tab)}{tab}}}\n"
    )


def _end(name: str, rest: BodyShape, tab: str) -> str:
    offset_3 = _UP @ (rest.point(_ENDS[name]) - rest.point(name))
    length = float(np.linalg.norm(offset_3))
    offset_3 = offset_3 * max(1.0, _SHORTEST_END / max(length, 1e-6))
    return f"{tab}\tEnd Site\n{tab}\t{{\n{tab}\t\tOFFSET {_numbers(offset_3)}\n{tab}\t}}\n"


def _numbers(values_3: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values_3)


def _euler(rotation_F33: np.ndarray) -> np.ndarray:
    """Return degrees [F, 3] about z, x, y, in the order in which they are multiplied; without jumps of a whole turn."""
    x = np.arcsin(np.clip(rotation_F33[:, 2, 1], -1, 1))
    z = np.arctan2(-rotation_F33[:, 0, 1], rotation_F33[:, 1, 1])
    y = np.arctan2(-rotation_F33[:, 2, 0], rotation_F33[:, 2, 2])
    return np.degrees(np.unwrap(np.stack([z, x, y], 1), axis=0))


def read_body(capture: Capture) -> BodyMotion | None:
    """Read the body of a file with this rig's bones, such as one that `write_bvh` wrote; None for other bones.

    Seen by a camera that takes in the whole motion.
    """
    names = [joint.name for joint in capture.joints]
    if any(name not in names for name in JOINT_NAMES):
        return None
    index_J = [names.index(name) for name in JOINT_NAMES]
    if any(
        parent is not None and capture.joints[names.index(name)].parent != names.index(parent)
        for name, parent in PARENTS.items()
    ):
        return None
    rest_J3 = capture.rest_J3[index_J] - capture.rest_J3[index_J[0]]
    to_body_33, scale = _turn_to_body(rest_J3)
    offsets_J3 = np.array([capture.joints[index].offset_3 for index in index_J]) @ to_body_33.T * scale
    shape = _proportions(offsets_J3)
    if np.abs(rest_offsets(shape) - offsets_J3)[1:].max() > _SAME_SKELETON:
        return None
    turns_FJ33 = to_body_33 @ capture.turns_FJ33[:, index_J] @ to_body_33.T
    vectors = np.zeros((len(turns_FJ33), len(JOINT_NAMES), 3))
    for name, parent in PARENTS.items():
        if parent is not None:
            above = turns_FJ33[:, JOINT_INDEX[parent]].transpose(0, 2, 1)
            vectors[:, JOINT_INDEX[name]] = _vectors(above @ turns_FJ33[:, JOINT_INDEX[name]])
    pose_FP = np.zeros((len(turns_FJ33), POSE_NUMBERS), np.float32)
    pose_FP[:, :TURN] = turn_from_rotation(turns_FJ33[:, 0])
    matrix = angle_map().numpy().reshape(POSE_NUMBERS - TURN, -1).T.astype(float)
    pose_FP[:, TURN:] = np.linalg.lstsq(matrix, vectors.reshape(len(vectors), -1).T, rcond=None)[0].T
    position_F3 = (capture.places_FJ3[:, index_J[0]] @ to_body_33.T * scale).astype(np.float32)
    shift_3, focal, size = camera_before(capture.places_FJ3[:, index_J] @ to_body_33.T * scale)
    position_F3 = (position_F3 + shift_3).astype(np.float32)
    return BodyMotion(shape, pose_FP, position_F3, focal, size, capture.fps, np.ones(len(pose_FP), bool))


def _turn_to_body(rest_J3: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the rotation, of quarter turns, and the scale that take a file's rest pose to the rig's."""
    own_J3 = rest_positions(Proportions.usual())
    u, _, vt = np.linalg.svd(own_J3.T @ rest_J3)
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    rounded = np.rint(rotation)
    size = float(np.linalg.norm(own_J3)) / max(float(np.linalg.norm(rest_J3)), 1e-9)
    unit = next((unit for unit in (1.0, 0.01, 0.0254) if 0.7 < unit / size < 1.4), size)
    return (rounded if abs(np.linalg.det(rounded)) == 1 else rotation), unit


def rest_positions(shape: Proportions) -> np.ndarray:
    """Return joints at rest, [J, 3] meters from the pelvis."""
    offsets_J3 = rest_offsets(shape)
    places_J3 = np.zeros_like(offsets_J3)
    for name, parent in PARENTS.items():
        if parent is not None:
            places_J3[JOINT_INDEX[name]] = places_J3[JOINT_INDEX[parent]] + offsets_J3[JOINT_INDEX[name]]
    return places_J3


def _proportions(offsets_J3: np.ndarray) -> Proportions:
    """Solve for the bone lengths that give the usual body these offsets, as nearly as possible: they are linear."""
    usual = Proportions.usual()
    base = rest_offsets(usual)
    columns = []
    for index in range(len(BONES)):
        lengths = usual.lengths.copy()
        lengths[index] += 1
        columns.append((rest_offsets(Proportions(usual.sliders, lengths, usual.girths)) - base).ravel())
    change = np.linalg.lstsq(np.stack(columns, 1), (offsets_J3 - base)[:].ravel(), rcond=None)[0]
    return Proportions(usual.sliders, (usual.lengths + change).astype(np.float32), usual.girths)


def _vectors(rotation_F33: np.ndarray) -> np.ndarray:
    """Return rotation vectors [F, 3]."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotation_F33).as_rotvec()
