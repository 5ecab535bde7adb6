"""OpenPose and COCO-WholeBody keypoints become tracks, and a body drawn over them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from magicanimate.body.track import JOINT_SETS
from magicanimate.errors import InputError
from magicanimate.media import Span
from magicanimate.motion.extractors.tracks import WHOLEBODY
from magicanimate.motion.formats.keypoints import follow_person, read_keypoints
from magicanimate.motion.open import open_motion
from motion.standing import faces_the_viewer, openpose_person, standing

WIDTH, HEIGHT = 160, 240


def openpose_folder(path: Path, frames: list[list[dict]], **about: int) -> Path:
    path.mkdir()
    for index, people in enumerate(frames):
        (path / f"clip_{index}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people, **about}))
    return path


def person(shift: float = 0.0, count: int = 25) -> dict:
    return openpose_person(count, WIDTH, HEIGHT, shift)


def coco(path: Path, frames: int, whole: bool = False) -> Path:
    annotations = []
    for frame in range(frames):
        joints = standing(WHOLEBODY) * (WIDTH, HEIGHT, 1)
        flat = [part.reshape(-1).tolist() for part in np.split(joints, [17, 23, 91, 112])]
        if whole:
            annotations.append({"image_id": frame + 1, "keypoints": joints.reshape(-1).tolist()})
        else:
            named = zip(("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"), flat, strict=True)
            annotations.append({"image_id": frame + 1, **dict(named)})
    images = [{"id": frame + 1, "width": WIDTH, "height": HEIGHT} for frame in range(frames)]
    path.write_text(json.dumps(annotations if whole else {"images": images, "annotations": annotations}))
    return path


@pytest.mark.parametrize("count", [18, 25])
def test_openpose_folders_are_read(tmp_path, count):
    frames = [[person(0.01 * i, count)] for i in range(12)]
    found = read_keypoints(openpose_folder(tmp_path / "k", frames, canvas_width=WIDTH, canvas_height=HEIGHT))
    assert found.size == (HEIGHT, WIDTH)
    track, most = follow_person(found, Span(), None)
    assert most == 1
    assert len(track) == 12  # clip_2 before clip_10
    assert track.names[:count] == JOINT_SETS[f"openpose{count}"]
    nose = track.points_FJ3[:, track.names.index("nose"), 0]
    assert np.allclose(nose, (0.5 + 0.01 * np.arange(12)) * WIDTH, atol=0.5)


def test_one_file_with_all_frames_and_relative_coordinates(tmp_path):
    frames = [{"people": [openpose_person(18, 1, 1)], "canvas_width": WIDTH, "canvas_height": HEIGHT}] * 3
    (tmp_path / "all.txt").write_text(json.dumps(frames))
    found = read_keypoints(tmp_path / "all.txt")
    assert found.size == (HEIGHT, WIDTH)
    assert found.people[0][0, 0, :2] == pytest.approx((0.5 * WIDTH, 0.15 * HEIGHT))


@pytest.mark.parametrize("whole", [False, True])
def test_coco_wholebody_is_read(tmp_path, whole):
    found = read_keypoints(coco(tmp_path / "coco.json", 3, whole))
    assert found.size == (HEIGHT, WIDTH) or whole  # results have no images
    assert found.names == WHOLEBODY
    toes = found.people[1][0, WHOLEBODY.index("left_toe")]
    assert toes == pytest.approx((0.56 * WIDTH, 0.94 * HEIGHT, 1))


def test_people_are_chosen_from_left_to_right_and_followed(tmp_path):
    small = {
        "pose_keypoints_2d": (np.array(person(-0.25)["pose_keypoints_2d"]).reshape(-1, 3) * 0.9).reshape(-1).tolist()
    }
    frames = [[person(0.25), small] if i % 2 else [small, person(0.25)] for i in range(6)]
    found = read_keypoints(openpose_folder(tmp_path / "k", frames))
    places = {}
    for chosen in (None, 1, 2):
        track, most = follow_person(found, Span(), chosen)
        assert most == 2
        places[chosen] = track.points_FJ3[:, 0, 0]
        assert np.ptp(places[chosen]) < 1  # the same person throughout
    assert np.allclose(places[None], places[2])  # the larger one
    assert (places[1] < places[2]).all()
    with pytest.raises(InputError, match=r"no person 3 .* at most 2"):
        follow_person(found, Span(), 3)


def test_short_gaps_are_bridged_and_long_ones_are_not(tmp_path):
    frames = [[person()] if i < 5 or 8 <= i < 12 or i > 40 else [] for i in range(45)]
    track, _ = follow_person(read_keypoints(openpose_folder(tmp_path / "k", frames)), Span(), None)
    assert track.seen_F[:12].all()
    assert not track.seen_F[15:40].any()


def test_other_point_counts_and_nobody_are_refused(tmp_path):
    odd = [{"pose_keypoints_2d": [1.0] * 21}]
    with pytest.raises(InputError, match="7 body points"):
        read_keypoints(openpose_folder(tmp_path / "odd", [odd]))
    absent = [{"pose_keypoints_2d": [0.0] * 75}]
    with pytest.raises(InputError, match="No person was found"):
        read_keypoints(openpose_folder(tmp_path / "absent", [absent]))


@pytest.mark.egl
def test_a_body_is_drawn_where_the_joints_are(tmp_path):
    frames = [[person(0.002 * i)] for i in range(3)]
    path = openpose_folder(tmp_path / "k", frames, canvas_width=WIDTH, canvas_height=HEIGHT)
    motion = open_motion(path)
    assert (motion.kind, motion.size, motion.count) == ("keypoints", (HEIGHT, WIDTH), 3)
    assert "keypoints (OpenPose, 25 points)" in motion.notes[0]
    parts = next(iter(motion))
    assert faces_the_viewer(parts)
    rows = np.flatnonzero(parts.any(1))
    assert rows[0] == pytest.approx(0.08 * HEIGHT, abs=0.06 * HEIGHT)
    assert rows[-1] == pytest.approx(0.94 * HEIGHT, abs=0.05 * HEIGHT)
