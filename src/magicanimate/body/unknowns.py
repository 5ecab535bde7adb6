"""Unknowns of a body's fit, and the habits of bodies that it keeps to.

Shape legend: F frames, P pose numbers, A angles, B bones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magicanimate.body.bones import BONES
from magicanimate.body.kinematics import TURN, limits

_LENGTH_SPREAD = 0.12  # of the logarithm of a bone's length; less where the track says little about it
_SMALL_SPREADS = {"hands": 0.04, "feet": 0.06, "head": 0.08}


@dataclass
class Unknowns:
    """Unknowns of a fit."""

    pose_FP: Tensor
    position_F3: Tensor  # right, log of the distance, up; the first and last per distance
    log_lengths: Tensor

    def place(self) -> Tensor:
        distance = self.position_F3[:, 1].exp()
        return torch.stack([self.position_F3[:, 0] * distance, distance, self.position_F3[:, 2] * distance], 1)


def falling_rate(optimizer: torch.optim.Optimizer, steps: int, least: float) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a schedule from the optimizer's learning rates down to the share `least` of them, along half a cosine."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: least + (1 - least) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )


def habits(unknowns: Unknowns, frame_seconds: float) -> Tensor:
    """Return the cost of unusual bodies: beyond their limits, far from rest, jerky, of unusual proportions."""
    bounds = limits()
    angle = unknowns.pose_FP[:, TURN:]
    beyond = (angle - bounds["high"]).clamp_min(0) + (bounds["low"] - angle).clamp_min(0)
    usual = ((angle - bounds["usual"]) / bounds["spread"]).square()
    loss = 20 * beyond.square().sum(1).mean() + 0.01 * usual.sum(1).mean()
    spreads = torch.tensor([_SMALL_SPREADS.get(bone, _LENGTH_SPREAD) for bone in BONES])
    loss = loss + 0.5 * (unknowns.log_lengths / spreads).square().mean()
    upright = (unknowns.pose_FP[:, :TURN].unflatten(1, (2, 3)).norm(dim=-1) - 1).square().sum(1).mean()
    loss = loss + upright
    if len(angle) > 2:
        rate = 0.04 / frame_seconds  # accelerations are compared at 25 frames a second
        second = unknowns.pose_FP[2:] - 2 * unknowns.pose_FP[1:-1] + unknowns.pose_FP[:-2]
        second_place = unknowns.position_F3[2:] - 2 * unknowns.position_F3[1:-1] + unknowns.position_F3[:-2]
        loss = loss + rate**2 * (2 * second.square().sum(1).mean() + 50 * second_place.square().sum(1).mean())
    return loss
