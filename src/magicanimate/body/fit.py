"""Fitting a body to a track: its proportions once, its pose and place in every frame.

Everything is one least-squares-like problem, solved by Adam over all frames at once; long tracks go in stretches that
overlap. Shape legend: F frames, J joints of the track, M of them that the rig knows, S points of the rig, P pose
numbers, A angles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from magicanimate.body.bones import Proportions, stretches
from magicanimate.body.kinematics import (
    POSE_NUMBERS,
    TURN,
    joint_frames,
    limits,
    points,
    turn_from_rotation,
)
from magicanimate.body.motion import BodyMotion
from magicanimate.body.outline import refine_to_masks
from magicanimate.body.rig import POINT_INDEX
from magicanimate.body.track import RIG_POINTS, Track
from magicanimate.body.unknowns import Unknowns, falling_rate, habits
from magicanimate.errors import InputError
from magicanimate.progress import Progress

FOCAL = 1.6
"""Focal length in picture heights that is assumed: between a telephone's and a portrait lens."""
_STEPS = 240
_STRETCH = 400  # frames that are fitted together
_OVERLAP = 25
_FAR_APART = 1e3  # seconds between frames that need not be alike
_SAMPLE = 60  # frames from which the proportions are fitted
_SEEN_WELL = 0.3  # confidence
_SHOULDERS = 0.6  # their width, seen from the front, in heights of the trunk
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
# Directions that are compared with a track's world coordinates
_SEGMENTS = (
    *((f"right_{name}", f"left_{name}") for name in ("shoulder", "hip", "ear")),
    *(
        (f"{side}_{a}", f"{side}_{b}")
        for side in ("left", "right")
        for a, b in (
            ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"),
            ("heel", "foot_index"), ("ear", "eye"), ("wrist", "index"), ("wrist", "pinky"), ("index", "pinky"),
        )
    ),
)  # fmt: skip


@dataclass
class _Problem:
    """Observations that a stretch of frames has to agree with, as tensors."""

    at_FM2: Tensor  # pixels from the picture's middle, y up, in focal lengths
    trust_FM: Tensor  # 0..1
    rows_M: list[int]  # points of the rig
    directions_FD3: Tensor | None  # unit vectors, and below how much each is trusted
    direction_trust_FD: Tensor | None
    ends_D2: list[tuple[int, int]]  # points of the rig
    figure: float  # the figure's size in focal lengths, the unit of errors


def _problem(track: Track, frames: np.ndarray, focal: float, figure: float) -> _Problem:
    columns = _known(track)
    index = {track.names[i]: i for i in columns}
    height, width = track.size
    seen = torch.from_numpy(track.points_FJ3[frames]).float()
    at = (seen[:, columns, :2] - torch.tensor([width / 2, height / 2])) / focal * torch.tensor([1.0, -1.0])
    trust = seen[:, columns, 2].clamp(0, 1)
    directions = directions_trust = None
    ends: list[tuple[int, int]] = []
    if track.world_FJ3 is not None:
        pairs = [(a, b) for a, b in _SEGMENTS if a in index and b in index]
        ends = [(POINT_INDEX[RIG_POINTS[a]], POINT_INDEX[RIG_POINTS[b]]) for a, b in pairs]
        a, b = ([index[pair[k]] for pair in pairs] for k in (0, 1))
        world = torch.from_numpy(track.world_FJ3[frames]).float()
        directions = torch.nn.functional.normalize(world[:, b] - world[:, a], dim=-1)
        directions_trust = torch.minimum(seen[:, a, 2], seen[:, b, 2]).clamp(0.1, 1) * (trust.amax(1, keepdim=True) > 0)
    return _Problem(
        at, trust, [POINT_INDEX[RIG_POINTS[track.names[i]]] for i in columns], directions, directions_trust, ends,
        figure / focal,
    )  # fmt: skip


def _known(track: Track) -> list[int]:
    """Return columns of the joints that the rig knows."""
    columns = [i for i, name in enumerate(track.names) if name in RIG_POINTS]
    if not columns:
        raise InputError("The track has no joints that the body knows, such as left_shoulder or right_knee.")
    return columns


def _figure_size(track: Track) -> float:
    """Return the usual extent of the joints that are seen well, in pixels."""
    seen = track.points_FJ3[:, _known(track)]
    good = (seen[..., 2] > _SEEN_WELL)[..., None]
    extent = np.where(good, seen[..., :2], -np.inf).max(1) - np.where(good, seen[..., :2], np.inf).min(1)
    extent = extent.max(-1)
    usable = np.isfinite(extent) & (extent > 1)
    if not usable.any():
        raise InputError("The track has no frame in which a body can be made out.")
    return float(np.median(extent[usable]))


def _first_guess(track: Track, frames: np.ndarray, problem: _Problem, body: Proportions) -> Unknowns:
    """Start upright, arms hanging, facing as shoulders and hips say, at the distance that the trunk's size says."""
    count = len(frames)
    pose = torch.zeros(count, POSE_NUMBERS)
    pose[:, TURN:] = limits()["usual"]
    turns = _facing(track, frames)
    pose[:, :TURN] = torch.from_numpy(turn_from_rotation(turns)).float()
    rest = torch.from_numpy(body.rest.points)[problem.rows_M]
    centered_rest = rest - rest.mean(0)
    weight = problem.trust_FM + 1e-4
    center = (problem.at_FM2 * weight[..., None]).sum(1) / weight.sum(1)[:, None]
    # least squares of the distance: spread of the rest pose against spread in the picture
    spread_seen = ((problem.at_FM2 - center[:, None]).square().sum(-1) * weight).sum(1)
    spread_rest = (centered_rest[:, [0, 2]].square().sum(-1) * weight).sum(1)
    distance = (spread_rest / spread_seen.clamp_min(1e-9)).sqrt().clamp(0.3, 60)
    distance = distance.median().expand(count)
    offset = (rest[:, [0, 2]] * weight[..., None]).sum(1) / weight.sum(1)[:, None]
    offset = offset - torch.from_numpy(body.rest.points[0, [0, 2]])
    place = center - offset / distance[:, None]
    position = torch.stack([place[:, 0], distance.log(), place[:, 1]], 1)
    return Unknowns(pose, position, torch.from_numpy(np.log(body.lengths)))


def _facing(track: Track, frames: np.ndarray) -> np.ndarray:
    """Return first rotations of the pelvis from the trunk's joints, in the world or in the picture. [F,3,3]."""
    at = [track.names.index(name) if name in track.names else -1 for name in _TORSO]
    if -1 in at:
        return np.tile(np.eye(3), (len(frames), 1, 1))
    if track.world_FJ3 is None:
        return _facing_in_picture(track, frames, at)
    ls, rs, lh, rh = (track.world_FJ3[frames, i] for i in at)
    across = (ls - rs) + (lh - rh)
    up = (ls + rs) - (lh + rh)
    across[np.linalg.norm(across, axis=1) < 1e-6] = (1, 0, 0)
    up[np.linalg.norm(up, axis=1) < 1e-6] = (0, 0, 1)
    x = across / np.linalg.norm(across, axis=1, keepdims=True)
    z = up - (up * x).sum(1, keepdims=True) * x
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-6)
    return np.stack([x, np.cross(z, x), z], -1)


def _facing_in_picture(track: Track, frames: np.ndarray, at: list[int]) -> np.ndarray:
    """Return turns about the vertical from how wide the shoulders look, and from where the nose is. [F,3,3]."""
    seen = track.points_FJ3[frames].astype(np.float64)
    ls, rs, lh, rh = (seen[:, i] for i in at)
    well = (seen[:, at[:2], 2] > _SEEN_WELL).all(1)
    whole = well & (seen[:, at[2:], 2] > _SEEN_WELL).all(1)
    if not well.any():
        return np.tile(np.eye(3), (len(frames), 1, 1))
    width = (ls - rs)[:, 0]
    tall = np.median(np.linalg.norm((ls + rs - lh - rh)[whole, :2], axis=1)) / 2 if whole.any() else 0.0
    frontal = max(_SHOULDERS * tall, float(np.quantile(np.abs(width[well]), 0.95)), 1e-6)
    turn = np.arccos(np.clip(width / frontal, -1, 1))  # 0: facing us, with the left side on the picture's right
    turn = np.interp(np.arange(len(turn)), np.flatnonzero(well), turn[well])
    if "nose" in track.names:
        nose = seen[:, track.names.index("nose")]
        aside = np.where(well & (nose[:, 2] > _SEEN_WELL), nose[:, 0] - (ls + rs)[:, 0] / 2, 0)
        turn *= np.where(_sums(aside, round(track.fps / 2)) < 0, -1, 1)
    cosine, sine, zero, one = np.cos(turn), np.sin(turn), np.zeros_like(turn), np.ones_like(turn)
    rows = ((cosine, -sine, zero), (sine, cosine, zero), (zero, zero, one))
    return np.stack([np.stack(row, -1) for row in rows], 1)


def _sums(values_F: np.ndarray, half: int) -> np.ndarray:
    """Return sums over the frames up to `half` before and after. [F]."""
    total = np.concatenate([[0], np.cumsum(values_F)])
    f = np.arange(len(values_F))
    return total[np.minimum(f + half + 1, len(values_F))] - total[np.maximum(f - half, 0)]


def _robust(error: Tensor, bend: float) -> Tensor:
    """Return the pseudo-Huber loss: half the square near 0, linear far beyond `bend`."""
    return bend**2 * ((1 + error.square() / bend**2).sqrt() - 1)


def _loss(unknowns: Unknowns, problem: _Problem, body: Proportions, frame_seconds: float) -> Tensor:
    """Return the mean over frames of what does not agree."""
    stretch = stretches(unknowns.log_lengths.exp(), body.rest)
    place = unknowns.place()
    found = points(*joint_frames(unknowns.pose_FP, place, body.rest, stretch), body.rest, stretch)
    at = found[:, problem.rows_M][..., [0, 2]] / found[:, problem.rows_M, 1:2].clamp_min(0.05)
    error = (at - problem.at_FM2).norm(dim=-1) / problem.figure
    loss = 400 * (problem.trust_FM * _robust(error, 0.03)).sum(1).mean()
    if problem.directions_FD3 is not None:
        a, b = ([pair[k] for pair in problem.ends_D2] for k in (0, 1))
        own = torch.nn.functional.normalize(found[:, b] - found[:, a], dim=-1)
        away = (own - problem.directions_FD3).square().sum(-1)
        loss = loss + 0.35 * (problem.direction_trust_FD * _robust(away.clamp_min(1e-9).sqrt(), 0.5)).sum(1).mean()
    return loss + habits(unknowns, frame_seconds)


def _solve(
    unknowns: Unknowns, problem: _Problem, body: Proportions, frame_seconds: float, steps: int, fit_lengths: bool
) -> Unknowns:
    """Optimize with Adam, from large steps to small ones."""
    pose = unknowns.pose_FP.clone().requires_grad_()
    position = unknowns.position_F3.clone().requires_grad_()
    lengths = unknowns.log_lengths.clone().requires_grad_(fit_lengths)
    groups = [{"params": [pose], "lr": 0.08}, {"params": [position], "lr": 0.03}]
    if fit_lengths:
        groups.append({"params": [lengths], "lr": 0.02})
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.95))
    schedule = falling_rate(optimizer, steps, 0.02)
    current = Unknowns(pose, position, lengths)
    with torch.enable_grad():  # whoever animates has gradients switched off
        for _ in range(steps):
            optimizer.zero_grad()
            _loss(current, problem, body, frame_seconds).backward()
            optimizer.step()
            schedule.step()
    return Unknowns(pose.detach(), position.detach(), lengths.detach())


@torch.inference_mode(False)  # whoever animates may have it switched on, and this differentiates
def fit_track(track: Track, progress: Progress | None = None) -> BodyMotion:
    """Fit a body to a track; to its masks too, where it has them.

    Raises:
        InputError: the track has no frame with a person, or no joints that the body knows.
    """
    present_F = track.seen_F
    frames = np.flatnonzero(present_F)
    if not frames.size:
        raise InputError("The track has no frame with a person in it.")
    focal = FOCAL * track.size[0]
    figure = _figure_size(track)
    body = _fit_proportions(track, frames, focal, figure)
    pose = np.zeros((len(track), POSE_NUMBERS), np.float32)
    position = np.zeros((len(track), 3), np.float32)
    done = 0
    for run in track.runs:
        for stretch, keep in _stretches_of(run):
            inside = np.arange(stretch.start, stretch.stop)
            problem = _problem(track, inside, focal, figure)
            start = _first_guess(track, inside, problem, body)
            solved = _solve(start, problem, body, 1 / track.fps, _STEPS, fit_lengths=False)
            kept = slice(keep.start - stretch.start, keep.stop - stretch.start)
            pose[keep], position[keep] = solved.pose_FP[kept].numpy(), solved.place()[kept].numpy()
            done += keep.stop - keep.start
            if progress:
                progress("fitting", done, len(frames))
    return refine_to_masks(BodyMotion(body, pose, position, focal, track.size, track.fps, present_F), track)


def _stretches_of(run: slice) -> list[tuple[slice, slice]]:
    """Cut a run into stretches to solve, with those frames of each that are kept."""
    out = []
    for start in range(run.start, run.stop, _STRETCH):
        keep = slice(start, min(start + _STRETCH, run.stop))
        out.append((slice(max(run.start, start - _OVERLAP), min(run.stop, keep.stop + _OVERLAP)), keep))
    return out


def _fit_proportions(track: Track, frames: np.ndarray, focal: float, figure: float) -> Proportions:
    """Return lengths of bones from frames spread over the track, each on its own."""
    body = Proportions.usual()
    sample = frames[np.unique(np.linspace(0, len(frames) - 1, _SAMPLE).round().astype(int))]
    problem = _problem(track, sample, focal, figure)
    start = _first_guess(track, sample, problem, body)
    solved = _solve(start, problem, body, _FAR_APART, _STEPS, fit_lengths=True)
    return replace(body, lengths=solved.log_lengths.exp().numpy())
