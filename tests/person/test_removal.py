"""A person walks before a background that is known: taken out, they leave that background."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from layered import layered
from magicanimate.body.motion import BodyMotion
from magicanimate.media import load_picture
from magicanimate.person.camera import CameraFollower, is_still, moved
from magicanimate.person.layers import LayeredPerson
from magicanimate.person.removal import PersonRemoval
from magicanimate.person.scene import Backdrop, Scene
from magicanimate.serve.page.examples import SHELF

FRAMES = 10
SIDE = 256


@pytest.fixture(scope="module")
def person() -> LayeredPerson:
    return layered(np.ascontiguousarray(load_picture(SHELF["studio"].picture)[::2, ::2]))


@pytest.fixture(scope="module")
def wall() -> np.ndarray:
    """A background larger than a frame, [H, W, 3] uint8."""
    noise = np.random.default_rng(3).normal(size=(SIDE + 40, SIDE + 80, 3))
    smooth = sum(ndimage.gaussian_filter(noise, (sigma, sigma, 0)) * sigma for sigma in (2, 5, 12))
    return np.clip(128 + 60 * smooth, 0, 255).astype(np.uint8)


def walk(person: LayeredPerson) -> BodyMotion:
    """Move a body from left to right, by more than its width."""
    body = person.body
    position = body.position_F3.repeat(FRAMES, 0)
    position[:, 0] += np.linspace(-0.9, 0.9, FRAMES)
    pose, here = body.pose_FP.repeat(FRAMES, 0), np.ones(FRAMES, bool)
    return replace(body, pose_FP=pose, position_F3=position.astype(np.float32), present_F=here)


@pytest.mark.parametrize("speed", [0, 5])
def test_a_walker_leaves_the_background(person, wall, speed):
    def behind(index: int) -> np.ndarray:
        left = speed * (FRAMES - index)
        return wall[2 * speed : 2 * speed + SIDE, left : left + SIDE]

    motion = walk(person)
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    scene = Scene(picture, [person], [motion], Backdrop(behind))
    frames = [scene(index) for index in range(FRAMES)]
    removal = PersonRemoval(lambda index: frames[index].frame_HWC, motion)
    assert removal.still == (speed == 0)
    for index in (0, 4, FRAMES - 1):
        hidden = frames[index].alpha_HW > 200
        empty = removal(index).astype(float)
        assert hidden.sum() > 1000
        assert np.abs(frames[index].frame_HWC.astype(float) - behind(index))[hidden].mean() > 30
        assert np.abs(empty - behind(index))[hidden].mean() < (3 if speed == 0 else 8)
        assert np.abs(empty - behind(index))[frames[index].alpha_HW == 0].mean() < 2


def test_nobody_is_taken_out_where_nobody_is(person, wall):
    motion = walk(person)
    frame = np.ascontiguousarray(wall[:SIDE, :SIDE])
    removal = PersonRemoval(lambda index: frame, replace(motion, present_F=np.arange(FRAMES) == 0))
    assert np.array_equal(removal(FRAMES - 1), frame)


def test_a_camera_is_followed_through_pan_zoom_and_roll(wall):
    nobody = np.zeros((SIDE, SIDE), bool)
    nobody[90:170, 100:150] = True  # left out, not looked at
    follow, truth, found = CameraFollower((SIDE, SIDE)), [], []
    for index in range(12):
        turn, zoom = 0.006 * index, 1 + 0.006 * index
        map_22 = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        there = np.eye(3)
        there[:2, :2], there[:2, 2] = map_22, (-2.5 * index, 1.0 * index)
        truth.append(there)
        back = np.linalg.inv(there)
        swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])  # of x and y, as ndimage counts
        moving = swap @ back @ swap
        planes = [
            ndimage.affine_transform(wall[..., c], moving[:2, :2], moving[:2, 2], (SIDE, SIDE), order=1, mode="nearest")
            for c in range(3)
        ]
        found.append(follow(np.stack(planes, -1), nobody))
    away = [moved(np.linalg.inv(t) @ f, (SIDE, SIDE)) for t, f in zip(truth, found, strict=True)]
    assert moved(truth[-1], (SIDE, SIDE)) > 25
    assert max(away) < 1.5
    assert not is_still(np.stack(found), (SIDE, SIDE))
    assert is_still(np.stack(found[:1] * 3), (SIDE, SIDE))
