"""Moves surfaces with the joints: linear blend skinning, and projection.

Shape legend: V vertices, J joints.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from magicanimate.body.rig import JOINT_NAMES, rig


@lru_cache(maxsize=1)
def skin_weights() -> np.ndarray:
    """Return weight of each joint at each vertex of the body. [V, J] float32."""
    stored = rig()
    weights_VJ = np.zeros((len(stored.joint_weights), len(JOINT_NAMES)), np.float32)
    np.add.at(weights_VJ, (np.arange(len(weights_VJ))[:, None], stored.joint_indices), stored.joint_weights)
    return weights_VJ


def blend(weights_VJ: np.ndarray, transforms_J34: np.ndarray) -> np.ndarray:
    """Return transforms of vertices by linear blend skinning. [V, 3, 4] float32."""
    return (weights_VJ @ transforms_J34.reshape(len(transforms_J34), 12).astype(np.float32)).reshape(-1, 3, 4)


def skin(weights_VJ: np.ndarray, transforms_J34: np.ndarray, rest_V3: np.ndarray) -> np.ndarray:
    """Return positions of vertices in a pose. [V, 3] float32."""
    matrices = blend(weights_VJ, transforms_J34)
    return np.einsum("vij,vj->vi", matrices[:, :, :3], rest_V3) + matrices[:, :, 3]


def to_screen(points_V3: np.ndarray, focal: float, size: tuple[int, int]) -> np.ndarray:
    """Points in the camera's frame -> x and y in pixels of a picture (height, width), and depth. [V, 3] float32."""
    depth = np.maximum(points_V3[:, 1], 1e-3)
    x, y = size[1] / 2 + focal * points_V3[:, 0] / depth, size[0] / 2 - focal * points_V3[:, 2] / depth
    return np.stack([x, y, points_V3[:, 1]], 1).astype(np.float32)
