"""Edits of a body's motion: smoother, faster, mirrored, held, looped, one after the other. All return a new motion.

Shape legend: F frames, P pose numbers, A angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from magicanimate.body.kinematics import TURN, angles, rotation_from_turn, turn_from_rotation
from magicanimate.body.motion import BodyMotion
from magicanimate.body.smoothing import runs, smooth

_LOOP_SECONDS = 0.6
"""Time at a loop's end in which the motion goes over into its beginning, at most half of it."""
_JOIN_SECONDS = 0.4  # likewise from one motion to the next
_REFLECTION = np.array([-1.0, 1.0, 1.0])  # of the axes, left and right exchanged


def smoothed(body: BodyMotion, seconds: float) -> BodyMotion:
    """Smooth a motion: fit a parabola to each number of the pose over a window of so many seconds."""
    half = round(seconds * body.fps / 2)
    pose_FP, position_F3 = body.pose_FP.copy(), body.position_F3.copy()
    for run in runs(body.present_F):
        weights_F = np.ones(run.stop - run.start, np.float32)
        pose_FP[run] = smooth(pose_FP[run], weights_F, half)
        position_F3[run] = smooth(position_F3[run], weights_F, half)
    return _turned(replace(body, pose_FP=pose_FP, position_F3=position_F3))


def sped(body: BodyMotion, speed: float) -> BodyMotion:
    """Speed a motion up by a factor, at the same frame rate."""
    count = max(1, round(len(body) / speed))
    return _between(body, np.minimum(np.arange(count) * speed, len(body) - 1))


def mirrored(body: BodyMotion) -> BodyMotion:
    """Exchange left and right, in the pose and in the picture."""
    other, sign = _other_side()
    rotation = rotation_from_turn(torch.from_numpy(body.pose_FP[:, :TURN])).numpy()
    turn = turn_from_rotation(rotation * np.outer(_REFLECTION, _REFLECTION))
    pose = np.concatenate([turn, body.pose_FP[:, TURN:][:, other] * sign], 1)
    position = body.position_F3 * _REFLECTION
    return replace(body, pose_FP=pose.astype(np.float32), position_F3=position.astype(np.float32))


def held(body: BodyMotion, seconds: float) -> BodyMotion:
    """Hold the last pose for so many seconds."""
    last = np.flatnonzero(body.present_F)[-1]
    return body.only(np.concatenate([np.arange(len(body)), np.full(round(seconds * body.fps), last)]))


def looped(body: BodyMotion) -> BodyMotion:
    """Blend the end into the beginning, in place and speed: the first frame follows the last one.

    The last frames are blended with the beginning continued to before itself (reflected in the first pose).
    """
    count = min(round(_LOOP_SECONDS * body.fps), len(body) // 2)
    if count < 1 or not (body.present_F[0] and body.present_F[-count:].all() and body.present_F[: count + 1].all()):
        return body
    back = np.arange(count, 0, -1)
    share = _eased(1 - (back - 0.0) / (count + 1))
    pose_FP, position_F3 = body.pose_FP.copy(), body.position_F3.copy()
    for values, own in ((pose_FP, body.pose_FP), (position_F3, body.position_F3)):
        before = 2 * own[0] - own[back]
        values[-count:] += share[:, None] * (before - own[-count:])
    return _turned(replace(body, pose_FP=pose_FP, position_F3=position_F3))


def joined(bodies: Sequence[BodyMotion]) -> BodyMotion:
    """Join motions, each beginning where the one before it ends, blended from one to the next.

    All get the first one's body, camera and frame rate.
    """
    whole, *rest = bodies
    for body in rest:
        whole = _followed(whole, body)
    return whole


def _followed(first: BodyMotion, second: BodyMotion) -> BodyMotion:
    second = second.with_shape(first.shape)
    if second.fps != first.fps:
        second = _between(second, np.arange(0, len(second) - 0.5, second.fps / first.fps))
    count = max(1, min(round(_JOIN_SECONDS * first.fps), len(first), len(second)))
    lowest = [body.points()[body.present_F][..., 2].min() for body in (first, second)]
    shift = first.position_F3[-count] - second.position_F3[0]
    shift[2] = lowest[0] - lowest[1]
    share = _eased(np.arange(1, count + 1) / (count + 1))[:, None]
    pose = (1 - share) * first.pose_FP[-count:] + share * second.pose_FP[:count]
    moved_F3 = second.position_F3 + shift
    position = (1 - share) * first.position_F3[-count:] + share * moved_F3[:count]
    joined_FP = np.concatenate([first.pose_FP[:-count], pose, second.pose_FP[count:]])
    joined_F3 = np.concatenate([first.position_F3[:-count], position, moved_F3[count:]])
    present_F = np.concatenate([
        first.present_F[:-count], first.present_F[-count:] & second.present_F[:count], second.present_F[count:]
    ])  # fmt: skip
    return _turned(
        replace(
            first, pose_FP=joined_FP.astype(np.float32), position_F3=joined_F3.astype(np.float32), present_F=present_F
        )
    )


def _between(body: BodyMotion, at_F: np.ndarray) -> BodyMotion:
    """Return the motion at some times, in frames with fractions."""
    before = np.floor(at_F).astype(int)
    after = np.minimum(before + 1, len(body) - 1)
    part = (at_F - before)[:, None]
    present_F = body.present_F[np.rint(at_F).astype(int)]
    part = np.where(body.present_F[before][:, None], np.where(body.present_F[after][:, None], part, 0), 1)
    pose = (1 - part) * body.pose_FP[before] + part * body.pose_FP[after]
    position = (1 - part) * body.position_F3[before] + part * body.position_F3[after]
    return _turned(
        replace(body, pose_FP=pose.astype(np.float32), position_F3=position.astype(np.float32), present_F=present_F)
    )


def _turned(body: BodyMotion) -> BodyMotion:
    """Return the same with the turn of the pelvis as columns of a rotation again."""
    rotation = rotation_from_turn(torch.from_numpy(body.pose_FP[:, :TURN].astype(np.float32))).numpy()
    pose = np.concatenate([turn_from_rotation(rotation), body.pose_FP[:, TURN:]], 1)
    return replace(body, pose_FP=pose.astype(np.float32))


def _eased(share: np.ndarray) -> np.ndarray:
    """0..1 -> 0..1 without a jerk at either end."""
    return share * share * (3 - 2 * share)


@lru_cache(maxsize=1)
def _other_side() -> tuple[np.ndarray, np.ndarray]:
    """Return for each angle the index and sign of its twin on the other side, [A] each.

    A rotation about an axis, seen in a mirror, is the opposite one about the reflected axis.
    """
    names = [angle.name for angle in angles()]
    swapped = {".L": ".R", ".R": ".L"}
    other = [names.index(name[:-2] + swapped[name[-2:]]) if name[-2:] in swapped else i for i, name in enumerate(names)]
    axes = np.array([angle.axis for angle in angles()])
    return np.array(other), np.sign((axes * -(axes[other] * _REFLECTION)).sum(1))
