"""Joints and lengths of a person, read from part maps alone.

A joint is the middle of that tenth of a part's pixels which is nearest to (or farthest from) the part before it in
the chain head, torso, limb. Such points lie a little inside the true ends, in pictures and motions alike, so ratios
of lengths are true. Over a clip a length is a high quantile: a bone looks shorter when it points at the camera or is
covered, never longer.

Shape legend: F frames, H W pixels, J joints, L lengths, N pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from magicanimate.parts.densepose import resize_parts

SIDES = ("L", "R")
GROUPS: dict[str, tuple[int, ...]] = {
    "torso": (1, 2), "head": (23, 24),
    "upper leg.L": (8, 10), "upper leg.R": (7, 9), "lower leg.L": (12, 14), "lower leg.R": (11, 13),
    "foot.L": (5,), "foot.R": (6,),
    "upper arm.L": (15, 17), "upper arm.R": (16, 18), "lower arm.L": (19, 21), "lower arm.R": (20, 22),
    "hand.L": (4,), "hand.R": (3,),
}  # fmt: skip
"""Parts that move as one, from those that are usually covered to those that cover others."""
GROUP_OF_PART = np.full(25, -1, np.int8)
for _index, _parts in enumerate(GROUPS.values()):
    GROUP_OF_PART[list(_parts)] = _index
ARMS, LEGS = (
    [index for index, name in enumerate(GROUPS) if name.split(".")[0] in kinds]
    for kinds in (("upper arm", "lower arm", "hand"), ("upper leg", "lower leg", "foot"))
)
"""Indices in GROUPS of all that belongs to an arm, and to a leg."""

JOINTS = (
    "crown", "chin", "neck", "pelvis",
    *(f"{joint}.{side}" for side in SIDES for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")),
)  # fmt: skip
TRUNK = [JOINTS.index("neck"), JOINTS.index("pelvis")]
JOINT = {name: index for index, name in enumerate(JOINTS)}
LIMBS = {
    "arm": ("upper arm", "lower arm", "shoulder", "elbow", "wrist"),
    "leg": ("upper leg", "lower leg", "hip", "knee", "ankle"),
}
LENGTHS = ("head", "torso", "width", "upper arm", "lower arm", "upper leg", "lower leg")
"""Measured lengths; `width` is the torso's."""

_SIDE = 160  # pixels of the longer side at which joints are looked for
_END = 0.1  # of a part's pixels that make its end
_FEWEST, _SMALLEST = 10, 0.004  # pixels of a part, and its share of the body's, below which it is not measured
_NEIGHBORS = 5  # of the eight around a pixel that must be of the same part: borders get the colors of other parts
_MARGIN = 0.02  # of the longer side
_QUANTILE = 0.75
_CROUCHED = 0.15  # of the torso's length by which a neck is lower than usual
_OFTEN = 0.05  # of the frames that must show a length whole


def find_joints(parts_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one person's joints in one map.

    Returns:
        joints [J, 2] (x, y) in pixels of the map, NaN where not seen, and lengths [L] in pixels, NaN where a part is
        not seen or runs out of the map.
    """
    height, width = parts_HW.shape
    scale = max(1.0, max(height, width) / _SIDE)
    small = resize_parts(parts_HW, (max(1, round(height / scale)), max(1, round(width / scale))))
    pixels = _pixels(small, width / small.shape[1], height / small.shape[0])
    joints = np.full((len(JOINTS), 2), np.nan)

    def put(name: str, group: str, reference: np.ndarray, far: bool) -> None:
        if group in pixels and not np.isnan(reference).any():
            joints[JOINT[name]] = _end(pixels[group], reference, far)

    nowhere = np.full(2, np.nan)
    head_2 = pixels["head"].mean(0) if "head" in pixels else nowhere
    torso_2 = pixels["torso"].mean(0) if "torso" in pixels else nowhere
    put("neck", "torso", head_2, False)
    put("pelvis", "torso", joints[JOINT["neck"]], True)
    put("chin", "head", torso_2, False)
    put("crown", "head", joints[JOINT["chin"]], True)
    top_2 = torso_2 if np.isnan(head_2).any() else joints[JOINT["neck"]]
    for side in SIDES:
        for upper, lower, first, middle, last in LIMBS.values():
            put(f"{first}.{side}", f"{upper}.{side}", top_2, False)
            put(f"{middle}.{side}", f"{lower}.{side}", top_2, False)  # where the upper part is covered
            put(f"{middle}.{side}", f"{upper}.{side}", joints[JOINT[f"{first}.{side}"]], True)
            put(f"{last}.{side}", f"{lower}.{side}", joints[JOINT[f"{middle}.{side}"]], True)
    return joints, _lengths(joints, pixels, _cut(small))


def count_alike(groups_HW: np.ndarray) -> np.ndarray:
    """Return [H, W] int8: how many of the eight pixels around each are of the same group."""
    height, width = groups_HW.shape
    around = np.pad(groups_HW, 1, mode="edge")
    alike_HW = np.zeros((height, width), np.int8)
    for dy, dx in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        alike_HW += around[dy : dy + height, dx : dx + width] == groups_HW
    return alike_HW


def _pixels(parts_HW: np.ndarray, step_x: float, step_y: float) -> dict[str, np.ndarray]:
    """Return centers [N, 2] (x, y) of each group's pixels."""
    group_HW = GROUP_OF_PART[parts_HW]
    rows, columns = np.nonzero((group_HW >= 0) & (count_alike(group_HW) >= _NEIGHBORS))
    centers_N2 = np.stack([(columns + 0.5) * step_x, (rows + 0.5) * step_y], 1)
    group_N = group_HW[rows, columns]
    fewest = max(_FEWEST, _SMALLEST * len(centers_N2))
    found = {name: centers_N2[group_N == index] for index, name in enumerate(GROUPS)}
    return {name: centers for name, centers in found.items() if len(centers) >= fewest}


def _cut(parts_HW: np.ndarray) -> set[str]:
    """Return groups that reach the border of the map, or nearly: some maps stop a few pixels before it."""
    m = max(1, round(_MARGIN * max(parts_HW.shape)))
    border = [parts_HW[:m], parts_HW[-m:], parts_HW[:, :m], parts_HW[:, -m:]]
    touching = set(np.concatenate([GROUP_OF_PART[part].reshape(-1) for part in border]).tolist())
    return {name for index, name in enumerate(GROUPS) if index in touching}


def _end(pixels_N2: np.ndarray, reference_2: np.ndarray, far: bool) -> np.ndarray:
    """Return the middle of the pixels nearest to a point, or farthest from it. [2]"""
    distance = ((pixels_N2 - reference_2) ** 2).sum(1)
    count = max(3, int(_END * len(pixels_N2)))
    return pixels_N2[np.argsort(-distance if far else distance, kind="stable")[:count]].mean(0)


def _lengths(joints: np.ndarray, pixels: dict[str, np.ndarray], cut: set[str]) -> np.ndarray:
    lengths = np.full(len(LENGTHS), np.nan)

    def put(name: str, group: str, start: str, stop: str) -> None:
        if group in pixels and group not in cut:
            length = np.linalg.norm(joints[JOINT[stop]] - joints[JOINT[start]])
            lengths[LENGTHS.index(name)] = np.fmax(lengths[LENGTHS.index(name)], length)

    put("head", "head", "chin", "crown")
    put("torso", "torso", "neck", "pelvis")
    if not np.isnan(lengths[LENGTHS.index("torso")]):
        along = joints[JOINT["pelvis"]] - joints[JOINT["neck"]]
        across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
        lengths[LENGTHS.index("width")] = 4 * float((pixels["torso"] @ across).std())
    for upper, lower, first, middle, last in LIMBS.values():
        for side in SIDES:
            put(upper, f"{upper}.{side}", f"{first}.{side}", f"{middle}.{side}")
            put(lower, f"{lower}.{side}", f"{middle}.{side}", f"{last}.{side}")
    return lengths


@dataclass(frozen=True)
class Skeleton:
    """A person over a clip, in pixels."""

    joints_FJ2: np.ndarray
    """Per frame, smoothed over time; NaN where not seen."""
    lengths_L: np.ndarray
    """Lengths of LENGTHS; NaN where never seen whole."""

    def beginning(self, joints: list[int]) -> float:
        """Return the mean x of some joints in the first frame that shows them all; NaN if none does."""
        x = self.joints_FJ2[:, joints, 0]
        x = x[~np.isnan(x).any(1)]
        return float(x[0].mean()) if len(x) else float("nan")

    @property
    def upright(self) -> float:
        """y of the neck when the person stands upright: in the first frame, unless they crouch there."""
        y = self.joints_FJ2[:, JOINT["neck"], 1]
        y = y[~np.isnan(y)]
        if not len(y):
            return float("nan")
        high = float(np.quantile(y, 0.1))
        crouching = y[0] - high > _CROUCHED * np.nan_to_num(self.lengths_L[LENGTHS.index("torso")])
        return high if crouching else float(y[0])

    def lowest(self, *joints: str) -> float:
        """Return the usual height of the lowest of some joints."""
        y = self.joints_FJ2[:, [JOINT[joint] for joint in joints], 1]
        y = y[~np.isnan(y).all(1)]  # [frames, joints]
        return float(np.median(np.nanmax(y, axis=1))) if len(y) else float("nan")


def measure_skeleton(maps: Iterable[np.ndarray]) -> Skeleton:
    """Return the skeleton of the person in part maps [H, W], one pass, holding one map at a time."""
    found = [find_joints(parts_HW) for parts_HW in maps]
    joints_FJ2 = np.stack([joints for joints, _ in found])
    lengths_FL = np.stack([lengths for _, lengths in found])
    enough = (~np.isnan(lengths_FL)).sum(0) >= max(1, _OFTEN * len(found))
    lengths_L = np.full(len(LENGTHS), np.nan)
    for index in np.flatnonzero(enough):
        known = lengths_FL[~np.isnan(lengths_FL[:, index]), index]
        lengths_L[index] = np.quantile(known, _QUANTILE)
    return Skeleton(_steady(joints_FJ2), lengths_L)


def _steady(joints_FJ2: np.ndarray) -> np.ndarray:
    """Return joints averaged over five frames around each (1 2 3 2 1), leaving those not seen out."""
    total, weights = np.zeros_like(joints_FJ2), np.zeros((*joints_FJ2.shape[:2], 1))
    count = len(joints_FJ2)
    for offset, weight in ((-2, 1), (-1, 2), (0, 3), (1, 2), (2, 1)):
        near = joints_FJ2[np.clip(np.arange(count) + offset, 0, count - 1)]
        seen = ~np.isnan(near[..., :1])
        total += weight * np.where(seen, near, 0)
        weights += weight * seen
    steady = total / np.maximum(weights, 1)
    return np.where(np.isnan(joints_FJ2), np.nan, steady)
