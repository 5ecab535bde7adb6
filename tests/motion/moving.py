"""A body that moves, for tests."""

from __future__ import annotations

import numpy as np

from magicanimate.body.bones import BONES, Proportions
from magicanimate.body.kinematics import POSE_NUMBERS, TURN, limits, turn_from_rotation
from magicanimate.body.motion import BodyMotion


def dancer(frames: int = 40, fps: float = 20.0, seed: int = 0) -> BodyMotion:
    """Somebody of unusual proportions who turns a little, steps aside and moves every joint, smoothly."""
    draw = np.random.default_rng(seed)
    lengths = np.exp(draw.normal(0, 0.06, len(BONES))).astype(np.float32)
    shape = Proportions(Proportions.usual().sliders, lengths, np.ones(len(BONES), np.float32))
    time = np.arange(frames)[:, None] / frames
    spread = limits()["spread"].numpy()
    waves = np.sin(2 * np.pi * (time * draw.uniform(0.4, 1.2, spread.size) + draw.uniform(0, 1, spread.size)))
    pose = np.zeros((frames, POSE_NUMBERS), np.float32)
    pose[:, TURN:] = 0.6 * waves * spread
    turn = 0.5 * np.sin(3 * time[:, 0])
    zero, one = np.zeros(frames), np.ones(frames)
    rotation = np.array([[np.cos(turn), -np.sin(turn), zero], [np.sin(turn), np.cos(turn), zero], [zero, zero, one]])
    pose[:, :TURN] = turn_from_rotation(rotation.transpose(2, 0, 1))
    position = np.concatenate([0.4 * time, 4 + 0.3 * np.sin(5 * time), 0.05 * np.cos(9 * time)], 1)
    return BodyMotion(shape, pose, position.astype(np.float32), 700.0, (512, 512), fps, np.ones(frames, bool))
