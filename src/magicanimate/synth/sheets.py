"""Loose sheets, the grids of vertices that hang on a person's joints: the layout of mesh.py."""

import numpy as np

from magicanimate.body.rig import JOINT_INDEX, REGIONS

FLOATS_PER_VERTEX = 37
HANGING_HAIR, SKIRT, WORN = 1, 2, 3


def sheet(position: np.ndarray, blend: dict[str, np.ndarray], material: int) -> np.ndarray:
    """Return vertices of a loose sheet. position [R,C,3]; blend: joint -> weight [R,C], at most four joints."""
    rows, columns = position.shape[:2]
    normal = np.cross(np.gradient(position, axis=1), np.gradient(position, axis=0))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    n = rows * columns
    joints = np.zeros((n, 4))
    weights = np.zeros((n, 4))
    for i, (name, weight) in enumerate(blend.items()):
        joints[:, i], weights[:, i] = JOINT_INDEX[name], weight.reshape(-1)
    regions = np.zeros((n, len(REGIONS)))
    misc = np.tile([-9.0, 0.0, material], (n, 1))
    flat = (position.reshape(n, 3), normal.reshape(n, 3), joints, weights, regions, np.zeros((n, 6)), misc)
    return np.concatenate(flat, 1).astype(np.float32)


def sheet_triangles(rows: int, columns: int, start: int) -> np.ndarray:
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1) + start
    return np.concatenate([np.stack([i, i + 1, i + columns], 1), np.stack([i + 1, i + columns + 1, i + columns], 1)])
