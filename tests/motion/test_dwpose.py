"""Whole-body networks: small ONNX networks with the interface of YOLOX and RTMW."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magicanimate.errors import InputError
from magicanimate.media import clip_of_frames
from magicanimate.motion.extractors.dwpose import DETECTOR, POSE, Wholebody, track_clip
from magicanimate.motion.extractors.tracks import WHOLEBODY
from motion.standing import standing

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

SIZE = 64
BLOCK = 32  # a person fills the left or the right half


def save(nodes: list, weights: dict[str, np.ndarray], output: list[tuple[str, list]], size: tuple, path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in output],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))


def detector(path: Path) -> None:
    """Boxes with scores: each half of the picture counts as a person as far as it is bright."""
    from onnx import helper

    boxes = np.array([[[0, 0, BLOCK, SIZE], [BLOCK, 0, SIZE, SIZE]]], np.float32)
    nodes = [
        helper.make_node("AveragePool", ["input"], ["halves"], kernel_shape=[SIZE, BLOCK], strides=[SIZE, BLOCK]),
        helper.make_node("ReduceMean", ["halves"], ["gray"], axes=[1], keepdims=0),  # [1, 1, 2]
        helper.make_node("Div", ["gray", "white"], ["share"]),
        helper.make_node("Transpose", ["share"], ["scores"], perm=[0, 2, 1]),  # [1, 2, 1]
        helper.make_node("Concat", ["boxes", "scores"], ["dets"], axis=2),  # [1, 2, 5]
    ]
    save(nodes, {"boxes": boxes, "white": np.float32([200.0])}, [("dets", [1, 2, 5])], (SIZE, SIZE), path)


def pose(path: Path) -> None:
    """A standing person in whatever box is asked for, as SimCC: a peak per joint along x and along y."""
    from onnx import helper

    height, width = 128, 96
    joints = standing(WHOLEBODY)
    x, y = np.zeros((1, 133, 2 * width), np.float32), np.zeros((1, 133, 2 * height), np.float32)
    seen = np.flatnonzero(joints[:, 2])
    x[0, seen, (joints[seen, 0] * 2 * width).astype(int)] = 0.9
    y[0, seen, (joints[seen, 1] * 2 * height).astype(int)] = 0.9
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["simcc_x"]),
        helper.make_node("Add", ["y", "zero"], ["simcc_y"]),
    ]
    outputs = [("simcc_x", list(x.shape)), ("simcc_y", list(y.shape))]
    save(nodes, {"x": x, "y": y, "nothing": np.float32([0.0])}, outputs, (height, width), path)


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    detector(folder / DETECTOR)
    pose(folder / POSE)
    return folder


def scene(left: bool, right: bool) -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), 10, np.uint8)
    image[:, :BLOCK] = 180 if left else 10
    image[:, BLOCK:] = 180 if right else 10
    return image


def test_people_and_their_joints_are_found(networks):
    find = Wholebody(networks)
    for people in ([], [0], [1], [0, 1]):
        boxes, joints = find(scene(0 in people, 1 in people))
        assert boxes.shape == (len(people), 4)
        assert joints.shape == (len(people), 133, 3)
        for index, side in enumerate(people):
            nose = joints[index, WHOLEBODY.index("nose")]
            assert nose[0] == pytest.approx(side * BLOCK + BLOCK / 2, abs=2)
            assert nose[2] > 0.5


def test_one_of_several_is_followed(networks):
    clip = clip_of_frames(np.stack([scene(True, True)] * 4), 25)
    for person, middle in ((1, 16), (2, 48)):
        track, most = track_clip(clip, networks, person, None)
        assert most == 2
        assert track.seen_F.all()
        assert track.points_FJ3[:, 0, 0] == pytest.approx([middle] * 4, abs=2)


def test_frames_without_people_and_clips_without_any(networks):
    frames = [scene(False, False)] * 20 + [scene(True, False)] * 3
    track, _ = track_clip(clip_of_frames(np.stack(frames), 25), networks, None, None)
    assert track.seen_F.tolist() == [False] * 20 + [True] * 3
    with pytest.raises(InputError, match="No person was found"):
        track_clip(clip_of_frames(np.stack(frames[:3]), 25), networks, None, None)


def test_a_small_person_is_found_where_it_is(networks):
    """Boxes and joints are in pixels of a picture larger than the detector's input."""
    large = np.repeat(np.repeat(scene(False, True), 3, 0), 3, 1)[: 3 * SIZE - 40]
    boxes, joints = Wholebody(networks)(large)
    assert boxes[0] == pytest.approx([3 * BLOCK, 0, 3 * SIZE, 3 * SIZE], abs=1)
    assert joints[0, WHOLEBODY.index("nose"), 0] == pytest.approx(4.5 * BLOCK, abs=4)
    assert joints[0, WHOLEBODY.index("left_ankle"), 1] > joints[0, WHOLEBODY.index("nose"), 1] + SIZE


def test_archives_are_fetched_once(tmp_path, monkeypatch):
    import io
    import urllib.request
    import zipfile

    from magicanimate.downloads import fetch_archived

    packed, asked = io.BytesIO(), []
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("folder/end2end.onnx", b"weights")
        archive.writestr("folder/detail.json", b"{}")

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(packed.getvalue() if "good" in url else b"<html>")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    for _ in range(2):
        assert fetch_archived("https://x.invalid/good.zip", ".onnx", "go").read_bytes() == b"weights"
    assert asked == ["https://x.invalid/good.zip"]
    with pytest.raises(InputError, match="cannot be fetched: connect, or go"):
        fetch_archived("https://x.invalid/bad.zip", ".onnx", "go")


def test_missing_and_wrong_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"detector.onnx does not exist; give a folder"):
        Wholebody(tmp_path)
    (tmp_path / DETECTOR).write_bytes(b"this is no network")
    with pytest.raises(InputError, match="not an ONNX network"):
        Wholebody(tmp_path)
