"""The fit finds a motion again that is known; what it is not told it does not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from magicanimate.body.bones import BONE_INDEX, Proportions
from magicanimate.body.fit import FOCAL, fit_track
from magicanimate.body.kinematics import POSE_NUMBERS, TURN, angles
from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import POINT_INDEX
from magicanimate.body.track import JOINT_SETS, RIG_POINTS, Track
from magicanimate.errors import InputError

FRAMES = 8
LIMBS = [POINT_INDEX[f"{name}.{s}"] for name in ("lower_arm", "hand", "shin", "foot") for s in "LR"]


@pytest.fixture(scope="module")
def truth() -> BodyMotion:
    """Somebody with short thighs who turns, waves and lifts a knee."""
    names = [angle.name for angle in angles()]
    time = np.linspace(0, 1, FRAMES)
    pose = np.zeros((FRAMES, POSE_NUMBERS), np.float32)
    yaw = 0.6 * time
    pose[:, 0], pose[:, 1], pose[:, 3], pose[:, 4] = np.cos(yaw), np.sin(yaw), -np.sin(yaw), np.cos(yaw)
    for name, value in {"raise.L": 1.5 * time, "elbow.L": 0.8 + 0 * time, "lift.R": time, "knee.R": 1.2 * time}.items():
        pose[:, TURN + names.index(name)] = value
    lengths = Proportions.usual().lengths.copy()
    lengths[BONE_INDEX["thighs"]] = 0.9
    position = np.stack([0.1 * time, 3 + 0 * time, 0 * time], 1).astype(np.float32)
    shape = replace(Proportions.usual(), lengths=lengths)
    return BodyMotion(shape, pose, position, FOCAL * 256, (256, 200), 25.0, np.ones(FRAMES, bool))


def track_of(motion: BodyMotion, joints: str, world: bool) -> Track:
    names = tuple(name for name in JOINT_SETS[joints] if name in RIG_POINTS)
    at = motion.points()[:, [POINT_INDEX[RIG_POINTS[name]] for name in names]]
    seen = np.concatenate([motion.project(at), np.ones((*at.shape[:2], 1))], -1).astype(np.float32)
    return Track(seen, names, motion.size, motion.fps, at if world else None)


def error(found: BodyMotion, truth: BodyMotion) -> float:
    """Mean distance of limbs' joints in the picture, in heights of the body."""
    a, b = (motion.project(motion.points()[:, LIMBS]) for motion in (found, truth))
    height = truth.focal * 1.6 / 3
    return float(np.linalg.norm(a - b, axis=-1).mean() / height)


@pytest.fixture(scope="module")
def fitted(truth) -> BodyMotion:
    return fit_track(track_of(truth, "mediapipe33", world=True))


def test_a_known_motion_is_found_again(truth, fitted):
    assert error(fitted, truth) < 0.012
    relative = [m.points()[:, LIMBS] - m.points()[:, :1] for m in (fitted, truth)]
    assert np.linalg.norm(relative[0] - relative[1], axis=-1).mean() < 0.06  # meters, depth included
    assert fitted.shape.lengths[BONE_INDEX["thighs"]] < 0.97


def test_joints_in_the_picture_are_enough(truth):
    track = track_of(truth, "openpose18", world=False)
    assert error(fit_track(track), truth) < 0.015
    swapped = replace(track, points_FJ3=track.points_FJ3[::-1].copy())
    assert error(fit_track(swapped), truth) > 0.05  # other motion, other result


def test_frames_without_a_person_stay_empty(truth):
    track = track_of(truth, "coco17", world=False)
    track.points_FJ3[2:5] = 0
    found = fit_track(track)
    assert found.present_F.tolist() == [True] * 2 + [False] * 3 + [True] * 3
    assert np.isfinite(found.pose_FP).all()
    assert np.isfinite(found.position_F3).all()


def test_half_a_body_without_hips_and_without_gradients(truth):
    track = track_of(truth, "openpose18", world=False)
    hidden = [i for i, name in enumerate(track.names) if name.partition("_")[2] in ("hip", "knee", "ankle")]
    track.points_FJ3[:, hidden] = 0
    with torch.no_grad():
        found = fit_track(track)
    arms = [POINT_INDEX[f"{name}.{s}"] for name in ("lower_arm", "hand") for s in "LR"]
    away = found.project(found.points()[:, arms]) - truth.project(truth.points()[:, arms])
    assert np.linalg.norm(away, axis=-1).mean() < 0.03 * truth.focal * 1.6 / 3
    assert found.pose_FP[:, 0].min() > 0.3  # facing us


def test_tracks_that_say_nothing(truth):
    track = track_of(truth, "coco17", world=False)
    with pytest.raises(InputError, match="no joints that the body knows"):
        fit_track(replace(track, names=tuple(f"marker{i}" for i in range(len(track.names)))))
    with pytest.raises(InputError, match="no frame with a person"):
        fit_track(replace(track, points_FJ3=np.zeros_like(track.points_FJ3)))


def test_save_and_load(truth, tmp_path):
    path = truth.save(tmp_path / "motion.npz")
    again = BodyMotion.load(path)
    assert np.array_equal(again.points(), truth.points())
    assert (again.size, again.fps, again.focal) == (truth.size, truth.fps, truth.focal)
    assert [file.name for file in tmp_path.iterdir()] == ["motion.npz"]
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name in ("text.npz", "other.npz", "missing.npz"):
        with pytest.raises(InputError, match=r"not a body motion|has no array|missing|does not exist|written"):
            BodyMotion.load(tmp_path / name)


def test_another_shape_keeps_angles_and_feet(truth):
    child = Proportions({"age": 1 / 3, "height": 0.2}, truth.shape.lengths, truth.shape.girths)
    small = truth.with_shape(child)
    assert np.array_equal(small.pose_FP, truth.pose_FP)
    assert np.allclose(small.points()[..., 2].min(1), truth.points()[..., 2].min(1), atol=1e-5)
    top = [m.points()[:, POINT_INDEX["head"], 2] for m in (small, truth)]
    assert (top[0] < top[1] - 0.2).all()


def test_moving(truth):
    at = truth.project(truth.points())
    shifted = truth.moved(shift=(10, -6))
    assert np.allclose(np.median(shifted.project(shifted.points()) - at, (0, 1)), [10, -6], atol=1.0)
    larger = truth.moved(scale=1.5)
    sizes = [np.ptp(m.project(m.points())[0, :, 1]) for m in (larger, truth)]
    assert sizes[0] / sizes[1] == pytest.approx(1.5, rel=0.06)
    wide = truth.moved(size=(256, 400))
    assert np.allclose(wide.project(wide.points()) - at, [100, 0], atol=1e-3)
    twice = truth.resized((512, 400))
    assert np.allclose(twice.project(twice.points()), 2 * at, atol=1e-2)
