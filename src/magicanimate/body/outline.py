"""Refines a fitted body until its outlines lie on those of label maps: part maps, or the mask of a whole person.

Iterated closest points on contours: the body is drawn, each pixel of its contours looks for the nearest pixel of a
contour with the same label and direction in the map, and both are pulled together along the contour's normal.

Shape legend: F frames, H W pixels, V vertices, N contour pixels of one frame, P points of a frame, J joints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from magicanimate.body.bones import BONE_INDEX, Proportions, stretches
from magicanimate.body.draw import surface_parts
from magicanimate.body.kinematics import joint_frames
from magicanimate.body.kinematics import points as rig_points
from magicanimate.body.motion import BodyMotion
from magicanimate.body.raster import rasterize
from magicanimate.body.refinement import begin, refine, result, transforms
from magicanimate.body.rig import triangles
from magicanimate.body.skinning import skin, skin_weights, to_screen
from magicanimate.body.track import Track
from magicanimate.body.unknowns import Unknowns, falling_rate, habits
from magicanimate.parts.densepose import HANDS, HEAD
from magicanimate.parts.skeleton import GROUP_OF_PART

_SIDE = 192  # pixels of the longer side at which contours are compared
_LOOKS, _MASK_LOOKS, _STEPS = 10, 5, 14  # how often contours are matched anew; of the optimizer after each
_FROM_BODY, _FROM_MAP = 220, 160  # points of a frame
_REACH = 0.12  # of the figure: farther contours do not belong together
_TURNED = 0.4  # cosine of the angle between normals of contours that belong together
_NORMAL = 0.03  # of the figure: distance that counts as much as normals at a right angle
_ALONG = 0.15  # weight of distances along the contour
_BEND = 0.015  # of the figure: distances beyond it count less and less
_PARTS_WEIGHT, _MASK_WEIGHT = 1000.0, 200.0  # of distances against habits
_MASK_HELD = 0.5  # of the joints' places beside a mask, which takes in loose clothes, and leaks
_NEARER = 0.03  # meters: what is seen beside a contour is not that much nearer, or it is that one's contour
_HELD = 0.02  # of the figure: how far points of the rig move at a cost of 1, where they are held
_THICK = 0.5  # spread of the logarithm of girths
_APART = 1e3  # between labels, in units of the figure


@dataclass(frozen=True)
class _Contours:
    """Contour pixels of a label map."""

    at_N2: np.ndarray
    """float32 x, y."""
    normal_N2: np.ndarray
    """Unit vectors that point out of the label's region."""
    label_N: np.ndarray
    free_N: np.ndarray
    """bool: nothing is beside it."""


@dataclass(frozen=True)
class _Pairs:
    """Points of the body and where they belong, padded to the same number in each frame."""

    weights_FPJ: Tensor
    rest_FP3: Tensor
    at_FP2: Tensor
    """Positions in focal lengths from the picture's middle, y up."""
    normal_FP2: Tensor
    trust_FP: Tensor
    figure: float


@torch.inference_mode(False)  # see `fit_track`
def refine_to_parts_outlines(motion: BodyMotion, maps: Sequence[np.ndarray]) -> BodyMotion:
    """Refine pose, place, girths and lengths of a body.

    Args:
        motion: fitted roughly.
        maps: part maps [H, W] uint8 of its frames.
    """
    groups = (GROUP_OF_PART + 1).astype(np.uint8)
    return _refined(motion, [groups[parts_HW] for parts_HW in maps], groups[surface_parts()], _PARTS_WEIGHT, 0.0)


@torch.inference_mode(False)  # see `fit_track`
def refine_to_masks(motion: BodyMotion, track: Track) -> BodyMotion:
    """Refine pose, place and girths of a body to a track's masks, where it has them; its joints stay nearly.

    Head and hands do not count: hair, hats, and what hands hold belong to masks too.
    """
    masks = [track.masks(frame) for frame in range(len(track))] if track.masks else []
    size = next((mask_HW.shape for mask_HW in masks if mask_HW is not None), None)
    if size is None:
        return motion
    maps = [np.zeros(size, np.uint8) if mask_HW is None else mask_HW.astype(np.uint8) for mask_HW in masks]
    counted_V = (~np.isin(surface_parts(), (*HANDS, *HEAD))).astype(np.uint8)
    return _refined(motion, maps, counted_V, _MASK_WEIGHT, _MASK_HELD)


def _refined(
    motion: BodyMotion, maps: Sequence[np.ndarray], label_V: np.ndarray, weight: float, held: float
) -> BodyMotion:
    """Refine a body to label maps.

    Args:
        motion: fitted roughly.
        maps: labels [H, W] uint8 of its frames, 0: nothing.
        label_V: the label of each vertex of the body; contours of those with 0 are not compared.
        weight: of distances against habits.
        held: how much the rig's points stay where they are seen; lengths stay then, too.
    """
    return refine(
        motion,
        lambda part, frames, first: _solve(
            part, [_shrunk(maps[index]) for index in frames], label_V, weight, held, first=first
        ),
    )


def _shrunk(label_HW: np.ndarray) -> np.ndarray:
    """Return a map with about _SIDE pixels on its longer side."""
    height, width = label_HW.shape
    scale = min(1.0, _SIDE / max(height, width))
    rows, columns = (
        ((np.arange(max(1, round(n * scale))) + 0.5) * n / max(1, round(n * scale))).astype(int)
        for n in (height, width)
    )
    return label_HW[rows[:, None], columns]


def _solve(
    motion: BodyMotion, maps: Sequence[np.ndarray], label_V: np.ndarray, weight: float, held: float, *, first: bool
) -> BodyMotion:
    """Optimize some frames with Adam; the body's shape changes only with the `first` ones."""
    wanted = [_contours(label_HW) for label_HW in maps]
    unknowns, girths = begin(motion, lengths=first and not held, girths=first)
    groups = [{"params": [unknowns.pose_FP], "lr": 0.04}, {"params": [unknowns.position_F3], "lr": 0.012}]
    if first:
        groups.append({"params": [girths, *([] if held else [unknowns.log_lengths])], "lr": 0.02})
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.95))
    looks = _MASK_LOOKS if held else _LOOKS  # masks say less
    seen_FS3 = motion.points()
    seen_FS2 = torch.from_numpy(seen_FS3[..., [0, 2]] / seen_FS3[..., 1:2])
    schedule = falling_rate(optimizer, looks * _STEPS, 0.05)
    with torch.enable_grad():
        for _ in range(looks):
            pairs = _matched(result(motion, unknowns, girths), wanted, maps[0].shape, label_V)
            for _ in range(_STEPS):
                optimizer.zero_grad()
                loss = weight * _distance(unknowns, girths, motion.shape, pairs) + habits(unknowns, 1 / motion.fps)
                if held:
                    loss = loss + held * _moved(unknowns, motion.shape, seen_FS2, pairs.figure)
                (loss + 0.5 * (girths / _THICK).square().sum()).backward()
                optimizer.step()
                schedule.step()
            with torch.no_grad():  # hips are as thick as the trunk above them
                girths[BONE_INDEX["hips"]] = girths[BONE_INDEX["trunk"]]
    return result(motion, unknowns, girths)


def _moved(unknowns: Unknowns, body: Proportions, seen_FS2: Tensor, figure: float) -> Tensor:
    """Return the mean square of how far the rig's points are from where they were seen, in units of _HELD."""
    stretch = stretches(unknowns.log_lengths.exp(), body.rest)
    frames = joint_frames(unknowns.pose_FP, unknowns.place(), body.rest, stretch)
    points_FS3 = rig_points(*frames, body.rest, stretch)
    away = points_FS3[..., [0, 2]] / points_FS3[..., 1:2].clamp_min(0.05) - seen_FS2
    return (away / (figure * _HELD)).square().sum(-1).mean()


def _contours(label_HW: np.ndarray, depth_HW: np.ndarray | None = None) -> _Contours:
    """Find the contours of a map's regions, except along its border; with depths, only those of what is in front."""
    height, width = label_HW.shape
    inner = label_HW[2:-2, 2:-2]
    steps = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if (y, x) != (0, 0)]
    different = np.stack([label_HW[2 + y : height - 2 + y, 2 + x : width - 2 + x] != inner for y, x in steps])
    cross = [steps.index(step) for step in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    rows, columns = np.nonzero(different[cross].any(0) & (inner > 0))
    away_SN = different[:, rows, columns]
    if depth_HW is not None:
        near_SN = np.stack([depth_HW[rows + 2 + y, columns + 2 + x] for y, x in steps])
        own_N = depth_HW[rows + 2, columns + 2]
        front_N = (~away_SN | (near_SN > own_N - _NEARER)).all(0)
        rows, columns, away_SN = rows[front_N], columns[front_N], away_SN[:, front_N]
    normal_N2 = np.array([(x, y) for y, x in steps], np.float32).T @ away_SN
    normal_N2 = (normal_N2 / np.maximum(np.linalg.norm(normal_N2, axis=0), 1e-6)).T
    beside_SN = np.stack([label_HW[rows + 2 + y, columns + 2 + x] for y, x in steps])
    free_N = ((beside_SN == 0) | ~away_SN).all(0)
    at_N2 = np.stack([columns + 2.5, rows + 2.5], 1).astype(np.float32)
    return _Contours(at_N2, normal_N2.astype(np.float32), label_HW[rows + 2, columns + 2], free_N)


@torch.no_grad()
def _matched(motion: BodyMotion, wanted: Sequence[_Contours], size: tuple[int, int], label_V: np.ndarray) -> _Pairs:
    """Draw the body and pair its contours with those wanted."""
    scale = size[0] / motion.size[0]
    count = _FROM_BODY + _FROM_MAP
    weights_VJ, rest_V3, all_T3 = skin_weights(), motion.shape.rest.vertices, triangles()
    shape = (len(motion), count)
    weights = np.zeros((*shape, weights_VJ.shape[1]), np.float32)
    rest = np.zeros((*shape, 3), np.float32)
    at, normal = np.zeros((*shape, 2), np.float32), np.zeros((*shape, 2), np.float32)
    trust = np.zeros(shape, np.float32)
    extents = [np.ptp(contours.at_N2, axis=0).max() for contours in wanted if len(contours.at_N2)]
    figure = max(float(np.median(extents)), 8.0) if extents else float(max(size))
    for f, transforms_J34 in enumerate(motion.transforms()):
        screen_V3 = to_screen(skin(weights_VJ, transforms_J34, rest_V3), motion.focal * scale, size)
        raster = rasterize(screen_V3, all_T3, size)
        nearest_HW = np.take_along_axis(raster.corners_HW3, raster.barycentric_HW3.argmax(2)[..., None], 2)[..., 0]
        drawn_HW = np.where(raster.on_HW, label_V[nearest_HW], 0).astype(np.uint8)
        own, other = _contours(drawn_HW, raster.depth_HW), wanted[f]
        mine, theirs = _pair(own, other, figure)
        if not len(mine):
            continue
        columns, rows = own.at_N2[mine].astype(int).T
        n = len(mine)
        weights[f, :n], rest[f, :n] = (raster.sample(values, rows, columns) for values in (weights_VJ, rest_V3))
        at[f, :n], normal[f, :n], trust[f, :n] = other.at_N2[theirs], other.normal_N2[theirs], 1
    middle, focal = np.array([size[1] / 2, size[0] / 2], np.float32), motion.focal * scale
    upward = np.array([1, -1], np.float32)
    at, normal = (at - middle) / focal * upward, normal * upward
    weights_FPJ, rest_FP3, at_FP2, normal_FP2, trust_FP = map(torch.from_numpy, (weights, rest, at, normal, trust))
    return _Pairs(weights_FPJ, rest_FP3, at_FP2, normal_FP2, trust_FP, figure / focal)


def _pair(own: _Contours, other: _Contours, figure: float) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of contour pixels of the body and of the map that belong together, as many of both."""
    if not len(own.at_N2) or not len(other.at_N2):
        return np.zeros(0, int), np.zeros(0, int)
    features = [
        np.concatenate(
            [each.at_N2 / figure, each.normal_N2 * (_NORMAL / math.sqrt(2)), each.label_N[:, None] * _APART], 1
        )
        for each in (own, other)
    ]
    asking = _spread(np.arange(len(own.at_N2)), _FROM_BODY)
    far, found = cKDTree(features[1]).query(features[0][asking], distance_upper_bound=_REACH)
    known = np.isfinite(far)
    mine, theirs = asking[known], found[known]
    asking = _spread(np.flatnonzero(other.free_N), _FROM_MAP)
    if len(asking):
        far, found = cKDTree(features[0]).query(features[1][asking], distance_upper_bound=_REACH)
        known = np.isfinite(far)
        mine, theirs = np.concatenate([mine, found[known]]), np.concatenate([theirs, asking[known]])
    alike = (own.normal_N2[mine] * other.normal_N2[theirs]).sum(1) > _TURNED
    return mine[alike], theirs[alike]


def _spread(index: np.ndarray, most: int) -> np.ndarray:
    """Choose at most so many of some indices, evenly spread."""
    return index[np.linspace(0, len(index) - 1, min(most, len(index))).round().astype(int)] if len(index) else index


def _distance(unknowns: Unknowns, girths: Tensor, body: Proportions, pairs: _Pairs) -> Tensor:
    """Return the mean robust distance of the paired points, in units of the figure."""
    transforms_FJ34 = transforms(unknowns, girths, body)
    matrices = (pairs.weights_FPJ @ transforms_FJ34.flatten(2)).unflatten(2, (3, 4))
    points = (matrices[..., :3] @ pairs.rest_FP3[..., None]).squeeze(-1) + matrices[..., 3]
    away = (points[..., [0, 2]] / points[..., 1:2].clamp_min(0.05) - pairs.at_FP2) / pairs.figure
    across = (away * pairs.normal_FP2).sum(-1)
    square = across.square() + _ALONG**2 * (away.square().sum(-1) - across.square())
    robust = (1 + square / _BEND**2).sqrt() - 1
    return (robust * pairs.trust_FP).sum() / pairs.trust_FP.sum().clamp_min(1) * _BEND
