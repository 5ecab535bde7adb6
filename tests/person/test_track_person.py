"""A generated person found by the shipped networks, fitted and drawn."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import magicanimate
from magicanimate.body.draw import KINDS, draw_motion
from magicanimate.body.fit import fit_track
from magicanimate.body.rig import POINT_INDEX
from magicanimate.errors import InputError
from magicanimate.media import Clip
from magicanimate.person.track_person import track_picture, track_video

PICTURE = Path(magicanimate.__file__).parent / "assets" / "demo" / "picture.png"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.asarray(Image.open(PICTURE).convert("RGB"))


@pytest.fixture(scope="module")
def motion(picture):
    return fit_track(track_picture(picture))


def clip_of(frames: list[np.ndarray], fps: float = 25.0) -> Clip:
    return Clip(Path("dance.mp4"), fps, frames[0].shape[:2], len(frames), lambda: iter(frames))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_the_body_covers_the_person(picture, motion):
    parts = next(draw_motion(motion))["parts"]
    track = track_picture(picture)
    mask = np.asarray(Image.fromarray(track.masks(0)).resize(picture.shape[1::-1], Image.Resampling.NEAREST))
    assert overlap(parts > 0, mask) > 0.75
    assert overlap(np.roll(parts, 40, 1) > 0, mask) < 0.6
    assert motion.shape.girths.max() > 1  # clothes are wider than the usual body


def test_all_kinds_agree_where_the_body_is(motion):
    drawn = next(draw_motion(motion, size=(200, 200), kinds=KINDS))
    body = drawn["parts"] > 0
    assert drawn["parts"].max() <= 24
    assert np.array_equal(drawn["depth"] > 0, body)
    assert np.array_equal(drawn["normals"].any(-1), body)
    assert overlap(drawn["pose"].any(-1), body) > 0.02
    assert (drawn["pose"].any(-1) & body).sum() > 0.8 * drawn["pose"].any(-1).sum()
    towards_us = drawn["normals"][body][:, 2]
    assert (towards_us > 120).mean() > 0.99
    assert next(draw_motion(motion, kinds=("depth",))).keys() == {"depth"}


def test_left_is_the_persons_left(motion):
    parts = next(draw_motion(motion))["parts"]
    at = motion.project(motion.points())[0]
    for side, upper_arm in (("L", (15, 17)), ("R", (16, 18))):
        rows, columns = np.nonzero(np.isin(parts, upper_arm))
        middle = (at[POINT_INDEX[f"upper_arm.{side}"]] + at[POINT_INDEX[f"lower_arm.{side}"]]) / 2
        assert np.linalg.norm(middle - [columns.mean(), rows.mean()]) < 0.08 * len(parts)


def test_a_video_with_gaps(picture):
    black = np.zeros_like(picture)
    track = track_video(clip_of([black, picture, picture, black, black, picture, picture]))
    assert track.seen_F.tolist() == [False] + [True] * 6  # the gap is bridged, the start is not
    assert track.masks is not None
    assert track.masks(3) is None
    assert track.masks(1).sum() > 100
    assert np.abs(track.points_FJ3[3, :, :2] - track.points_FJ3[2, :, :2]).max() < 12
    long = track_video(clip_of([picture, black, black, black, picture], fps=4.0))
    assert long.seen_F.tolist() == [True] + [False] * 3 + [True]


def test_a_wide_picture_is_not_distorted(picture):
    wide = np.pad(picture, ((0, 0), (0, 256), (0, 0)), mode="edge")
    narrow, broad = (track_picture(image).points_FJ3[0] for image in (picture, wide))
    sure = (narrow[:, 2] > 0.8) & (broad[:, 2] > 0.8)
    assert sure.sum() > 10
    assert np.abs(narrow[sure, :2] - broad[sure, :2]).mean() < 6


def test_nobody(picture):
    black = np.zeros_like(picture)
    with pytest.raises(InputError, match=r"No person was found in dance\.mp4"):
        track_video(clip_of([black, black]))
    assert track_picture(black) is None
    assert track_picture(np.zeros((1, 1, 3), np.uint8)) is None


def test_any_thread_can_draw(motion):
    here = next(draw_motion(motion))["parts"]
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(lambda: next(draw_motion(motion))["parts"]).result()
    assert np.array_equal(here, there)
    assert np.array_equal(next(draw_motion(motion))["parts"], here)
