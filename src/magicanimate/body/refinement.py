"""Shares between the refinements of a fitted body what they have in common; what they compare is theirs.

Shape legend: F frames, J joints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from magicanimate.body.bones import Proportions, stretches
from magicanimate.body.kinematics import joint_frames, skin_transforms
from magicanimate.body.motion import BodyMotion
from magicanimate.body.smoothing import runs
from magicanimate.body.unknowns import Unknowns

_TOGETHER = 120  # frames


def refine(motion: BodyMotion, solve: Callable[[BodyMotion, range, bool], BodyMotion]) -> BodyMotion:
    """Refine a motion some frames at a time.

    Args:
        motion: fitted roughly.
        solve: takes some of its frames, their numbers, and whether the body's shape may change with them.
    """
    shape, pose, position = motion.shape, motion.pose_FP.copy(), motion.position_F3.copy()
    for run in runs(motion.present_F):
        for start in range(run.start, run.stop, _TOGETHER):
            some = slice(start, min(start + _TOGETHER, run.stop))
            part = replace(motion.only(some), shape=shape, pose_FP=pose[some], position_F3=position[some])
            solved = solve(part, range(some.start, some.stop), start == run.start)
            shape, pose[some], position[some] = solved.shape, solved.pose_FP, solved.position_F3
    return replace(motion, shape=shape, pose_FP=pose, position_F3=position)


def begin(motion: BodyMotion, *, lengths: bool, girths: bool) -> tuple[Unknowns, Tensor]:
    """Make unknowns of a motion, and logarithms of girths, to be differentiated.

    Args:
        motion: where they begin.
        lengths, girths: whether these may change.
    """
    position = motion.position_F3.copy()
    position[:, [0, 2]] /= position[:, 1:2]
    position[:, 1] = np.log(position[:, 1])
    pose = torch.from_numpy(motion.pose_FP.copy()).requires_grad_()
    place = torch.from_numpy(position).requires_grad_()
    log_lengths = torch.from_numpy(np.log(motion.shape.lengths)).requires_grad_(lengths)
    log_girths = torch.from_numpy(np.log(motion.shape.girths)).requires_grad_(girths)
    return Unknowns(pose, place, log_lengths), log_girths


def result(motion: BodyMotion, unknowns: Unknowns, log_girths: Tensor) -> BodyMotion:
    """Return the motion with what was solved for."""
    shape = Proportions(
        motion.shape.sliders, unknowns.log_lengths.detach().exp().numpy(), log_girths.detach().exp().numpy()
    )
    pose, place = unknowns.pose_FP.detach().numpy().copy(), unknowns.place().detach().numpy().copy()
    return replace(motion, shape=shape, pose_FP=pose, position_F3=place)


def transforms(unknowns: Unknowns, log_girths: Tensor, body: Proportions) -> Tensor:
    """Return the transforms of the rest shape's skin to each frame's, differentiable. [F, J, 3, 4]."""
    lengths = unknowns.log_lengths.exp()
    plain, thick = stretches(lengths, body.rest), stretches(lengths, body.rest, log_girths.exp())
    frames = joint_frames(unknowns.pose_FP, unknowns.place(), body.rest, plain)
    return skin_transforms(*frames, body.rest, thick)
