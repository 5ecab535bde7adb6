"""Refines a fitted body until its parts lie where part maps show them.

Points of each part in the maps and visible points of the same part of the body's surface attract each other (iterated
closest points, by part), while the body keeps its habits: limits of joints, usual proportions, smooth motion.

Shape legend: F frames, H W pixels, V vertices, A parts, K points of a part in a map, M points of it on the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from magicanimate.body.bones import Proportions
from magicanimate.body.draw import surface_parts
from magicanimate.body.motion import BodyMotion
from magicanimate.body.raster import rasterize
from magicanimate.body.refinement import begin, refine, result, transforms
from magicanimate.body.rig import triangles
from magicanimate.body.skinning import skin, skin_weights, to_screen
from magicanimate.body.unknowns import Unknowns, falling_rate, habits

_SIDE = 192  # pixels of the longer side at which maps are compared
_POINTS = 30  # K and M at most
_STEPS, _LOOKS = 100, 4  # of the optimizer; how often it is found out what is visible
_BEND = 0.02  # of the figure's size: distances beyond it count less and less
_WEIGHT = 150.0  # of distances against habits
_DEEP = 0.04  # meters: surface this far behind the nearest one is hidden
_THICK = 0.4  # spread of the logarithm of girths
_LEAST = 12  # pixels of a part in a map before it says anything


@dataclass
class _Targets:
    """Points of the parts in the maps of some frames, in focal lengths from the picture's middle."""

    at_FAK2: Tensor
    there_FAK: Tensor
    figure: float


@torch.inference_mode(False)  # see `fit_track`
def refine_to_parts(motion: BodyMotion, maps: Sequence[np.ndarray]) -> BodyMotion:
    """Refine a motion that was fitted to joints.

    Args:
        motion: fitted roughly.
        maps: part maps [H, W] uint8 of its frames.
    """
    return refine(motion, lambda part, frames, first: _solve(part, [maps[index] for index in frames], first))


@lru_cache(maxsize=1)
def _samples() -> tuple[np.ndarray, np.ndarray]:
    """Return vertices of each part [A, M], repeated where a part has few, and how often each counts [A, M] float32."""
    part_V = surface_parts()
    chosen, weight = [], []
    for part in range(1, 25):
        own = np.flatnonzero(part_V == part)
        picked = own[np.linspace(0, len(own) - 1, min(_POINTS, len(own))).round().astype(int)]
        chosen.append(np.resize(picked, _POINTS))
        weight.append(np.arange(_POINTS) < len(picked))
    return np.stack(chosen), np.stack(weight).astype(np.float32)


def _targets(motion: BodyMotion, maps: Sequence[np.ndarray]) -> _Targets:
    height, width = motion.size
    at = np.zeros((len(maps), 24, _POINTS, 2), np.float32)
    there = np.zeros((len(maps), 24, _POINTS), np.float32)
    extents = []
    for f, parts_HW in enumerate(maps):
        rows, columns = parts_HW.shape
        step = max(1, round(max(rows, columns) / _SIDE))
        small = parts_HW[step // 2 :: step, step // 2 :: step]
        ys, xs = np.nonzero(small)
        if len(ys):
            extents.append(max(np.ptp(ys), np.ptp(xs)) * step * height / rows)
        labels = small[ys, xs]
        x = ((xs * step + step / 2) * width / columns - width / 2) / motion.focal
        y = -((ys * step + step / 2) * height / rows - height / 2) / motion.focal
        for part in range(1, 25):
            own = np.flatnonzero(labels == part)
            if len(own) < _LEAST:
                continue
            picked = own[np.linspace(0, len(own) - 1, min(_POINTS, len(own))).round().astype(int)]
            at[f, part - 1, : len(picked)] = np.stack([x[picked], y[picked]], 1)
            there[f, part - 1, : len(picked)] = 1
    figure = float(np.median(extents)) / motion.focal if extents else 1.0
    return _Targets(torch.from_numpy(at), torch.from_numpy(there), figure)


def _solve(motion: BodyMotion, maps: Sequence[np.ndarray], first: bool) -> BodyMotion:
    """Optimize some frames with Adam; proportions change only with the `first` ones."""
    targets = _targets(motion, maps)
    unknowns, girths = begin(motion, lengths=first, girths=first)
    groups = [{"params": [unknowns.pose_FP], "lr": 0.03}, {"params": [unknowns.position_F3], "lr": 0.01}]
    if first:
        groups.append({"params": [unknowns.log_lengths, girths], "lr": 0.01})
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.95))
    schedule = falling_rate(optimizer, _STEPS, 0.05)
    visible = torch.zeros(1)
    with torch.enable_grad():
        for step in range(_STEPS):
            if step % (_STEPS // _LOOKS) == 0:
                visible = _visible(result(motion, unknowns, girths), targets)
            optimizer.zero_grad()
            loss = _WEIGHT * _distance(unknowns, girths, motion.shape, targets, visible)
            loss = loss + habits(unknowns, 1 / motion.fps) + 0.5 * (girths / _THICK).square().mean()
            loss.backward()
            optimizer.step()
            schedule.step()
    return result(motion, unknowns, girths)


def _distance(unknowns: Unknowns, girths: Tensor, body: Proportions, targets: _Targets, visible_FAM: Tensor) -> Tensor:
    """Return the mean robust distance between points of the maps and of the body, both ways."""
    transforms_FJ34 = transforms(unknowns, girths, body)
    index_AM = _samples()[0]
    weights = torch.from_numpy(skin_weights()[index_AM.ravel()])
    rest = torch.from_numpy(body.rest.vertices[index_AM.ravel()])
    matrices = torch.einsum("vj,fjab->fvab", weights, transforms_FJ34)
    points = (matrices[..., :3] @ rest[None, :, :, None]).squeeze(-1) + matrices[..., 3]
    at = points[..., [0, 2]] / points[..., 1:2].clamp_min(0.05)
    at_FAM2 = at.unflatten(1, index_AM.shape)
    with torch.no_grad():  # who is nearest to whom; distances to them alone are differentiated
        hidden = (1 - visible_FAM)[:, :, None] * 9 + (1 - targets.there_FAK)[..., None] * 9
        apart_FAKM = torch.cdist(targets.at_FAK2, at_FAM2) / targets.figure + hidden
        on_body_FAK, on_map_FAM = apart_FAKM.argmin(3), apart_FAKM.argmin(2)
    to_body = _apart(targets.at_FAK2, at_FAM2, on_body_FAK) / targets.figure
    to_map = _apart(at_FAM2, targets.at_FAK2, on_map_FAM) / targets.figure
    seen_FA1 = (visible_FAM.amax(2) * targets.there_FAK.amax(2))[..., None]
    return _mean(_robust(to_body), targets.there_FAK * seen_FA1) + _mean(_robust(to_map), visible_FAM * seen_FA1)


def _apart(from_2: Tensor, others_2: Tensor, index: Tensor) -> Tensor:
    """Return distances [F, A, N] from points to one chosen other point each."""
    chosen = others_2.gather(2, index[..., None].expand(*index.shape, 2))
    return ((from_2 - chosen).square().sum(-1) + 1e-12).sqrt()


def _robust(distance: Tensor) -> Tensor:
    """Return squares of small distances, growing ever more slowly beyond _BEND."""
    square = (distance / _BEND).square()
    return (1 + square).sqrt() - 1


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1) * _BEND


@torch.no_grad()
def _visible(motion: BodyMotion, targets: _Targets) -> Tensor:
    """Return points [F, A, M] of the body that are not hidden; all of a part that the maps show and the body hides."""
    index_AM, counts_AM = _samples()
    scale = _SIDE / max(motion.size)
    size = (round(motion.size[0] * scale), round(motion.size[1] * scale))
    out = np.zeros((len(motion), *index_AM.shape), np.float32)
    for f, transforms_J34 in enumerate(motion.transforms()):
        points_V3 = skin(skin_weights(), transforms_J34, motion.shape.rest.vertices)
        screen_V3 = to_screen(points_V3, motion.focal * scale, size)
        depth_HW = rasterize(screen_V3, triangles(), size).depth_HW
        x = np.clip(screen_V3[:, 0].astype(int), 0, size[1] - 1)
        y = np.clip(screen_V3[:, 1].astype(int), 0, size[0] - 1)
        inside_V = (screen_V3[:, 0] == np.clip(screen_V3[:, 0], 0, size[1])) & (
            screen_V3[:, 1] == np.clip(screen_V3[:, 1], 0, size[0])
        )
        front_V = inside_V & (screen_V3[:, 2] < depth_HW[y, x] + _DEEP)
        out[f] = front_V[index_AM] * counts_AM
    shown = torch.from_numpy(out)
    none = (shown.amax(2, keepdim=True) == 0) & (targets.there_FAK.amax(2, keepdim=True) > 0)
    return torch.where(none, torch.from_numpy(counts_AM)[None].expand_as(shown), shown)
