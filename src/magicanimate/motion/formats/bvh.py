"""BVH motion capture: joints in space, from the file's skeleton and channels, seen by a camera that we choose.

Shape legend: F frames, J joints.
"""

from __future__ import annotations

import re
from collections import Counter
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
_TRUNK_AND_THIGH = 0.93  # meters from the shoulders over the hips to the knees of a grown-up
_AXES = {f"{letter}{kind}": axis for kind in ("rotation", "position") for axis, letter in enumerate("xyz")}
_LARGEST = 1e6  # of any number: units and degrees
_SLOWEST, _FASTEST = 10.0, 1e-3  # seconds per frame
_MOST_JOINTS = 1000
_LONGEST = 120  # characters of a reason

# joint of a track -> what programs call it, without side, spaces and prefixes such as "mixamorig:"
_SIDED = {
    "shoulder": ("arm", "upperarm", "uparm", "shldr", "shldrbend", "upperarmbend", "shoulder"),
    "elbow": ("forearm", "lowerarm", "lowarm", "forearmbend", "lowerarmbend", "elbow"),
    "wrist": ("hand", "wrist"),
    "hip": ("upleg", "upperleg", "thigh", "thighbend", "hip"),
    "knee": ("leg", "lowerleg", "lowleg", "shin", "calf", "knee"),
    "ankle": ("ankle", "foot"),
    "toe": ("toebase", "toe", "toes", "toe0", "ball"),
}
_MIDDLE = {"mid_hip": ("hips", "pelvis", "root", "hip"), "neck": ("neck", "neck1", "necklower"), "head": ("head",)}
_PREFIXES = {
    "mixamorig", "character", "bip", "biped", "valvebiped", "j", "c", "cc", "base", "def", "org", "jnt", "bn", "bone",
    "b",
}  # fmt: skip
"""Pieces at the beginning of names that say which program or figure, and not which joint."""
_SIDE_WORDS = {"left", "right", "l", "r"}
_SHARED = 0.8  # of the names, from which a piece at their beginning is the figure's name
_UPRIGHT = 0.9  # cosine of thighs and spine with the vertical in a skeleton that stands
_LYING = 0.5  # cosine of the trunk with the vertical, below which somebody lies
_FLOOR = (-0.05, 0.15)  # of the body's length: where the lowest joints are if the floor is at 0
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
    turns_FJ33: np.ndarray
    """[F, J, 3, 3] float64, rotations from the rest pose."""
    fps: float
    warnings: list[str] = field(default_factory=list)

    @property
    def rest_J3(self) -> np.ndarray:
        """[J, 3] where the joints are without any rotation."""
        rest = np.zeros((len(self.joints), 3))
        for index, joint in enumerate(self.joints):
            rest[index] = joint.offset_3 + (rest[joint.parent] if joint.parent >= 0 else 0)
        return rest


def is_bvh(start: bytes) -> bool:
    """Return True if a file begins like a BVH file."""
    return _decoded(start).lstrip("\ufeff \t\r\n").upper().startswith("HIERARCHY")


def read_bvh(path: Path) -> Capture:
    """Read the skeleton and where its joints are in each frame.

    Raises:
        InputError: the file is damaged.
    """
    try:
        head, _, body = _decoded(path.read_bytes()).partition("MOTION")
        joints = _skeleton(iter(_words(head)))
        found = re.match(r"\s*Frames:\s*(\d{1,18})\s*Frame Time:\s*([\d.,eE+-]+)\s*", body, re.IGNORECASE)
        if found is None:
            raise ValueError("no frames")
        frame_seconds = float(found[2].replace(",", "."))
        if not _FASTEST <= frame_seconds <= _SLOWEST:
            raise ValueError(f"its frames last {frame_seconds:g} s each")
        values_FC, told = _values(body[found.end() :], int(found[1]), sum(len(joint.channels) for joint in joints))
    except (ValueError, StopIteration, IndexError, OSError, OverflowError) as error:
        reason = str(error)[:_LONGEST] or "it is cut off"
        raise InputError(f"{path} is not a complete BVH file ({reason}); export it again.") from error
    return Capture(joints, *_forward(joints, values_FC), 1 / frame_seconds, [f"{path.name} {text}" for text in told])


def _decoded(data: bytes) -> str:
    """Decode text in any encoding: joints whose names have other letters are none that are needed."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _values(text: str, declared: int, width: int) -> tuple[np.ndarray, list[str]]:
    """Return [frames, channels] of the whole frames that are there, and a sentence if they are fewer than declared."""
    words = text.replace(",", ".").split() if "." not in text else text.split()
    values = np.array(words[: declared * width], np.float64)
    count = min(declared, len(values) // width) if width else 0
    if count < 1:
        raise ValueError("frames missing")
    values_FC = values[: count * width].reshape(count, width)
    wrong = ~(np.abs(values_FC) <= _LARGEST).all(1)  # nan is not
    if wrong.any():
        raise ValueError(f"frame {int(wrong.argmax()) + 1} has a number that is none or far too large")
    told = [f"breaks off: {count} of its {declared} frames could be read."] if count < declared else []
    return values_FC, told


def _words(head: str) -> Iterator[str]:
    """Yield the words of the hierarchy; a joint's name is one, whatever is in it."""
    for line in re.split(r"[\r\n]+", head):
        named = re.match(r"[ \t]*(ROOT|JOINT|End)[ \t]+([^ \t{]+.*)", line, re.IGNORECASE)
        if named is None:
            yield from line.split()
            continue
        # A brace opens the joint at the line's end or after a space; elsewhere it is half of a letter of Shift JIS.
        name, *rest = re.split(r"[ \t]+(?=\{)|(?=\{$)", named[2].rstrip(" \t"), maxsplit=1)
        yield from (named[1], name.rstrip(" \t"), *" ".join(rest).replace("{", "{ ").split())


def _skeleton(words: Iterator[str]) -> list[Joint]:
    """Return the joints in the order of the file, parents first; ends of limbs are joints without channels."""
    joints: list[Joint] = []
    open_joints: list[int] = []
    for word in words:
        if word.upper() in ("ROOT", "JOINT", "END"):
            name = next(words)
            name = f"{joints[open_joints[-1]].name}_end" if word.upper() == "END" else name
            joints.append(Joint(name, open_joints[-1] if open_joints else -1, np.zeros(3)))
        elif word == "{":
            open_joints.append(len(joints) - 1)
        elif word == "}":
            open_joints.pop()
        elif word.upper() == "OFFSET":
            joints[-1].offset_3 = np.array([float(next(words).replace(",", ".")) for _ in range(3)])
            if not (np.abs(joints[-1].offset_3) <= _LARGEST).all():
                raise ValueError(f"the offset of {joints[-1].name} is no place")
        elif word.upper() == "CHANNELS":
            joints[-1].channels = [next(words).lower() for _ in range(min(int(next(words)), len(_AXES)))]
            if not set(joints[-1].channels) <= set(_AXES):
                raise ValueError(f"unknown channels of {joints[-1].name}")
    if not joints or open_joints:
        raise ValueError("its skeleton is cut off")
    if len(joints) > _MOST_JOINTS:
        raise ValueError(f"its skeleton has {len(joints)} joints")
    return joints


def _forward(joints: list[Joint], values_FC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute places [F, J, 3] and turns [F, J, 3, 3] of joints. Rotations apply in the order of a joint's list."""
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
    return places, turns


def _turn(axis: int, angle_F: np.ndarray) -> np.ndarray:
    """Return [F, 3, 3] right-handed rotations about an axis."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((len(angle_F), 3, 3))
    turn[:, axis, axis] = 1
    turn[:, a, a] = turn[:, b, b] = np.cos(angle_F)
    turn[:, b, a], turn[:, a, b] = np.sin(angle_F), -np.sin(angle_F)
    return turn


def match_joints(names: list[str]) -> dict[str, int]:
    """Map joints of a track to indices in the file, by the names that programs use."""
    plain = _plain(names)
    found: dict[str, int] = {}
    for side, letter in (("left", "l"), ("right", "r")):
        for joint, words in _SIDED.items():
            spellings = [s for word in words for s in (side + word, letter + word, word + side, word + letter)]
            found |= _first(f"{side}_{joint}", spellings, plain)
        # Beside an ankle, as in SMPL's skeleton, the foot is where the toes begin.
        ankle = found.get(f"{side}_ankle")
        if f"{side}_toe" not in found and ankle is not None and "ankle" in plain[ankle]:
            found |= _first(f"{side}_toe", [side + "foot", letter + "foot", "foot" + side, "foot" + letter], plain)
    for joint, words in _MIDDLE.items():
        found |= _first(joint, list(words), plain)
    return found


def _plain(names: list[str]) -> list[str]:
    """Return names in small letters without separators, and without what says whose joint it is."""
    pieces = [
        re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", re.sub(r"[^A-Za-z0-9]", " ", name.rpartition(":")[2]))
        for name in names
    ]
    while firsts := Counter(words[0].lower() for words in pieces if len(words) > 1):
        shared, count = firsts.most_common(1)[0]
        if count < _SHARED * len(pieces) or shared in _SIDE_WORDS:
            break
        pieces = [words[1:] if len(words) > 1 and words[0].lower() == shared else words for words in pieces]
    return ["".join(_without_prefix(words)).lower() for words in pieces]


def _without_prefix(words: list[str]) -> list[str]:
    """Return the words from the first that is no prefix, nor a number after one; all if none is left."""
    begin = 0
    while begin < len(words) and (words[begin].lower() in _PREFIXES or (words[begin].isdigit() and begin)):
        begin += 1
    return words[begin:] or words


def _first(joint: str, spellings: list[str], names: list[str]) -> dict[str, int]:
    return next(({joint: names.index(spelling)} for spelling in spellings if spelling in names), {})


def track_of_capture(capture: Capture, span: Span, path: Path) -> Track:
    """View the capture from a camera in front of the first pose that takes in the whole motion.

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
    """Turn a motion to meters, x to the camera's right, y away from it, z up; the first pose faces the camera."""
    hips = (places_FJ3[:, matched["left_hip"]] + places_FJ3[:, matched["right_hip"]]) / 2
    chest = (places_FJ3[:, matched["left_shoulder"]] + places_FJ3[:, matched["right_shoulder"]]) / 2
    knees = (places_FJ3[:, matched["left_knee"]] + places_FJ3[:, matched["right_knee"]]) / 2
    up = _upward(places_FJ3, np.median(chest - knees, axis=0), capture.rest_J3, matched)
    first = slice(max(1, len(places_FJ3) // 10))
    trunk = (chest - knees)[first].mean(0)
    left = (places_FJ3[:, matched["left_hip"]] - places_FJ3[:, matched["right_hip"]])[first].mean(0)
    # Who faces the camera has the left side on its right; who lies is seen from the side.
    across = trunk if abs(trunk @ up) < _LYING * np.linalg.norm(trunk) else left
    right_of_camera = across - up * (across @ up)
    right_of_camera /= max(np.linalg.norm(right_of_camera), 1e-9)
    turn = np.stack([right_of_camera, np.cross(up, right_of_camera), up])
    bones = np.linalg.norm(chest - hips, axis=1) + np.linalg.norm(hips - knees, axis=1)
    if not np.median(bones) > 0:
        raise InputError("The skeleton of this BVH file has no length; export it again.")
    return places_FJ3 @ turn.T * (_TRUNK_AND_THIGH / np.median(bones))


def _upward(places_FJ3: np.ndarray, trunk_3: np.ndarray, rest_J3: np.ndarray, matched: dict[str, int]) -> np.ndarray:
    """Return the axis, with its sign, that points up: the skeleton's at rest, which stands even if the person lies.

    Some files have a skeleton whose rest is no stance, or that is turned upright by its root: then it is the axis along
    which the person stands on a floor at 0, or, where no floor tells, is usually stretched.
    """
    moving = _axis(trunk_3)
    rest = {name: rest_J3[index] for name, index in matched.items()}
    thighs = [rest[f"{side}_hip"] - rest[f"{side}_knee"] for side in ("left", "right")]
    spine = sum(rest[f"{side}_shoulder"] - rest[f"{side}_hip"] for side in ("left", "right"))
    stance = _axis(spine)
    upright = all(bone @ stance > _UPRIGHT * np.linalg.norm(bone) > 0 for bone in (*thighs, spine))
    if not upright or stance @ moving > 0:
        return moving
    length = 2 * float(np.linalg.norm(trunk_3))

    def stands(up_3: np.ndarray) -> bool:
        lowest = float(np.quantile((places_FJ3 @ up_3).min(1), 0.1)) / max(length, 1e-9)
        return _FLOOR[0] <= lowest <= _FLOOR[1]

    return moving if stands(moving) and not stands(stance) else stance


def _axis(direction_3: np.ndarray) -> np.ndarray:
    """Return the coordinate axis, with its sign, nearest to a direction."""
    index = int(np.abs(direction_3).argmax())
    axis = np.zeros(3)
    axis[index] = np.sign(direction_3[index]) or 1.0
    return axis


def _seen(world_FJ3: np.ndarray, names: tuple[str, ...], fps: float) -> Track:
    """Project with the focal length that the fit assumes."""
    shift_3, focal, (height, width) = camera_before(world_FJ3)
    seen_FJ3 = world_FJ3 + shift_3
    x = width / 2 + focal * seen_FJ3[..., 0] / seen_FJ3[..., 1]
    y = height / 2 - focal * seen_FJ3[..., 2] / seen_FJ3[..., 1]
    points = np.stack([x, y, np.ones_like(x)], -1).astype(np.float32)
    return Track(points, names, (height, width), fps, world_FJ3.astype(np.float32))


def camera_before(world_FJ3: np.ndarray) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Place a camera that takes in a whole motion: shift of the world [3], focal length, (height, width).

    world_FJ3: joints in meters, x to the right, y away, z up.
    """
    low, high = world_FJ3.min((0, 1)), world_FJ3.max((0, 1))
    tall = max(high[2] - low[2] + 0.25, 1.0)  # joints end below the top of the head and above the soles
    aspect = float(np.clip((high[0] - low[0] + 0.8) / tall, 0.6, _WIDEST))
    distance = max(FOCAL * tall / _ROOM, FOCAL * (high[0] - low[0] + 0.8) / aspect) + (high[1] - low[1]) / 2
    shift_3 = np.array([0, distance, 0]) - (low + high) / 2
    return shift_3, FOCAL * _HEIGHT, (_HEIGHT, int(round(_HEIGHT * aspect / 2) * 2))
