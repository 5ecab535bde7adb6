"""DensePose maps: part indices, their names and colors, flips and resizing.

A DensePose video of this project's convention paints each pixel with the fine part index 0..24 through the
viridis color map at level floor(i * 255 / 24); index 0 is the background (purple, not black). Left and right
are the person's. `motion.palettes` goes the other way, from colors to indices.

Shape legend: F frames, H W pixels, C color channels. Only numpy is needed here.
"""

from __future__ import annotations

import numpy as np

BACKGROUND = 0
HANDS, HEAD = (3, 4), (23, 24)
PART_NAMES = (
    "background", "torso (back)", "torso (front)", "right hand", "left hand", "left foot", "right foot",
    "upper leg right (back)", "upper leg left (back)", "upper leg right (front)", "upper leg left (front)",
    "lower leg right (back)", "lower leg left (back)", "lower leg right (front)", "lower leg left (front)",
    "upper arm left (inner)", "upper arm right (inner)", "upper arm left (outer)", "upper arm right (outer)",
    "lower arm left (inner)", "lower arm right (inner)", "lower arm left (outer)", "lower arm right (outer)",
    "head (right half)", "head (left half)",
)  # fmt: skip

PARTS = len(PART_NAMES)

PALETTE_25: np.ndarray = np.array(
    [
        (68, 1, 84), (71, 16, 99), (72, 31, 112), (71, 44, 122), (68, 57, 131),
        (64, 70, 136), (59, 81, 139), (54, 93, 141), (49, 104, 142), (44, 113, 142),
        (40, 124, 142), (37, 133, 142), (33, 144, 141), (31, 154, 138), (32, 163, 134),
        (39, 173, 129), (53, 183, 121), (70, 192, 111), (92, 200, 99), (115, 208, 86),
        (142, 214, 69), (170, 220, 50), (197, 224, 33), (226, 228, 24), (253, 231, 37),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""[25, 3] RGB of each part index."""

FLIP_PAIRS: tuple[tuple[int, int], ...] = tuple((i, i + 1) for i in range(3, 25, 2))
"""Parts that exchange their names in a mirror: 3-4, 5-6, ... 23-24. Background and torso keep theirs."""


def _flip_table() -> np.ndarray:
    table = np.arange(25, dtype=np.uint8)
    for a, b in FLIP_PAIRS:
        table[a], table[b] = b, a
    return table


FLIP_TABLE: np.ndarray = _flip_table()
"""[25] part index after a horizontal flip; its own inverse."""

_ONE = {9: 7, 10: 8, 13: 11, 14: 12, 17: 15, 18: 16, 21: 19, 22: 20, 24: 23}
AREAS = np.array([_ONE.get(part, part) for part in range(25)], np.uint8)
"""[25] what each part moves with, the number of one of its parts: both sides of a limb and of the head move as one."""

LOOSE = 25
"""Index of hair and clothes beyond the parts, in the map of a picture whose person's mask is known."""


def with_loose(parts_HW: np.ndarray, person_HW: np.ndarray) -> np.ndarray:
    """Mark LOOSE in part map(s) of a picture where the person is seen beside the parts; no parts where nobody is."""
    return np.where(person_HW, np.where(parts_HW > 0, parts_HW, LOOSE), 0).astype(np.uint8)


def render_parts(parts: np.ndarray) -> np.ndarray:
    """Paint part indices 0..24 [..., H, W] in exactly the palette's colors: [..., H, W, 3] uint8 RGB."""
    return PALETTE_25[parts]


def _nearest_indices(size: int, new_size: int) -> np.ndarray:
    return np.minimum(((np.arange(new_size) + 0.5) * size / new_size).astype(np.int64), size - 1)


def resize_parts(parts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize maps [..., H, W] to [..., height, width] by nearest pixel center: indices must not be mixed."""
    rows = _nearest_indices(parts.shape[-2], size[0])
    columns = _nearest_indices(parts.shape[-1], size[1])
    return parts[..., rows[:, None], columns[None, :]]
