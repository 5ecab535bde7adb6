"""BVH motion capture: joints in space, from the file's skeleton and channels, seen by a camera that we choose.

Shape legend: F frames, J joints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from magicanimate.body.fit import FOCAL
from magicanimate.body.track import Track
from magicanimate.errors import InputError
from magicanimate.media.timing import Span, cut_frames, timeline

_HEIGHT = 512  # pixels of the picture
_WIDEST = 16 / 9  # of the picture
_ROOM = 0.86  # share of the picture's height that the body takes
_TRUNK_AND_THIGH = 0.93  # metres from the shoulders over the hips to the knees of a grown-up
_AXES = {"Xrotation": 0, "Yrotation": 1, "Zrotation": 2, "Xposition": 0, "Yposition": 1, "Zposition": 2}

# joint of a track -> what programs call it, without side, spaces and prefixes such as "mixamorig:"
_SIDED = {
    "shoulder": ("arm", "upperarm", "uparm", "shoulder"),
    "elbow": ("forearm", "lowerarm", "lowarm", "elbow"),
    "wrist": ("hand", "wrist"),
    "hip": ("upleg", "upperleg", "thigh", "hip"),
    "knee": ("leg", "lowerleg", "lowleg", "shin", "calf", "knee"),
    "ankle": ("foot", "ankle"),
    "toe": ("toebase", "toe", "toes", "ball"),
}
_MIDDLE = {"mid_hip": ("hips", "pelvis", "root", "hip"), "neck": ("neck", "neck1"), "head": ("head",)}
_NEEDED = ("left_hip", "right_hip", "left_knee", "right_knee", "left_shoulder", "right_shoulder")


@dataclass
class Joint:
    """A joint of the file's skeleton."""

    name: str
    parent: int
    offset_3: np.ndarray
    channels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Capture:
    """A motion capture as read."""

    joints: list[Joint]
    places_FJ3: np.ndarray
    """[F, J, 3] float64, in the file's units and axes."""
    fps: float


def is_bvh(start: bytes) -> bool:
    """Whether a file's first bytes are those of a BVH file."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"HIERARCHY")


def read_bvh(path: Path) -> Capture:
    """Read the skeleton and where its joints are in each frame.

    Raises:
        InputError: the file is damaged.
    """
    try:
        head, _, body = path.read_text(encoding="utf-8-sig").partition("MOTION")
        joints = _skeleton(iter(head.split()))
        found = re.match(r"\s*Frames:\s*(\d+)\s*Frame Time:\s*([\d.eE+-]+)\s*", body)
        if found is None:
            raise ValueError("no frames")
        values = np.array(body[found.end() :].split(), np.float64)
        count, width = int(found[1]), sum(len(joint.channels) for joint in joints)
        frame_seconds = float(found[2])
        if count < 1 or frame_seconds <= 0 or len(values) < count * width:
            raise ValueError("frames missing")
    except (ValueError, StopIteration, IndexError, OSError) as error:
        raise InputError(f"{path} is not a complete BVH file ({error or 'it is cut off'}); export it again.") from error
    return Capture(joints, _places(joints, values[: count * width].reshape(count, width)), 1 / frame_seconds)


def _skeleton(words: Iterator[str]) -> list[Joint]:
    """The joints in the order of the file, parents first; ends of limbs are joints without channels."""
    joints: list[Joint] = []
    open_joints: list[int] = []
    for word in words:
        if word in ("ROOT", "JOINT", "End"):
            name = next(words)
            name = f"{joints[open_joints[-1]].name}_end" if word == "End" else name
            joints.append(Joint(name, open_joints[-1] if open_joints else -1, np.zeros(3)))
        elif word == "{":
            open_joints.append(len(joints) - 1)
        elif word == "}":
            open_joints.pop()
        elif word == "OFFSET":
            joints[-1].offset_3 = np.array([float(next(words)) for _ in range(3)])
        elif word == "CHANNELS":
            joints[-1].channels = [next(words) for _ in range(int(next(words)))]
            if not set(joints[-1].channels) <= set(_AXES):
                raise ValueError(f"unknown channels of {joints[-1].name}")
    if not joints or open_joints:
        raise ValueError("its skeleton is cut off")
    return joints


def _places(joints: list[Joint], values_FC: np.ndarray) -> np.ndarray:
    """Forward kinematics: rotations apply in the order in which a joint lists them. [F, J, 3]."""
    frames = len(values_FC)
    places = np.zeros((frames, len(joints), 3))
    turns = np.tile(np.eye(3), (frames, len(joints), 1, 1))
    column = 0
    for index, joint in enumerate(joints):
        local, moved = np.tile(np.eye(3), (frames, 1, 1)), np.tile(joint.offset_3, (frames, 1))
        positions = [name for name in joint.channels if name.endswith("position")]
        if positions:  # they stand for the offset, not on top of it
            moved = moved.copy()
        for name in joint.channels:
            axis, value_F = _AXES[name], values_FC[:, column]
            if name.endswith("position"):
                moved[:, axis] = value_F
            else:
                local = local @ _turn(axis, np.radians(value_F))
            column += 1
        if joint.parent < 0:
            places[:, index], turns[:, index] = moved, local
        else:
            above = turns[:, joint.parent]
            places[:, index] = places[:, joint.parent] + np.einsum("fij,fj->fi", above, moved)
            turns[:, index] = above @ local
    return places


def _turn(axis: int, angle_F: np.ndarray) -> np.ndarray:
    """[F, 3, 3] right-handed rotations about an axis."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((len(angle_F), 3, 3))
    turn[:, axis, axis] = 1
    turn[:, a, a] = turn[:, b, b] = np.cos(angle_F)
    turn[:, b, a], turn[:, a, b] = np.sin(angle_F), -np.sin(angle_F)
    return turn


def match_joints(names: list[str]) -> dict[str, int]:
    """Joint of a track -> index in the file, by the names that programs use."""
    plain = [re.sub(r"[^a-z0-9]", "", name.lower().rpartition(":")[2]) for name in names]
    found: dict[str, int] = {}
    for side, letter in (("left", "l"), ("right", "r")):
        for joint, words in _SIDED.items():
            spellings = [s for word in words for s in (side + word, letter + word, word + side, word + letter)]
            found |= _first(f"{side}_{joint}", spellings, plain)
    for joint, words in _MIDDLE.items():
        found |= _first(joint, list(words), plain)
    return found


def _first(joint: str, spellings: list[str], names: list[str]) -> dict[str, int]:
    return next(({joint: names.index(spelling)} for spelling in spellings if spelling in names), {})


def track_of_capture(capture: Capture, span: Span, path: Path) -> Track:
    """The capture as a camera sees it that stands in front of the person's first pose and takes in the whole motion.

    Raises:
        InputError: hips, knees or shoulders cannot be told by their names, or there is nothing in the span.
    """
    matched = match_joints([joint.name for joint in capture.joints])
    missing = [name for name in _NEEDED if name not in matched]
    if missing:
        raise InputError(
            f"{path} has no joints that can be told to be {', '.join(missing)}; rename them as in LeftUpLeg, LeftLeg, "
            "LeftArm."
        )
    line = timeline([index / capture.fps for index in range(len(capture.places_FJ3))], capture.fps)
    wanted = list(cut_frames(line, span, zip(line.times, capture.places_FJ3, strict=True)))
    if not wanted:
        raise InputError(f"{path} has no frames after --start {span.start:g}.")
    world_FJ3 = _upright(np.stack(wanted), capture, matched)[:, list(matched.values())]
    return _seen(world_FJ3, tuple(matched), span.fps or capture.fps)


def _upright(places_FJ3: np.ndarray, capture: Capture, matched: dict[str, int]) -> np.ndarray:
    """Metres with x to the right of the camera, y away from it, z up; the first pose faces the camera."""
    hips = (places_FJ3[:, matched["left_hip"]] + places_FJ3[:, matched["right_hip"]]) / 2
    chest = (places_FJ3[:, matched["left_shoulder"]] + places_FJ3[:, matched["right_shoulder"]]) / 2
    knees = (places_FJ3[:, matched["left_knee"]] + places_FJ3[:, matched["right_knee"]]) / 2
    upward = np.median(chest - knees, axis=0)
    axis = int(np.abs(upward).argmax())
    up = np.zeros(3)
    up[axis] = np.sign(upward[axis])
    left = (places_FJ3[:, matched["left_hip"]] - places_FJ3[:, matched["right_hip"]])[: max(1, len(places_FJ3) // 10)]
    right_of_camera = left.mean(0) - up * (left.mean(0) @ up)  # who faces the camera has the left side on its right
    right_of_camera /= max(np.linalg.norm(right_of_camera), 1e-9)
    turn = np.stack([right_of_camera, np.cross(up, right_of_camera), up])
    bones = np.linalg.norm(chest - hips, axis=1) + np.linalg.norm(hips - knees, axis=1)
    return places_FJ3 @ turn.T * (_TRUNK_AND_THIGH / np.median(bones))


def _seen(world_FJ3: np.ndarray, names: tuple[str, ...], fps: float) -> Track:
    """Project with the focal length that the fit assumes."""
    low, high = world_FJ3.min((0, 1)), world_FJ3.max((0, 1))
    tall = max(high[2] - low[2] + 0.25, 1.0)  # joints end below the top of the head and above the soles
    aspect = float(np.clip((high[0] - low[0] + 0.8) / tall, 0.6, _WIDEST))
    distance = FOCAL * tall / _ROOM
    width = int(round(_HEIGHT * aspect / 2) * 2)
    centred = world_FJ3 - np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2])
    depth = centred[..., 1] + max(distance, FOCAL * (high[0] - low[0] + 0.8) / aspect) + (high[1] - low[1]) / 2
    focal = FOCAL * _HEIGHT
    x = width / 2 + focal * centred[..., 0] / depth
    y = _HEIGHT / 2 - focal * centred[..., 2] / depth
    points = np.stack([x, y, np.ones_like(x)], -1).astype(np.float32)
    return Track(points, names, (_HEIGHT, width), fps, world_FJ3.astype(np.float32))
