"""Detector, landmarks and following, on a generated person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import magicanimate
from magicanimate.body.track import JOINT_SETS
from magicanimate.media import load_picture
from magicanimate.person.detect import find_people
from magicanimate.person.landmarks import LandmarkFollower, find_landmarks
from magicanimate.person.regions import Region, cut_region, put_back, region_of

EXAMPLES = Path(magicanimate.__file__).parent / "assets" / "examples"
NAMES = JOINT_SETS["mediapipe33"]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [load_picture(EXAMPLES / name / "picture.png") for name in ("studio", "hills")]


def spread(found) -> float:
    return float(np.ptp(found.points_K3[:, 1]))


def test_two_people_are_two_detections(pictures):
    people = [np.asarray(Image.fromarray(picture).resize((400, 400))) for picture in pictures]
    both = np.concatenate(people, 1)
    tall = np.pad(both, ((150, 150), (0, 0), (0, 0)), mode="edge")
    found = find_people(tall)
    assert len(found) == 2
    assert found[0].score >= found[1].score >= 0.5
    middles = sorted((person.box[0] + person.box[2]) / 2 for person in found)
    assert middles[0] < 400 < middles[1]
    seen = [find_landmarks(tall, person.region) for person in found]
    assert all(person is not None for person in seen)
    noses = sorted(person.points_K3[0, 0] for person in seen)
    assert noses[0] < 400 < noses[1]
    assert find_people(np.full((300, 200, 3), 90, np.uint8)) == []


def test_landmarks_turn_and_move_with_the_picture(pictures):
    """A person who lies is found as one who stands: landmarks a quarter turn on, the body's own shape the same."""
    picture = pictures[0]
    upright, lying = (find_landmarks(image, find_people(image)[0].region) for image in (picture, np.rot90(picture)))
    sure = (upright.points_K3[:, 2] > 0.8) & (lying.points_K3[:, 2] > 0.8)
    assert sure.sum() > 12
    x, y = upright.points_K3[sure, 0], upright.points_K3[sure, 1]
    turned = np.stack([y, picture.shape[1] - x], 1)
    apart = np.linalg.norm(turned - lying.points_K3[sure, :2], axis=1) / spread(upright)
    assert np.median(apart) < 0.03
    assert np.median(np.linalg.norm(turned[:, ::-1] - lying.points_K3[sure, :2], axis=1)) / spread(upright) > 0.1
    world = np.stack([upright.world_K3[:, 1], -upright.world_K3[:, 0]], 1)
    assert np.abs(world - lying.world_K3[:, :2])[sure].mean() < 0.05


def test_left_is_the_persons_left_and_the_mask_holds_the_joints(pictures):
    found = find_landmarks(pictures[0], find_people(pictures[0])[0].region)
    left, right = (found.points_K3[NAMES.index(f"{side}_shoulder")] for side in ("left", "right"))
    assert left[0] > right[0]
    scale = found.matte_HW.shape[0] / pictures[0].shape[0]
    assert max(found.matte_HW.shape) <= 320
    for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "nose"):
        x, y = found.points_K3[NAMES.index(name), :2] * scale
        assert found.matte_HW[int(y), int(x)] > 0.5, name
    assert found.matte_HW[:, -3:].max() < 0.5


def test_a_follower_keeps_its_person_and_looks_again_when_lost(pictures):
    picture, nobody = pictures[0], np.full_like(pictures[0], 127)
    follow = LandmarkFollower()
    first = follow(picture)
    shifted = np.roll(picture, 12, 1)
    second = follow(shifted)
    moved = (second.points_K3 - first.points_K3)[first.points_K3[:, 2] > 0.8, 0]
    assert np.median(moved) == pytest.approx(12, abs=3)
    assert follow(nobody) is None
    assert follow(nobody) is None
    again = follow(picture)
    assert np.allclose(again.points_K3, first.points_K3), "a new start is as the first"
    assert not np.allclose(again.matte_HW, second.matte_HW)


def test_a_region_cut_out_and_put_back_is_where_it_was():
    rows, columns = np.mgrid[0:120, 0:90]
    blob = (255 * np.exp(-((columns - 50) ** 2 + (rows - 70) ** 2) / 60)).astype(np.uint8)
    region = Region((48.0, 66.0), 64.0, 0.6)
    cut = cut_region(np.repeat(blob[..., None], 3, 2), region, 256)
    back = put_back(np.ascontiguousarray(cut[..., 0]), region, (120, 90), 1.0)
    near = (columns - 50) ** 2 + (rows - 70) ** 2 < 400
    assert np.abs(back - blob)[near].max() < 6
    assert np.abs(np.roll(back, 1, 1) - blob)[near].max() > 12
    half = put_back(np.ascontiguousarray(cut[..., 0]), region, (60, 45), 0.5)
    assert np.unravel_index(half.argmax(), half.shape) == pytest.approx((35, 25), abs=1)
    beyond = cut_region(np.full((20, 20, 3), 77, np.uint8), Region((0.0, 0.0), 60.0, 0.0), 8)
    assert (beyond == 77).all(), "beyond the picture its edge goes on"


def test_a_region_stands_on_the_hips_with_the_head_up():
    region = region_of(np.array([10.0, 20.0]), np.array([18.0, 20.0]))  # the head to the right
    assert region.center == (10.0, 20.0)
    assert region.side == pytest.approx(2 * 1.25 * 8)
    top = region.to_picture(np.array([[0.5, 0.0]]))[0]
    assert top == pytest.approx((10 + region.side / 2, 20))
