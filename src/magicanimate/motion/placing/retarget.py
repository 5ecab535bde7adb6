"""Part maps of one person, given another person's proportions: every part is moved along its chain of joints.

Each part goes by its own affine map: along its bone it becomes as long as the other person's, across it keeps the
scale of the whole figure. Neighboring parts share their joint, so they stay joined; the ratios are constant over a
clip, so nothing jumps. Where all ratios are one, the maps land exactly as `media.fit_parts` puts them.

Shape legend: H W pixels, J joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from magicanimate.media.pictures import Placement
from magicanimate.parts.densepose import BACKGROUND
from magicanimate.parts.fit import fit_parts
from magicanimate.parts.skeleton import GROUP_OF_PART, GROUPS, JOINT, LIMBS, SIDES, count_alike

_SEAM = 2  # pixels: gaps between moved parts that are closed everywhere
_HOLE = 0.15  # of the torso's length: gaps that are closed where a body was before
_WIDEST = 16  # pixels
_ALONE, _CLEANINGS = 4, 2  # neighbors of the same part that a pixel must have; how often that is looked for
_UNKNOWN = np.uint8(255)


@dataclass(frozen=True)
class Similarity:
    """Pixels of a clip to pixels of the frame: scaled, then shifted by (x, y)."""

    scale: float
    shift: tuple[float, float]

    def __call__(self, points_2: np.ndarray) -> np.ndarray:
        """Move points [..., 2], x and y."""
        return points_2 * self.scale + np.asarray(self.shift)

    def placement(self, size: tuple[int, int]) -> Placement:
        """Return the same as a placement in a frame of (height, width)."""
        left, top = -self.shift[0] / self.scale, -self.shift[1] / self.scale
        box = (left, top, left + size[1] / self.scale, top + size[0] / self.scale)
        return Placement(box, (0, 0, *size), size)


@dataclass(frozen=True)
class _Move:
    """A part's map in the frame: x -> matrix (x - pivot) + target."""

    matrix: np.ndarray
    pivot: np.ndarray
    target: np.ndarray

    def __call__(self, points_2: np.ndarray) -> np.ndarray:
        return (points_2 - self.pivot) @ self.matrix.T + self.target

    def back(self, points_2: np.ndarray) -> np.ndarray:
        return (points_2 - self.target) @ np.linalg.inv(self.matrix).T + self.pivot


def _stretch(start_2: np.ndarray, stop_2: np.ndarray, along: float, across: float = 1.0) -> np.ndarray:
    """Return the matrix [2, 2] that scales along the line between two points, and across it."""
    line_2 = stop_2 - start_2
    length = float(np.linalg.norm(line_2))
    if not length > 0:  # also where a joint is not seen
        return np.eye(2)
    unit_2 = line_2 / length
    return across * np.eye(2) + (along - across) * np.outer(unit_2, unit_2)


def _moves(joints_J2: np.ndarray, ratios: Mapping[str, float], on_feet: bool) -> dict[str, _Move]:
    """Return the move of each group of parts; joints in pixels of the frame."""
    at = {name: joints_J2[index] for name, index in JOINT.items()}
    neck = at["neck"] if not np.isnan(at["neck"]).any() else np.zeros(2)
    torso = _Move(_stretch(at["neck"], at["pelvis"], ratios["torso"], ratios["width"]), neck, neck)
    moves = {"torso": torso}
    chin = at["chin"] if not np.isnan(at["chin"]).any() else neck
    moves["head"] = _Move(np.eye(2) * ratios["head"], chin, chin)
    for side in SIDES:
        for (upper, lower, first, middle, last), end in zip(LIMBS.values(), ("hand", "foot"), strict=True):
            points = [at[f"{joint}.{side}"] for joint in (first, middle, last)]
            root = torso(points[0])
            for group, start, stop, ratio in (
                (upper, points[0], points[1], ratios[upper]), (lower, points[1], points[2], ratios[lower]),
                (end, points[2], points[2], 1.0),
            ):  # fmt: skip
                if np.isnan(start).any():  # not seen: the part before it is not there either
                    start, root = (stop, torso(stop)) if not np.isnan(stop).any() else (np.zeros(2), np.zeros(2))
                moves[f"{group}.{side}"] = move = _Move(_stretch(start, stop, ratio), start, root)
                root = move(stop)
    return _standing(moves, at) if on_feet else moves


def _standing(moves: dict[str, _Move], at: Mapping[str, np.ndarray]) -> dict[str, _Move]:
    """Return all moves, shifted so that the lower ankle stays at its height."""
    ankles = [(at[f"ankle.{side}"], moves[f"lower leg.{side}"]) for side in SIDES]
    seen = [(ankle[1], move(ankle)[1]) for ankle, move in ankles if not np.isnan(ankle).any()]
    if not seen:
        return moves
    down = np.array([0.0, max(before for before, _ in seen) - max(after for _, after in seen)])
    return {name: _Move(move.matrix, move.pivot, move.target + down) for name, move in moves.items()}


def retarget(
    parts_HW: np.ndarray,
    joints_J2: np.ndarray,
    base: Similarity,
    ratios: Mapping[str, float],
    size: tuple[int, int],
    on_feet: bool,
) -> np.ndarray:
    """Place one map in the frame with other proportions.

    Args:
        parts_HW: the clip's map, uint8.
        joints_J2: its joints (`skeleton.find_joints`), pixels of the clip.
        base: where the figure as a whole goes.
        ratios: by name of `skeleton.LENGTHS`, relative to the scale of `base`.
        size: (height, width) of the frame.
        on_feet: keep the feet where `base` puts them, rather than the neck.
    """
    plain_HW = fit_parts(parts_HW, base.placement(size))
    if all(ratio == 1 for ratio in ratios.values()):
        return plain_HW
    joints_J2, parts_HW = base(joints_J2), _cleaned(parts_HW)
    moves = _moves(joints_J2, ratios, on_feet)
    group_HW, plain_group_HW = GROUP_OF_PART[parts_HW], GROUP_OF_PART[plain_HW]
    out_HW, settled_HW = np.zeros(size, np.uint8), np.zeros(size, bool)
    for index, name in enumerate(GROUPS):
        rows, columns = np.nonzero(group_HW == index)
        if not rows.size:
            continue
        window, at_2 = _region(rows, columns, base, moves[name], size)
        column, row = np.floor(at_2).astype(np.int64).transpose(2, 0, 1)
        inside = (row >= 0) & (row < parts_HW.shape[0]) & (column >= 0) & (column < parts_HW.shape[1])
        labels = parts_HW[np.where(inside, row, 0), np.where(inside, column, 0)]
        hit = inside & (GROUP_OF_PART[labels] == index) & ~settled_HW[window]
        out_HW[window][hit] = labels[hit]
        # Where parts now overlap, the one that was seen there before stays in front.
        settled_HW[window] |= hit & (plain_group_HW[window] == index)
    torso = np.linalg.norm(joints_J2[JOINT["pelvis"]] - joints_J2[JOINT["neck"]])
    reach = int(np.clip(np.nan_to_num(_HOLE * torso), _SEAM, _WIDEST))
    return _closed(out_HW, plain_HW != BACKGROUND, reach)


def _cleaned(parts_HW: np.ndarray) -> np.ndarray:
    """Pixels that stand alone take a neighbor's label: borders get colors of parts elsewhere, which would fly off."""
    group_HW = GROUP_OF_PART[parts_HW]
    for _ in range(_CLEANINGS):
        lone_HW = count_alike(group_HW) < _ALONE
        around = np.pad(np.where(lone_HW, _UNKNOWN, parts_HW), 1, mode="edge")
        height, width = parts_HW.shape
        label_HW = np.full_like(parts_HW, _UNKNOWN)
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (0, 2), (2, 0), (2, 2)):
            label_HW = np.where(label_HW == _UNKNOWN, around[dy : dy + height, dx : dx + width], label_HW)
        parts_HW = np.where(lone_HW & (label_HW != _UNKNOWN), label_HW, parts_HW)
        group_HW = GROUP_OF_PART[parts_HW]
    return parts_HW


def _region(
    rows: np.ndarray, columns: np.ndarray, base: Similarity, move: _Move, size: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the window of the frame that a part can reach, and the clip's points [h, w, 2] under its pixels."""
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    corners = move(base(np.array([(left, top), (left, bottom), (right, top), (right, bottom)], np.float64)))
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, (size[1], size[0]))
    high = np.clip(np.ceil(corners.max(0)).astype(int), 0, (size[1], size[0]))
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    at_2 = (move.back(np.stack([x, y], -1)) - np.asarray(base.shift)) / base.scale
    return (slice(low[1], high[1]), slice(low[0], high[0])), at_2


def _grown(mask_HW: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        grown = mask_HW.copy()
        grown[1:] |= mask_HW[:-1]
        grown[:-1] |= mask_HW[1:]
        grown[:, 1:] |= mask_HW[:, :-1]
        grown[:, :-1] |= mask_HW[:, 1:]
        mask_HW = grown
    return mask_HW


def _closed(parts_HW: np.ndarray, before_HW: np.ndarray, reach: int) -> np.ndarray:
    """Fill gaps with the nearest label: seams everywhere, wider ones only where a body was before."""
    body_HW = parts_HW != BACKGROUND
    seams_HW = ~_grown(~_grown(body_HW, _SEAM), _SEAM)
    holes_HW = ~_grown(~_grown(body_HW, reach), reach) & before_HW
    missing_HW = (seams_HW | holes_HW) & ~body_HW
    filled_HW = parts_HW.copy()
    for _ in range(reach):
        if not missing_HW.any():
            break
        around = np.pad(filled_HW, 1)
        neighbor_HW = np.zeros_like(filled_HW)
        for shifted in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
            neighbor_HW = np.where(neighbor_HW == BACKGROUND, shifted, neighbor_HW)
        now = missing_HW & (neighbor_HW != BACKGROUND)
        filled_HW[now] = neighbor_HW[now]
        missing_HW &= ~now
    return filled_HW
