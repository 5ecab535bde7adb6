"""BVH motion capture: read, turned towards the camera, and drawn as a body."""

from __future__ import annotations

import re
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


STANDARD = ["Hips", "Spine", "Neck", "Head", "UpLeg", "Leg", "Foot", "ToeBase", "Arm", "ForeArm", "Hand"]
LIKE_STANDARD = "{}UpLeg,{}Leg,{}Foot,{}ToeBase,{}Arm,{}ForeArm,{}Hand"
# how programs call STANDARD; {}, {s} and {S} stand for the side
PROGRAMS = {
    "poser": "hip,abdomen,neck,head,{s}Thigh,{s}Shin,{s}Foot,{s}Toe,{s}Shldr,{s}ForeArm,{s}Hand",
    "daz": "hip,abdomenLower,neckLower,head,{s}ThighBend,{s}Shin,{s}Foot,{s}Toe,{s}ShldrBend,{s}ForearmBend,{s}Hand",
    "mixamo": "mixamorig_Hips,mixamorig_Spine,mixamorig_Neck,mixamorig_Head,"
    + LIKE_STANDARD.replace("{}", "mixamorig_{}"),
    "character": "Character1_Hips,Character1_Spine,Character1_Neck,Character1_Head,"
    + LIKE_STANDARD.replace("{}", "Character1_{}"),
    "vrm": "J_Bip_C_Hips,J_Bip_C_Spine,J_Bip_C_Neck,J_Bip_C_Head,J_Bip_{S}_UpperLeg,J_Bip_{S}_LowerLeg,J_Bip_{S}_Foot,"
    "J_Bip_{S}_ToeBase,J_Bip_{S}_UpperArm,J_Bip_{S}_LowerArm,J_Bip_{S}_Hand",
    "biped": "Bip01 Pelvis,Bip01 Spine,Bip01 Neck,Bip01 Head,Bip01 {S} Thigh,Bip01 {S} Calf,Bip01 {S} Foot,"
    "Bip01 {S} Toe0,Bip01 {S} UpperArm,Bip01 {S} Forearm,Bip01 {S} Hand",
    "figure": "Alice_Hips,Alice_Spine,Alice_Neck,Alice_Head,Alice_{}_Up_Leg,Alice_{}_Leg,Alice_{}_Foot,"
    "Alice_{}_Toe_Base,Alice_{}_Arm,Alice_{}_Fore_Arm,Alice_{}_Hand",
    "smpl": "Pelvis,Spine1,Neck,Head,{S}_Hip,{S}_Knee,{S}_Ankle,{S}_Foot,{S}_Shoulder,{S}_Elbow,{S}_Wrist",
}


def renamed(text: str, names: str) -> str:
    for own, other in zip(STANDARD, names.split(","), strict=True):
        for side in ("Left", "Right", ""):
            name = other.format(side, s=side[:1].lower(), S=side[:1])
            text = re.sub(rf"(JOINT|ROOT) {side}{own}$", rf"\1 {name}", text, flags=re.MULTILINE)
    return text


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_names_of_each_program_mean_the_same(tmp_path, program):
    standard = bvh(tmp_path / "a.bvh", LeftArm=(90, 0, 0), LeftLeg=(0, 40, 0))
    other = tmp_path / "b.bvh"
    other.write_text(renamed(standard.read_text(), PROGRAMS[program]))
    assert "ToeBase" not in other.read_text() or program in ("mixamo", "character", "vrm")
    one, two = (track_of_capture(read_bvh(path), Span(), path) for path in (standard, other))
    assert set(one.names) == set(two.names)
    places = [two.names.index(name) for name in one.names]
    assert np.array_equal(one.points_FJ3, two.points_FJ3[:, places])
    ankle, toe = (one.points_FJ3[0, one.names.index(f"right_{name}")] for name in ("ankle", "toe"))
    assert not np.allclose(ankle, toe)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "shift-jis"])
def test_names_that_are_not_needed_may_be_in_any_encoding(tmp_path, encoding):
    standard = bvh(tmp_path / "a.bvh")
    word = "\u4e0a\u534a\u8eab" if encoding == "shift-jis" else "Wirbels\u00e4ule"
    text = standard.read_text().replace("JOINT Spine", f"JOINT {word}")
    (tmp_path / "b.bvh").write_bytes(text.encode(encoding))
    assert is_bvh((tmp_path / "b.bvh").read_bytes()[:64])
    one, two = read_bvh(standard), read_bvh(tmp_path / "b.bvh")
    assert np.array_equal(one.places_FJ3, two.places_FJ3)


def test_small_letters_and_decimal_commas(tmp_path):
    standard = bvh(tmp_path / "a.bvh", LeftArm=(90, 0, 0))
    text = standard.read_text()
    for name in ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation"):
        text = text.replace(name, name.lower())
    head, _, body = text.partition("MOTION")
    (tmp_path / "b.bvh").write_text(f"{head}MOTION{body.replace('.', ',')}")
    one, two = read_bvh(standard), read_bvh(tmp_path / "b.bvh")
    assert np.array_equal(one.places_FJ3, two.places_FJ3)
    assert two.fps == pytest.approx(25)


def test_fewer_frames_than_declared_are_read_and_said(tmp_path):
    path = bvh(tmp_path / "a.bvh")
    whole = read_bvh(path)
    assert whole.warnings == []
    path.write_text(path.read_text().replace("Frames: 6", "Frames: 8"))
    short = read_bvh(path)
    assert np.array_equal(short.places_FJ3, whole.places_FJ3)
    assert short.warnings == ["a.bvh breaks off: 6 of its 8 frames could be read."]


def lying(path: Path, **turns: tuple[float, float, float]) -> Path:
    """Write a BVH file of a person on the floor: the root is turned, the skeleton at rest stands."""
    bvh(path, **turns)
    text = path.read_text()
    head, _, body = text.partition("MOTION")
    lines = body.strip().splitlines()
    rows = [" ".join([line.split()[0], "12", "0", "0", "-90", "0", *line.split()[6:]]) for line in lines[2:]]
    path.write_text("\n".join([f"{head}MOTION", *lines[:2], *rows]) + "\n")
    return path


def test_a_body_that_lies_down_lies_down(tmp_path):
    for path, lies in ((bvh(tmp_path / "a.bvh"), False), (lying(tmp_path / "b.bvh"), True)):
        track = track_of_capture(read_bvh(path), Span(), path)
        assert track.world_FJ3 is not None
        head, ankle = (track.world_FJ3[0, track.names.index(name)] for name in ("head", "left_ankle"))
        assert (abs(head[2] - ankle[2]) < 0.3) == lies  # height
        assert (np.linalg.norm(head[:2] - ankle[:2]) > 1.0) == lies
        x = track.points_FJ3[0, :, 0]
        assert (np.ptp(x) > 0.4 * track.size[1]) == lies  # seen from the side


def test_a_skeleton_with_z_up_stands(tmp_path):
    """Turned upright by its root, as some programs export: at rest it stands along y, in the world along z."""
    path = bvh(tmp_path / "a.bvh")
    head, _, body = path.read_text().partition("MOTION")
    lines = body.strip().splitlines()
    rows = [" ".join([line.split()[0], "0", "95", "0", "90", "0", *line.split()[6:]]) for line in lines[2:]]
    path.write_text("\n".join([f"{head}MOTION", *lines[:2], *rows]) + "\n")
    track = track_of_capture(read_bvh(path), Span(), path)
    assert track.world_FJ3 is not None
    head_3, ankle_3 = (track.world_FJ3[0, track.names.index(name)] for name in ("head", "left_ankle"))
    assert head_3[2] - ankle_3[2] > 1.0


def test_spans_and_rates(tmp_path):
    path = bvh(tmp_path / "a.bvh", frames=10)
    track = track_of_capture(read_bvh(path), Span(start=0.08, fps=12.5), path)
    assert (len(track), track.fps) == (4, 12.5)


def test_what_is_missing_is_said(tmp_path):
    whole = bvh(tmp_path / "a.bvh").read_text()
    assert is_bvh(whole.encode()[:64])
    assert not is_bvh(b"{}")
    for name, text in (
        ("head", whole[:200]), ("motion", whole.partition("MOTION")[0]),
        ("frames", whole.replace("Frames: 6", "Frames: 0")), ("nan", whole.replace("95", "nan", 1)),
        ("huge", whole.replace("95", "1e308", 1)), ("offset", whole.replace("OFFSET 9", "OFFSET inf", 1)),
        ("time", whole.replace("0.04", "1e-320", 1)), ("word", whole.replace("CHANNELS 3", "CHANNELS 3 Wrotation", 1)),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="not a complete BVH file"):
            read_bvh(tmp_path / name)
    renamed = tmp_path / "renamed.bvh"
    renamed.write_text(whole.replace("Arm", "Wing"))
    with pytest.raises(InputError, match="left_shoulder, right_shoulder"):
        track_of_capture(read_bvh(renamed), Span(), renamed)


@pytest.mark.slow
def test_a_body_is_drawn(tmp_path):
    motion = open_motion(bvh(tmp_path / "a.txt", frames=3, turn=120))
    assert (motion.kind, motion.count) == ("bvh", 3)
    assert "BVH motion capture" in motion.notes[0]
    parts = next(iter(motion))
    assert faces_the_viewer(parts)
    assert parts[0].max() == parts[-1].max() == 0  # in full
    assert 0.6 < parts.any(1).mean() < 0.98
