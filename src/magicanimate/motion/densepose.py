"""DensePose maps: colours to part indices and back.

A DensePose video of this project's convention paints each pixel with the fine part index 0..24 through the
viridis colour map at level floor(i * 255 / 24); index 0 is the background (purple, not black). Left and right
are the person's. Video compression shifts the colours by a few levels and mixes them along contours, so indices
are recovered by nearest colour, and mixed pixels take the label of a neighbour that is certain.

Shape legend: F frames, H W pixels, C colour channels. Only numpy is needed here.
"""

from __future__ import annotations

from functools import cache

import numpy as np

BACKGROUND = 0
HEAD = (23, 24)
NEAR = 14.0
"""RGB distance within which a decoded pixel counts as one of the palette's colours."""

PART_NAMES = (
    "background", "torso (back)", "torso (front)", "right hand", "left hand", "left foot", "right foot",
    "upper leg right (back)", "upper leg left (back)", "upper leg right (front)", "upper leg left (front)",
    "lower leg right (back)", "lower leg left (back)", "lower leg right (front)", "lower leg left (front)",
    "upper arm left (inner)", "upper arm right (inner)", "upper arm left (outer)", "upper arm right (outer)",
    "lower arm left (inner)", "lower arm right (inner)", "lower arm left (outer)", "lower arm right (outer)",
    "head (right half)", "head (left half)",
)  # fmt: skip

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

# Code of a colour: the index of the nearest known colour, plus _FAR where that colour is further than NEAR.
BLACK = 25
_FAR, _UNSEEN = 0x80, 0xFF
_KNOWN = np.concatenate([PALETTE_25, np.zeros((1, 3), np.uint8)]).astype(np.int32)
_PART_OF_KNOWN = np.append(np.arange(25), BACKGROUND).astype(np.uint8)
_CHUNK = 1 << 16
_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


@cache
def _codes() -> np.ndarray:
    """[2**24] uint8, code of each RGB colour, filled as colours are met (16 MB, exact)."""
    return np.full(1 << 24, _UNSEEN, np.uint8)


def _squared_distances(rgb_NC: np.ndarray) -> np.ndarray:
    """[N, 26] squared RGB distances to the known colours."""
    return ((rgb_NC[:, None, :].astype(np.int32) - _KNOWN[None]) ** 2).sum(-1)


def colour_codes(frame_HWC: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 -> [H, W] uint8 codes: nearest known colour (25 is black), plus 128 where it is not near."""
    r, g, b = (frame_HWC[..., i].astype(np.int32) for i in range(3))
    packed_HW = (r << 16) | (g << 8) | b
    table = _codes()
    new = packed_HW[table[packed_HW] == _UNSEEN]
    if new.size:
        new = np.unique(new)
        for start in range(0, new.size, _CHUNK):
            colours = new[start : start + _CHUNK]
            rgb = np.stack([colours >> 16, (colours >> 8) & 255, colours & 255], axis=1)
            distances = _squared_distances(rgb)
            nearest = distances.argmin(1)
            far = distances.min(1) > NEAR * NEAR
            table[colours] = nearest.astype(np.uint8) | (far.astype(np.uint8) * _FAR)
    return table[packed_HW]


def _settle_mixed(frame_HWC: np.ndarray, codes_HW: np.ndarray) -> np.ndarray:
    """Parts [H, W]; a pixel of mixed colour takes the closest of the labels that are certain around it.

    Between two parts compression makes colours that belong to a third one, far away on the body; without this
    a thin wrong contour surrounds each part.
    """
    height, width = codes_HW.shape
    parts_HW = _PART_OF_KNOWN[codes_HW & ~np.uint8(_FAR)]
    y, x = np.nonzero(codes_HW & _FAR)
    if not 0 < y.size < 0.5 * codes_HW.size:  # nothing to do, or no map at all
        return parts_HW
    rows = np.arange(y.size)
    distances = _squared_distances(frame_HWC[y, x])
    best = np.full(y.size, np.iinfo(np.int32).max, np.int64)
    label = parts_HW[y, x]
    for dy, dx in _NEIGHBOURS:
        code = codes_HW[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
        certain = code < _FAR
        distance = np.where(certain, distances[rows, np.where(certain, code, 0)], best)
        closer = distance < best
        label = np.where(closer, _PART_OF_KNOWN[np.where(certain, code, 0)], label)
        best = np.minimum(best, distance)
    parts_HW[y, x] = label
    return parts_HW


def decode_frame(frame_HWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One RGB map to parts.

    Args:
        frame_HWC: [H, W, 3] uint8.

    Returns:
        parts [H, W] uint8 in 0..24, and the colour codes [H, W] that `motion.report` counts.
    """
    codes_HW = colour_codes(frame_HWC)
    return _settle_mixed(frame_HWC, codes_HW), codes_HW


def render_parts(parts: np.ndarray) -> np.ndarray:
    """[..., H, W] part indices 0..24 -> [..., H, W, 3] uint8 RGB, exactly the palette's colours."""
    return PALETTE_25[parts]


def flip_parts(parts: np.ndarray) -> np.ndarray:
    """Mirror maps [..., H, W] left to right and exchange left and right parts."""
    return FLIP_TABLE[parts[..., ::-1]]


def _nearest_indices(size: int, new_size: int) -> np.ndarray:
    return np.minimum(((np.arange(new_size) + 0.5) * size / new_size).astype(np.int64), size - 1)


def resize_parts(parts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[..., H, W] -> [..., height, width] by nearest pixel centre: indices are names and must not be mixed."""
    rows = _nearest_indices(parts.shape[-2], size[0])
    columns = _nearest_indices(parts.shape[-1], size[1])
    return parts[..., rows[:, None], columns[None, :]]
