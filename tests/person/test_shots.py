"""Cuts, people that are none, and people that leave: nothing is between two places."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from magicanimate.body.track import JOINT_SETS
from magicanimate.person.landmarks import Landmarks
from magicanimate.person.shots import difference, find_cuts, is_plain, may_be_cut, thumbnail
from magicanimate.person.track_person import _pack, _Seen, _track, agree

R = np.random.default_rng(0)
ROOMS = [np.kron(R.integers(0, 256, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8) for _ in range(2)]


def film(*shots: tuple[int, int]) -> list[float]:
    """Differences of frames: shots of (room, frames), with a camera that moves a little."""
    frames = [np.roll(ROOMS[room], f, axis=1) for room, count in shots for f in range(count)]
    small = [thumbnail(frame) for frame in frames]
    return [difference(after, before) for before, after in pairwise(small)]


def test_cuts_are_found_and_nothing_else():
    assert find_cuts(film((0, 12), (1, 9), (0, 5))) == (12, 21)
    assert find_cuts(film((0, 30))) == ()
    assert find_cuts(film((0, 8), (1, 1), (0, 8))) == ()  # a flash
    assert find_cuts([]) == ()
    assert may_be_cut(film((0, 12), (1, 1)))
    assert not may_be_cut(film((0, 12)))


def test_a_frame_that_shows_nothing_is_plain():
    assert is_plain(thumbnail(np.full((64, 64, 3), 7, np.uint8)))
    assert not is_plain(thumbnail(ROOMS[0]))


def standing(x: float, y: float = 40.0, size: float = 100.0) -> np.ndarray:
    """[33, 3] somebody at a place: not a body's true proportions, but its extent."""
    points = np.ones((33, 3), np.float32)
    points[:, 0] = x + size * 0.15 * np.cos(np.arange(33))
    points[:, 1] = y + size * np.arange(33) / 33
    return points


def seen(x: float) -> _Seen:
    return _Seen(standing(x), standing(x) * 0.01, _pack(np.ones((20, 20), np.float32)))


def test_nothing_moves_across_a_cut():
    frames = [seen(100.0)] * 10 + [seen(105.0)] * 10
    whole = _track(frames, (200, 400), 25.0)
    cut = _track(frames, (200, 400), 25.0, (10,))
    assert [run.stop for run in whole.runs] == [20]
    assert [(run.start, run.stop) for run in cut.runs] == [(0, 10), (10, 20)]
    assert np.ptp(cut.points_FJ3[:10, :, 0], axis=0).max() < 0.01
    assert np.ptp(whole.points_FJ3[:10, :, 0], axis=0).max() > 0.1  # the negative control: smoothing looks ahead


@pytest.mark.parametrize("gap", [0, 4])
def test_somebody_elsewhere_is_somebody_else(gap):
    """No frame is between two places, without a gap or behind one that would be bridged."""
    frames = [seen(50.0)] * 8 + [None] * gap + [seen(300.0)] * 8
    track = _track(frames, (200, 400), 25.0)
    assert track.cuts == (8 + gap,)
    x = track.points_FJ3[track.seen_F, 0, 0]
    assert ((np.abs(x - 65) < 10) | (np.abs(x - 315) < 10)).all()
    assert list(np.flatnonzero(~track.seen_F)) == list(range(8, 8 + gap))
    near = _track([seen(50.0)] * 8 + [None] * 4 + [seen(60.0)] * 8, (200, 400), 25.0)  # the negative control
    assert near.cuts == ()
    assert near.seen_F.all()


def landmarks(matte_HW: np.ndarray) -> Landmarks:
    return Landmarks(standing(100.0), np.zeros((33, 3), np.float32), matte_HW, np.zeros((2, 2)))


def test_landmarks_and_matte_have_to_agree():
    size = (200, 200)
    person, beside, wall = (np.zeros(size, np.float32) for _ in range(3))
    person[35:145, 85:115], beside[35:145, 150:180], wall[:, :] = 1, 1, 1
    assert agree(landmarks(person), size)
    assert not agree(landmarks(beside), size)
    assert not agree(landmarks(wall), size)
    assert not agree(landmarks(np.zeros(size, np.float32)), size)


def test_the_trunk_is_named():
    from magicanimate.person.track_person import _TRUNK, NAMES

    assert JOINT_SETS["mediapipe33"] == NAMES
    assert [NAMES[k] for k in _TRUNK] == ["left_shoulder", "left_hip", "right_shoulder", "right_hip"]
