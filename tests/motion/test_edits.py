"""Edits of a motion: each changes what it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import POINT_NAMES
from magicanimate.motion.edits import held, joined, looped, mirrored, smoothed, sped
from motion.moving import dancer

BODY = dancer()
SIDES = {".L": ".R", ".R": ".L"}
OTHER = [POINT_NAMES.index(name[:-2] + SIDES[name[-2:]]) if name[-2:] in SIDES else i
         for i, name in enumerate(POINT_NAMES)]  # fmt: skip


def step(body: BodyMotion) -> np.ndarray:
    """Meters that the fastest point goes from each frame to the next."""
    return np.linalg.norm(np.diff(body.points(), axis=0), axis=2).max(1)


def test_mirrored_points_are_those_of_the_other_side():
    points = mirrored(BODY).points()
    assert points == pytest.approx(BODY.points()[:, OTHER] * np.array([-1, 1, 1]), abs=2e-3)
    assert np.abs(points - BODY.points() * np.array([-1, 1, 1])).max() > 0.1, "sides have to be exchanged"
    assert mirrored(mirrored(BODY)).points() == pytest.approx(BODY.points(), abs=1e-5)


@pytest.mark.parametrize("speed", [2.0, 0.5])
def test_speed_keeps_the_way(speed):
    fast = sped(BODY, speed)
    assert len(fast) == round(len(BODY) / speed)
    assert fast.fps == BODY.fps
    shown = fast.points()[:: 1 if speed == 2 else 2]
    truth = BODY.points()[:: 2 if speed == 2 else 1]
    assert shown == pytest.approx(truth[: len(shown)], abs=1e-5)
    assert np.median(step(fast)) == pytest.approx(speed * np.median(step(BODY)), rel=0.2)


def test_speed_does_not_move_through_frames_without_a_person():
    here = np.ones(len(BODY), bool)
    here[10:20] = False
    gone = replace(BODY, present_F=here, position_F3=np.where(here[:, None], BODY.position_F3, 99))
    slow = sped(gone, 0.5)
    assert (~slow.present_F).sum() == pytest.approx(20, abs=2)
    assert np.abs(slow.position_F3[slow.present_F]).max() < 10


def test_smoothing_takes_jitter_and_leaves_the_motion():
    noise = np.random.default_rng(1).normal(0, 0.03, BODY.pose_FP.shape).astype(np.float32)
    shaky = replace(BODY, pose_FP=BODY.pose_FP + noise)
    calm = smoothed(shaky, 0.5)
    away = [np.abs(body.points() - BODY.points()).mean() for body in (calm, shaky)]
    assert away[0] < 0.6 * away[1]
    assert np.abs(np.diff(calm.points(), 2, axis=0)).mean() < 0.4 * np.abs(np.diff(shaky.points(), 2, axis=0)).mean()
    assert smoothed(BODY, 0).points() == pytest.approx(BODY.points(), abs=1e-5)


def test_a_held_pose_stays():
    longer = held(BODY, 0.5)
    assert len(longer) == len(BODY) + 10
    assert longer.points()[-10:] == pytest.approx(BODY.points()[-1:].repeat(10, 0), abs=1e-5)


def test_a_loop_has_no_seam():
    loop = looped(BODY)
    assert len(loop) == len(BODY)
    seam = np.linalg.norm(loop.points()[0] - loop.points()[-1], axis=1).max()
    before = np.linalg.norm(BODY.points()[0] - BODY.points()[-1], axis=1).max()
    assert before > 4 * step(BODY).max()
    assert seam < 1.5 * step(BODY).max()
    half = len(BODY) // 2
    assert loop.points()[:half] == pytest.approx(BODY.points()[:half], abs=1e-5)


def test_who_is_gone_at_the_end_is_not_looped():
    gone = replace(BODY, present_F=np.arange(len(BODY)) < 30)
    assert looped(gone) is gone


def test_joined_motions_go_over_into_each_other():
    second = replace(dancer(30, 40.0, seed=5), focal=900.0)
    whole = joined([BODY, second])
    assert whole.fps == BODY.fps
    assert len(whole) == len(BODY) + 15 - 8
    assert step(whole)[len(BODY) - 10 : len(BODY) + 2].max() < 3 * max(step(BODY).max(), 2 * step(second).max())
    assert whole.shape is BODY.shape
    assert joined([BODY]) is BODY
