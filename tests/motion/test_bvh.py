"""BVH motion capture: read, turned towards the camera, and drawn as a body."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magicanimate.errors import InputError
from magicanimate.media import Span
from magicanimate.motion.formats.bvh import is_bvh, match_joints, read_bvh, track_of_capture
from magicanimate.motion.open import open_motion
from motion.standing import faces_the_viewer

# name, offset from the joint above, joints below; centimetres, y up, the left on +x
LEG = [("{}UpLeg", (9, -5, 0), [("{}Leg", (0, -42, 0), [("{}Foot", (0, -42, 0), [("{}ToeBase", (0, -6, 14), [])])])])]
ARM = [("{}Arm", (18, 0, 0), [("{}ForeArm", (0, -28, 0), [("{}Hand", (0, -25, 0), [])])])]
ROTATIONS = "Zrotation Xrotation Yrotation"


def side(joints: list, name: str, mirror: int) -> list:
    return [(text.format(name), (x * mirror, y, z), side(below, name, mirror)) for text, (x, y, z), below in joints]


def skeleton() -> list:
    both = [side(LEG, "Left", 1)[0], side(LEG, "Right", -1)[0]]
    arms = [side(ARM, "Left", 1)[0], side(ARM, "Right", -1)[0]]
    return [*both, ("Spine", (0, 45, 0), [*arms, ("Neck", (0, 8, 0), [("Head", (0, 10, 0), [])])])]


def written(joints: list, depth: int = 1) -> tuple[str, list[str]]:
    text, names, tab = "", [], "\t" * depth
    for name, offset, below in joints:
        inner, inner_names = written(below, depth + 1)
        ending = inner or f"{tab}\tEnd Site\n{tab}\t{{\n{tab}\t\tOFFSET 0 -5 0\n{tab}\t}}\n"
        numbers = " ".join(map(str, offset))
        text += f"{tab}JOINT {name}\n{tab}{{\n{tab}\tOFFSET {numbers}\n{tab}\tCHANNELS 3 {ROTATIONS}\n{ending}{tab}}}\n"
        names += [name, *inner_names]
    return text, names


def bvh(path: Path, frames: int = 6, turn: float = 0.0, **rotations: tuple[float, float, float]) -> Path:
    """A person who stands, turned about the vertical by `turn` degrees; `rotations` (z, x, y) of joints by name."""
    text, names = written(skeleton())
    values = [f"{3.0 * f} 95 0 0 0 {turn}" for f in range(frames)]
    for name in names:
        values = [f"{line} {' '.join(map(str, rotations.get(name, (0, 0, 0))))}" for line in values]
    head = (
        f"HIERARCHY\nROOT Hips\n{{\n\tOFFSET 0 0 0\n\tCHANNELS 6 Xposition Yposition Zposition {ROTATIONS}\n{text}}}\n"
    )
    path.write_text(f"{head}MOTION\nFrames: {frames}\nFrame Time: 0.04\n" + "\n".join(values) + "\n")
    return path


def place(path: Path, name: str) -> np.ndarray:
    capture = read_bvh(path)
    return capture.places_FJ3[:, [joint.name for joint in capture.joints].index(name)]


def test_forward_kinematics(tmp_path):
    still = bvh(tmp_path / "a.bvh")
    assert read_bvh(still).fps == pytest.approx(25)
    assert place(still, "LeftHand")[0] == pytest.approx((18, 95 + 45 - 53, 0))
    assert place(still, "LeftHand")[2] == pytest.approx((18 + 6, 95 + 45 - 53, 0))
    raised = bvh(tmp_path / "b.bvh", LeftArm=(90, 0, 0))  # about z: from down to the side
    assert place(raised, "LeftHand")[0] == pytest.approx((18 + 53, 95 + 45, 0))
    both = bvh(tmp_path / "c.bvh", LeftArm=(90, 0, 0), LeftForeArm=(0, 90, 0))  # z first, then x in the turned frame
    assert place(both, "LeftHand")[0] == pytest.approx((18 + 28, 95 + 45, -25))


@pytest.mark.parametrize("turn", [0, 90, 200])
def test_the_first_pose_faces_the_camera(tmp_path, turn):
    path = bvh(tmp_path / "a.bvh", turn=turn)
    track = track_of_capture(read_bvh(path), Span(), path)
    assert track.world_FJ3 is not None
    left, right = (track.world_FJ3[0, track.names.index(f"{s}_hip")] for s in ("left", "right"))
    assert left[0] - right[0] == pytest.approx(np.linalg.norm(left - right), rel=1e-3)
    head, knee, toe, ankle = (
        track.world_FJ3[0, track.names.index(n)] for n in ("head", "left_knee", "left_toe", "left_ankle")
    )
    assert head[2] > knee[2] + 0.8
    assert toe[1] < ankle[1]  # towards the camera
    height, width = track.size
    assert ((track.points_FJ3[..., :2] > 0) & (track.points_FJ3[..., :2] < (width, height))).all()


def test_names_of_several_programs_are_known():
    for names in (
        ["mixamorig:Hips", "mixamorig:LeftUpLeg", "mixamorig:LeftLeg", "mixamorig:LeftShoulder", "mixamorig:LeftArm"],
        ["pelvis", "thigh.L", "shin.L", "clavicle.L", "upper_arm.L"],
        ["Hips", "LeftHip", "LeftKnee", "LeftCollar", "LeftShoulder"],
        ["hip", "lThigh", "lShin", "lCollar", "leftUpArm"],
    ):  # fmt: skip
        matched = match_joints(names)
        assert [matched[n] for n in ("left_hip", "left_knee", "left_shoulder")] == [1, 2, 4], names


def test_spans_and_rates(tmp_path):
    path = bvh(tmp_path / "a.bvh", frames=10)
    track = track_of_capture(read_bvh(path), Span(start=0.08, fps=12.5), path)
    assert (len(track), track.fps) == (4, 12.5)


def test_what_is_missing_is_said(tmp_path):
    whole = bvh(tmp_path / "a.bvh").read_text()
    assert is_bvh(whole.encode()[:64])
    assert not is_bvh(b"{}")
    for name, text in (
        ("head", whole[:200]), ("frames", whole[:-60]), ("motion", whole.partition("MOTION")[0]),
        ("word", whole.replace("CHANNELS 3", "CHANNELS 3 Wrotation", 1)),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="not a complete BVH file"):
            read_bvh(tmp_path / name)
    renamed = tmp_path / "renamed.bvh"
    renamed.write_text(whole.replace("Arm", "Wing"))
    with pytest.raises(InputError, match="left_shoulder, right_shoulder"):
        track_of_capture(read_bvh(renamed), Span(), renamed)


@pytest.mark.egl
@pytest.mark.slow
def test_a_body_is_drawn(tmp_path):
    motion = open_motion(bvh(tmp_path / "a.txt", frames=3, turn=120))
    assert (motion.kind, motion.count) == ("bvh", 3)
    assert "BVH motion capture" in motion.notes[0]
    parts = next(iter(motion))
    assert faces_the_viewer(parts)
    assert parts[0].max() == parts[-1].max() == 0  # in full
    assert 0.6 < parts.any(1).mean() < 0.98
