"""Finds frames and people in the JSON of pose estimators: OpenPose, AlphaPose, COCO, MMPose.

All of them come down to frames with a number, and in each some people whose joints are lists of numbers.

Shape legend: J joints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from magicanimate.body.track import JOINT_SETS
from magicanimate.errors import InputError
from magicanimate.media.reading import by_number, visible
from magicanimate.motion.extractors.tracks import FACE, WHOLEBODY, hand_names
from magicanimate.untrusted import JSON_BYTES, parse_json, read_json

_OPENPOSE = {18: JOINT_SETS["openpose18"], 25: JOINT_SETS["openpose25"]}
_HALPE26 = JOINT_SETS["halpe26"]
_COCO = {
    17: JOINT_SETS["coco17"], 23: WHOLEBODY[:23], 26: _HALPE26, 133: WHOLEBODY,
    136: (*_HALPE26, *FACE, *hand_names("left"), *hand_names("right")),
}  # fmt: skip
_COCO_PARTS = (("foot_kpts", 6), ("face_kpts", 68), ("lefthand_kpts", 21), ("righthand_kpts", 21))
_OPENPOSE_KEYS = (
    "pose_keypoints_2d",
    "pose_keypoints",
    "joints",
)  # the second until version 1.1, the third AlphaPose's
_PEOPLE_KEYS = ("people", "instances", "bodies")
_SPARSE, _SPARE = 10, 250  # as many times the frames, and so many more, may be missing between their numbers


@dataclass
class RawFrame:
    """One frame of a file."""

    number: int | None = None
    people: list[dict[str, Any]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    """(height, width) in pixels, where the file says it."""


@dataclass(frozen=True)
class RawPerson:
    """Joints as a file has them."""

    points_J3: np.ndarray
    """[J, 3] float64: x, y in the file's own units, and the confidence 0..1."""
    names: tuple[str, ...]
    format: str


def read_frames(path: Path) -> list[RawFrame]:
    """Read a folder with a JSON file per frame, one file with all, or JSON lines; in the order of time.

    Frames that are missing between others are there, without people.

    Raises:
        InputError: it is no JSON, or none of the known formats.
    """
    if path.is_dir():
        files = sorted((file for file in visible(path) if file.suffix.lower() == ".json"), key=by_number)
        frames = [frame for file in files for frame in _frames_of(_load(file)) or [RawFrame()]]
        if len(frames) == len(files):
            for frame, number in zip(frames, _numbers_in([file.stem for file in files]), strict=True):
                frame.number = number
    else:
        frames = _frames_of(_load(path)) or []
    if not frames:
        raise InputError(
            f"{path} holds no keypoints that are known; give JSON of OpenPose (one file per frame, with people), "
            "AlphaPose, MMPose, or COCO (annotations with keypoints)."
        )
    return _without_holes(frames)


def _load(path: Path) -> Any:
    """Parse JSON, or a list of what is in each line."""
    try:
        with path.open("rb") as file:
            lines = file.read(JSON_BYTES + 1).splitlines() if path.stat().st_size <= JSON_BYTES else []
        first, *others = (line for line in lines if line.strip())
        values = [parse_json(first)]
        if others:
            return values + [parse_json(line) for line in others]
    except (OSError, ValueError):
        pass  # it is one value over several lines, or not JSON at all
    return read_json(path, "The keypoints", "it may be cut off: write it again")


def _frames_of(data: Any) -> list[RawFrame] | None:
    """Return frames in the order of their numbers; None for what is no keypoints."""
    if isinstance(data, dict):
        if isinstance(data.get("instance_info"), list):
            return _frames_of(data["instance_info"])
        if isinstance(data.get("annotations"), list):
            return _by_image(data["annotations"], data.get("images"))
        if any(key in data for key in _PEOPLE_KEYS):
            return [_frame(data)]
        return _by_key(data)
    if not isinstance(data, list) or not data:
        return None
    if all(isinstance(entry, dict) and "image_id" in entry and "keypoints" in entry for entry in data):
        return _by_image(data, None)
    if all(isinstance(entry, dict) and "keypoints" in entry for entry in data):
        return [RawFrame(people=data)]  # everybody in one picture
    frames = [_frame(entry) for entry in data if _is_frame(entry)]
    return frames if len(frames) == len(data) else None


def _is_frame(entry: Any) -> bool:
    if isinstance(entry, dict):
        return any(key in entry for key in _PEOPLE_KEYS)
    return isinstance(entry, list) and all(isinstance(person, dict) for person in entry)


def _frame(entry: dict[str, Any] | list[Any]) -> RawFrame:
    if isinstance(entry, list):
        return RawFrame(people=entry)
    people = next(entry[key] for key in _PEOPLE_KEYS if key in entry)
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise InputError("A frame of these keypoints has people that are no list of joints by name; write them again.")
    number = entry.get("frame_id")
    return RawFrame(number if isinstance(number, int) else None, people, _size(entry, "canvas_height", "canvas_width"))


def _by_key(data: dict[str, Any]) -> list[RawFrame] | None:
    """Return frames under their numbers or the names of their pictures."""
    if not data or not all(_is_frame(entry) for entry in data.values()):
        return None
    keys = sorted(data, key=by_number)
    frames = [_frame(data[key]) for key in keys]
    for frame, number in zip(frames, _numbers_in(keys), strict=True):
        frame.number = number
    return frames


def _by_image(entries: list[Any], images: Any) -> list[RawFrame]:
    """Read entries that name their picture by its number or file name; pictures may be listed beside."""
    listed: dict[Any, dict[str, Any]] = {}
    for image in images if isinstance(images, list) else []:
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
            raise InputError("An entry under images of these keypoints has no id; write them again.")
        listed[image["id"]] = image
    people: dict[Any, list[dict[str, Any]]] = {name: [] for name in listed}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), int | str):
            raise InputError("An annotation of these keypoints does not say its image_id; write them again.")
        if entry.get("keypoints"):
            people.setdefault(entry["image_id"], []).append(entry)
    names = {name: _file_name(name, listed.get(name)) for name in people}
    order = sorted(people, key=lambda name: by_number(names[name]))
    numbers = _numbers_in([names[name] for name in order])
    return [
        RawFrame(number, people[name], _size(listed.get(name, {}), "height", "width"))
        for name, number in zip(order, numbers, strict=True)
    ]


def _file_name(image: Any, about: dict[str, Any] | None) -> str:
    name = (about or {}).get("file_name")
    return name if isinstance(name, str) and re.search(r"\d", name) else str(image)


def _numbers_in(names: Sequence[str]) -> Sequence[int | None]:
    """Find the number in each name that counts frames: the last that rises from one to the next; None if none does."""
    found = [[int(digits) for digits in re.findall(r"\d{1,15}", name)] for name in names]
    shortest = min((len(numbers) for numbers in found), default=0)
    if not shortest or any(len(numbers) != shortest for numbers in found):
        return [None] * len(names)
    for column in reversed(range(shortest)):
        numbers = [row[column] for row in found]
        if all(before < after for before, after in pairwise(numbers)):
            return numbers
    return [None] * len(names)


def _without_holes(frames: list[RawFrame]) -> list[RawFrame]:
    """Return frames in the order of their numbers, with empty ones where numbers are missing."""
    numbers = [frame.number for frame in frames if frame.number is not None]
    if len(numbers) < len(frames) or len(set(numbers)) < len(frames) or len(frames) < 2:
        return frames
    ordered = sorted(frames, key=lambda frame: frame.number or 0)
    steps = [after - before for before, after in pairwise(sorted(numbers))]
    step = gcd(*steps)
    if (max(numbers) - min(numbers)) // step > _SPARSE * len(frames) + _SPARE:
        return ordered  # the numbers of a collection, and no film's
    complete: list[RawFrame] = []
    for frame, gap in zip(ordered, [step, *steps], strict=True):
        complete += [RawFrame(size=frame.size) for _ in range(gap // step - 1)]
        complete.append(frame)
    return complete


def _size(about: dict[str, Any], height: str, width: str) -> tuple[int, int] | None:
    sides = about.get(height), about.get(width)
    if not all(sides):
        return None
    if not all(isinstance(side, int | float) and 1 <= side <= 10**6 for side in sides):
        raise InputError(f"{width} and {height} of these keypoints are no size of a picture; correct or remove them.")
    return int(sides[0] or 0), int(sides[1] or 0)


def read_person(person: dict[str, Any]) -> RawPerson | None:
    """Return the joints of one person; None if there are none at all.

    Raises:
        InputError: they are no numbers, or of a number that belongs to no known skeleton.
    """
    if "keypoints" in person:
        return _coco_person(person)
    key = next((key for key in _OPENPOSE_KEYS if person.get(key)), None)
    if key is None:
        return None
    body = _points(person[key], _OPENPOSE, "OpenPose", "18 (COCO) and 25 (BODY_25)")
    hands = [_part(person, f"hand_{side}_keypoints{key.removeprefix('pose_keypoints')}", 21) for side in _SIDES]
    names = (*_OPENPOSE[len(body)], *hand_names("left"), *hand_names("right"))
    return RawPerson(np.concatenate([body, *hands]), names, f"OpenPose, {len(body)} points")


_SIDES = ("left", "right")


def _coco_person(person: dict[str, Any]) -> RawPerson:
    scores = person.get("keypoint_scores")
    body = _points(person["keypoints"], _COCO, "COCO", "17, 23, 26 (Halpe), 133 (whole body) and 136", scores)
    if len(body) == 17 and any(person.get(key) for key, _ in _COCO_PARTS):
        body = np.concatenate([body, *(_part(person, key, count) for key, count in _COCO_PARTS)])
    return RawPerson(body, _COCO[len(body)], "Halpe, 26 points" if len(body) == 26 else f"COCO, {len(body)} points")


def _points(values: Any, known: dict[int, tuple[str, ...]], family: str, listed: str, scores: Any = None) -> np.ndarray:
    """Return [J, 3] of a known number of joints: triples, or pairs, perhaps with scores beside."""
    flat, width = _flat(values)
    for count in known:
        for numbers in (3, 2):
            if len(flat) == numbers * count and width in (0, numbers):
                return _triples(flat, numbers, scores)
    raise InputError(f"These {family} keypoints have {len(flat) // (width or 3)} body points; {listed} can be read.")


def _part(person: dict[str, Any], key: str, count: int) -> np.ndarray:
    """Return [count, 3] of a hand, a face, feet; not seen where they are left out."""
    flat, width = _flat(person.get(key) or [])
    if not len(flat):
        return np.zeros((count, 3))
    for numbers in (3, 2):
        if len(flat) == numbers * count and width in (0, numbers):
            return _triples(flat, numbers, None)
    raise InputError(f"{key} of a person in these keypoints has {len(flat)} numbers where {3 * count} belong.")


def _flat(values: Any) -> tuple[np.ndarray, int]:
    """Return numbers in a row, and how many each joint's own list has; 0 if there are no such lists."""
    try:
        array = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError("A person in these keypoints has something else where numbers belong.") from error
    if array.ndim == 3 and len(array) == 1:  # a list of one person's joints
        array = array[0]
    if array.ndim not in (1, 2):
        raise InputError("A person in these keypoints has joints that are no list of numbers.")
    return array.reshape(-1), array.shape[1] if array.ndim == 2 else 0


def _triples(flat: np.ndarray, numbers: int, scores: Any) -> np.ndarray:
    """Return [J, 3] with the confidence within 0..1 (COCO's visibilities 1 and 2 are sure), 0 for what was not seen.

    Programs write (-1, -1) for what they do not see, and those that write no confidence (0, 0).
    """
    given = flat.reshape(-1, numbers)
    points = np.concatenate([given[:, :2], np.ones((len(given), 1))], 1)
    if numbers == 3:
        points[:, 2] = given[:, 2]
    elif scores is not None:
        confidence, _ = _flat(scores)
        if len(confidence) != len(points):
            raise InputError(f"A person in these keypoints has {len(confidence)} scores for {len(points)} joints.")
        points[:, 2] = confidence
    else:
        points[:, 2] = (given != 0).any(1)
    finite = np.isfinite(points).all(1)
    points[~finite] = 0
    points[(points[:, :2] == -1).all(1), 2] = 0
    points[:, 2] = np.clip(points[:, 2], 0, 1)
    return points
