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


FRAMES = 5
WRISTS = [(40.0 + 6 * f, 100.0 - 5 * f) for f in range(FRAMES)]
"""Pixels of the right wrist in every frame."""
ORDER = {"coco17": JOINT_SETS["coco17"], "openpose18": JOINT_SETS["openpose18"], "halpe26": JOINT_SETS["halpe26"]}


def joints(kind: str, frame: int, width: float = WIDTH, height: float = HEIGHT) -> np.ndarray:
    """[J, 3] somebody who stands, and whose right wrist moves."""
    points = standing(ORDER[kind]) * (WIDTH, HEIGHT, 1)
    points[ORDER[kind].index("right_wrist"), :2] = WRISTS[frame]
    return points * (width / WIDTH, height / HEIGHT, 0.9)


def openpose_frames(change=lambda points: points.reshape(-1).tolist(), key: str = "pose_keypoints_2d") -> list[dict]:
    canvas = {"canvas_width": WIDTH, "canvas_height": HEIGHT}
    return [{"people": [{key: change(joints("openpose18", f))}], **canvas} for f in range(FRAMES)]


def alphapose(kind: str = "coco17", name: str = "{}.jpg", frames=range(FRAMES)) -> list[dict]:
    return [{"image_id": name.format(f), "keypoints": joints(kind, f).reshape(-1).tolist()} for f in frames]


def mmpose(frame: int) -> list[dict]:
    points = joints("coco17", frame)
    return [{"keypoints": points[:, :2].tolist(), "keypoint_scores": points[:, 2].tolist()}]


def unsorted_coco() -> dict:
    """Pictures are listed in another order than that of their names."""
    order = [3, 1, 4, 0, 2]
    images = [{"id": 100 + f, "file_name": f"img{f + 8}.png", "width": WIDTH, "height": HEIGHT} for f in order]
    entries = alphapose(name="{}", frames=reversed(range(FRAMES)))
    return {"images": images, "annotations": [entry | {"image_id": 100 + int(entry["image_id"])} for entry in entries]}


FORMATS = {
    "nested triples": openpose_frames(lambda points: points.tolist()),
    "pairs": openpose_frames(lambda points: points[:, :2].reshape(-1).tolist()),
    "until version 1.1": openpose_frames(key="pose_keypoints"),
    "frames by key": {str(f + 9): frame for f, frame in enumerate(openpose_frames())},  # 10 comes after 9
    "alphapose": sorted(alphapose(name="{}.jpg"), key=lambda entry: entry["image_id"], reverse=True),
    "halpe26": alphapose("halpe26"),
    "coco unsorted": unsorted_coco(),
    "mmpose list": [{"instances": mmpose(f)} for f in range(FRAMES)],
    "mmpose video": {"instance_info": [{"frame_id": f + 1, "instances": mmpose(f)} for f in range(FRAMES)]},
    "mmpose bare": [mmpose(f) for f in range(FRAMES)],
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_the_same_wrists(tmp_path, name):
    (tmp_path / "a.json").write_text(json.dumps(FORMATS[name]))
    found = read_keypoints(tmp_path / "a.json")
    wrist = found.names.index("right_wrist")
    assert np.allclose([frame[0, wrist, :2] for frame in found.people], WRISTS, atol=0.01)
    assert all(frame[0, wrist, 2] > 0.5 for frame in found.people)


def test_ten_comes_after_nine_in_alphapose(tmp_path):
    entries = [{**alphapose(frames=[0])[0], "image_id": f"{f}.jpg"} for f in range(1, 13)]
    for f, entry in enumerate(entries):
        entry["keypoints"] = (np.array(entry["keypoints"]) + [f, 0, 0] * 17).tolist()
    (tmp_path / "a.json").write_text(json.dumps(sorted(entries, key=lambda entry: entry["image_id"])))
    found = read_keypoints(tmp_path / "a.json")
    assert np.allclose(np.diff([frame[0, 0, 0] for frame in found.people]), 1, atol=0.01)


def test_lines_of_json_and_byte_order_marks(tmp_path):
    frames = openpose_frames()
    (tmp_path / "lines.json").write_text("".join(json.dumps(frame) + "\n" for frame in frames))
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(frames, indent=1).encode())
    for name in ("lines.json", "bom.json"):
        found = read_keypoints(tmp_path / name)
        assert np.allclose([frame[0, 4, :2] for frame in found.people], WRISTS, atol=0.01)


def test_missing_frames_keep_their_time(tmp_path):
    for step in (1, 5):
        entries = [{**alphapose(frames=[0])[0], "image_id": f"{step * f}.jpg"} for f in (0, 1, 2, 40, 41)]
        (tmp_path / "a.json").write_text(json.dumps(entries))
        found = read_keypoints(tmp_path / "a.json")
        assert [index for index, frame in enumerate(found.people) if len(frame)] == [0, 1, 2, 40, 41]
    apart = [{**alphapose(frames=[0])[0], "image_id": number} for number in (397133, 37777, 252219)]
    (tmp_path / "a.json").write_text(json.dumps(apart))
    assert len(read_keypoints(tmp_path / "a.json").people) == 3  # pictures of a collection, not of a film


def test_a_long_absence_is_said(tmp_path):
    numbers = (*range(6), *range(36, 40))
    entries = [{**alphapose(frames=[0])[0], "image_id": f"{f}.jpg"} for f in numbers]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    motion = open_motion(tmp_path / "a.json")
    assert motion.count == 40
    assert any("Nobody is there from 0.24 to 1.44 s" in note for note in motion.notes)
    assert [parts.any() for parts in motion] == [f in numbers for f in range(40)]


@pytest.mark.parametrize("canvas", [True, False])
@pytest.mark.parametrize("centered", [True, False])
def test_shares_of_the_picture(tmp_path, canvas, centered):
    """OpenPose's keypoint_scale 3 and 4: 0 to 1, and -1 to 1; a foot and a hand are outside the picture."""
    frames = openpose_frames(lambda points: points)
    for frame in frames:
        points = frame["people"][0]["pose_keypoints_2d"] / (WIDTH, HEIGHT, 1)
        points[10, :2], points[7, :2] = (0.45, 1.2), (1.3, 0.5)
        points[:, :2] = 2 * points[:, :2] - 1 if centered else points[:, :2]
        points[12] = (-1, -1, 0)
        frame["people"][0]["pose_keypoints_2d"] = points.reshape(-1).tolist()
        if not canvas:
            del frame["canvas_width"], frame["canvas_height"]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    found = read_keypoints(tmp_path / "a.json")
    assert found.size == ((HEIGHT, WIDTH) if canvas else (512, 512))
    scale = np.array([found.size[1] / WIDTH, found.size[0] / HEIGHT])
    assert np.allclose([frame[0, 4, :2] for frame in found.people], WRISTS * scale, atol=0.01)
    assert found.people[0][0, 10, 1] == pytest.approx(1.2 * found.size[0])
    assert found.people[0][0, 12, 2] == 0
    assert any("512x512 was assumed" in note for note in found.notes) != canvas


def test_minus_one_is_not_seen(tmp_path):
    def hidden(points: np.ndarray) -> list[float]:
        points[4], points[7] = (-1, -1, 1), (-1, -1, 0)
        return points.reshape(-1).tolist()

    (tmp_path / "a.json").write_text(json.dumps(openpose_frames(hidden)))
    found = read_keypoints(tmp_path / "a.json")
    assert found.size == (HEIGHT, WIDTH)
    assert all((frame[0, [4, 7], 2] == 0).all() for frame in found.people)
    assert all((frame[0, 3, 2] > 0) for frame in found.people)


def test_one_wild_joint_does_not_make_the_picture_huge(tmp_path):
    frames = openpose_frames(lambda points: points)
    for frame in frames:
        points = frame["people"][0]["pose_keypoints_2d"]
        points[4, :2] = (1e308, -1e308)
        frame["people"][0]["pose_keypoints_2d"] = points.reshape(-1).tolist()
        del frame["canvas_width"]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    found = read_keypoints(tmp_path / "a.json")
    assert max(found.size) < 2 * HEIGHT
    assert found.people[0][0, 4, 2] == 0


WRONG = [
    None,
    True,
    "x",
    -1,
    10**400,
    1e308,
    float("nan"),
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "9" * 50,
    [1, 2, 3],
    [10**9] * 36,
]


@pytest.mark.parametrize("make", [openpose_frames, unsorted_coco, lambda: FORMATS["mmpose list"]])
def test_every_wrong_type_is_read_or_one_sentence(tmp_path, make):
    """Replace each value of a frame, and each frame, by each wrong one."""
    places: list[tuple] = []

    def walk(value, path=()) -> None:
        places.append(path)
        for key, inner in (
            value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
        ):
            walk(inner, (*path, key))

    whole = json.dumps(make())
    walk(json.loads(whole))
    sentences: list[str] = []
    for path in places[1:]:
        for wrong in WRONG:
            data = json.loads(whole)
            parent = data
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = wrong
            (tmp_path / "a.json").write_text(json.dumps(data))
            try:
                follow_person(read_keypoints(tmp_path / "a.json"), Span(), None)
            except InputError as error:
                sentences.append(str(error))
    assert len(sentences) > len(places)
    assert all("\n" not in sentence and sentence.endswith(".") for sentence in sentences)


def test_hidden_files_beside_frames_are_ignored(tmp_path):
    folder = openpose_folder(tmp_path / "k", [[person()] for _ in range(3)])
    (folder / "._clip_0_keypoints.json").write_bytes(b"\0\5\x16\7")
    assert len(read_keypoints(folder).people) == 3


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
