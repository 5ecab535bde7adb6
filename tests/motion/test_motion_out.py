"""Motion out and in again: BVH and key points of a body, by library and command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import JOINT_NAMES, POINT_INDEX
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.motion.formats.bvh import read_bvh
from magicanimate.motion.formats.bvh_bodies import read_body, write_bvh
from magicanimate.motion.open import open_motion
from motion.moving import dancer

BODY = dancer()


def motion(*options: object):
    return CliRunner().invoke(app, ["motion", *map(str, options)])


@pytest.fixture
def saved(tmp_path) -> Path:
    return BODY.save(tmp_path / "dance.npz")


def relative(body: BodyMotion) -> np.ndarray:
    points_FS3 = body.points()
    return points_FS3 - points_FS3[:, :1]


def angles_between(one: BodyMotion, other: BodyMotion) -> np.ndarray:
    """[F, J] degrees."""
    turn = one.joint_rotations().transpose(0, 1, 3, 2) @ other.joint_rotations()
    return np.degrees(np.arccos(np.clip((np.trace(turn, axis1=2, axis2=3) - 1) / 2, -1, 1)))


def test_bvh_comes_back_as_it_was(saved, tmp_path):
    result = motion(saved, "-o", tmp_path / "dance.bvh")
    assert result.exit_code == 0, result.stderr
    back = open_motion(tmp_path / "dance.bvh")
    assert back.kind == "bvh"
    assert back.body is not None
    assert "bones of this package" in back.notes[0]
    assert (len(back.body), back.fps) == (len(BODY), pytest.approx(BODY.fps))
    assert angles_between(BODY, back.body).max() < 1
    height = np.ptp(BODY.points()[..., 2], axis=1).max()
    assert np.abs(relative(back.body) - relative(BODY)).max() < 0.01 * height
    way = BODY.position_F3 - BODY.position_F3[0]
    assert back.body.position_F3 - back.body.position_F3[0] == pytest.approx(way, abs=1e-4)
    shown = back.body.project(back.body.points())
    assert ((shown > 0) & (shown < back.body.size[::-1])).all()
    assert angles_between(dancer(seed=2), back.body).max() > 20, "another dance is told apart"


def test_bvh_is_as_blender_expects_it(tmp_path):
    write_bvh(BODY, tmp_path / "a.bvh")
    capture = read_bvh(tmp_path / "a.bvh")
    names = [joint.name for joint in capture.joints if not joint.name.endswith("_end")]
    assert sorted(names) == sorted(JOINT_NAMES)
    rest = dict(zip([joint.name for joint in capture.joints], capture.rest_J3, strict=True))
    assert rest["head"][1] > rest["pelvis"][1] + 0.3, "y is up"
    assert rest["thigh.L"][0] > 0 > rest["thigh.R"][0], "the left is on +x of who faces +z"
    assert rest["foot.L_end"][2] > rest["foot.L"][2]
    lowest = capture.places_FJ3[..., 1].min()
    assert -0.05 < lowest < 0.15, "the floor is at 0"


@pytest.mark.parametrize("turned", ["z up", "centimeters"])
def test_bvh_in_other_axes_and_units_comes_back(tmp_path, turned):
    """Another program may write offsets and channels in its own axes or units."""
    write_bvh(BODY, tmp_path / "a.bvh")
    capture = read_bvh(tmp_path / "a.bvh")
    z_up = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])
    axes, scale = (z_up, 1.0) if turned == "z up" else (np.eye(3), 100.0)
    for joint in capture.joints:
        joint.offset_3 = axes @ joint.offset_3 * scale
    capture.places_FJ3[:] = capture.places_FJ3 @ axes.T * scale
    capture.turns_FJ33[:] = axes @ capture.turns_FJ33 @ axes.T
    back = read_body(capture)
    assert back is not None
    assert angles_between(BODY, back).max() < 1


def test_other_skeletons_are_left_to_the_fit(tmp_path):
    write_bvh(BODY, tmp_path / "a.bvh")
    text = (tmp_path / "a.bvh").read_text()
    (tmp_path / "b.bvh").write_text(text.replace("JOINT shin.L", "JOINT LeftLeg"))
    assert read_body(read_bvh(tmp_path / "b.bvh")) is None
    capture = read_bvh(tmp_path / "a.bvh")
    next(joint for joint in capture.joints if joint.name == "hand.L").offset_3 += 0.3
    assert read_body(capture) is None


def test_nobody_is_no_bvh(tmp_path):
    with pytest.raises(InputError, match="Nobody moves"):
        write_bvh(BODY.only(slice(1)).__class__(
            BODY.shape, BODY.pose_FP, BODY.position_F3, BODY.focal, BODY.size, BODY.fps, np.zeros(len(BODY), bool)
        ), tmp_path / "a.bvh")  # fmt: skip


def test_openpose_folder(saved, tmp_path):
    folder = tmp_path / "dance.openpose"
    result = motion(saved, "-o", folder, "--max-frames", 8)
    assert result.exit_code == 0, result.stderr
    files = sorted(folder.iterdir())
    assert len(files) == 8
    person = json.loads(files[3].read_text())["people"][0]["pose_keypoints_2d"]
    neck = BODY.project(BODY.points())[3, POINT_INDEX["neck"]]
    assert person[3:6] == pytest.approx([*neck, 1], abs=1e-2)
    back = open_motion(folder)
    assert back.body is not None
    assert "OpenPose, 25 points" in back.notes[0]
    away = np.linalg.norm(back.body.project(back.body.points()) - BODY.project(BODY.points())[:8], axis=2)
    assert np.median(away) < 6
    assert motion(saved, "-o", folder).exit_code == 2
    assert motion(saved, "-o", folder, "--overwrite").exit_code == 0


def test_edits_and_joining_from_the_command_line(saved, tmp_path):
    result = motion(saved, saved, "-o", tmp_path / "two.npz", "--mirror", "--speed", 2, "--hold", 1, "--smooth", 0.2)
    assert result.exit_code == 0, result.stderr
    two = BodyMotion.load(tmp_path / "two.npz")
    assert len(two) == (2 * len(BODY) - 8) // 2 + 20
    result = motion(saved, "-o", tmp_path / "loop.npz", "--loop")
    assert result.exit_code == 0, result.stderr
    loop, own = BodyMotion.load(tmp_path / "loop.npz").points(), BODY.points()
    assert np.abs(loop[0] - loop[-1]).max() < 0.4 * np.abs(own[0] - own[-1]).max()


def test_edits_need_a_body(tmp_path):
    parts = np.zeros((4, 64, 64), np.uint8)
    parts[:, 10:30, 10:20], parts[:, 10:14, 10:20] = 2, 23
    parts[:, 10:30, 40:50], parts[:, 10:14, 40:50] = 2, 23
    np.savez(tmp_path / "two.npz", parts=parts)
    for options, said in ((["-o", "a.npz", "--mirror"], "--mirror changes the motion of one body"),
                          (["-o", "a.bvh"], "shows no single body")):  # fmt: skip
        result = motion(tmp_path / "two.npz", *options[:1], tmp_path / options[1], *options[2:])
        assert result.exit_code == 2
        assert said in result.stderr.replace("\n", " ")
    assert motion(tmp_path / "two.npz", "-o", tmp_path / "b.mp4", "--speed", 99).exit_code == 2
