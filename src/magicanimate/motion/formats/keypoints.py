"""Pose keypoints in JSON: OpenPose (a folder with a file per frame, or one list) and COCO-WholeBody.

Shape legend: F frames, N people, J joints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magicanimate.body.track import JOINT_SETS, Track
from magicanimate.errors import InputError
from magicanimate.media.reading import by_number
from magicanimate.media.timing import DEFAULT_FPS, Span, cut_frames, timeline
from magicanimate.motion.extractors.tracks import WHOLEBODY, hand_names, make_track
from magicanimate.parts.follow import Follower

_OPENPOSE = {18: JOINT_SETS["openpose18"], 25: JOINT_SETS["openpose25"]}
_COCO_PARTS = ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
_MARGIN = 1.05  # of the farthest joint, where nothing says how large the picture was
_RELATIVE = 1.5  # coordinates below this are shares of the picture


@dataclass(frozen=True)
class Frames:
    """Everybody's joints in every frame."""

    people: Sequence[np.ndarray]
    """F arrays [N, J, 3] float32: x, y in pixels, and the confidence."""
    names: tuple[str, ...]
    size: tuple[int, int]
    """(height, width) in pixels."""
    format: str


def read_keypoints(path: Path) -> Frames:
    """Read a folder of OpenPose files, or a JSON file.

    Raises:
        InputError: it is no JSON, or none of the known formats, or shows nobody.
    """
    if path.is_dir():
        data: Any = [_load(file) for file in sorted(path.glob("*.json"), key=by_number)]
    else:
        data = _load(path)
    found = _openpose(data) or _coco(data)
    if found is None:
        raise InputError(
            f"{path} holds no keypoints that are known; give OpenPose JSON (one file per frame, with people) or "
            "COCO-WholeBody JSON (annotations with keypoints)."
        )
    if not any((people[..., 2] > 0).any() for people in found.people):
        raise InputError(f"No person was found in {path}: no frame has a joint with a confidence above 0.")
    return found


def follow_person(found: Frames, span: Span, person: int | None) -> tuple[Track, int]:
    """One person's track, and the most people in a frame.

    Args:
        found: everybody.
        span: which frames; keypoints have 25 per second unless it says otherwise.
        person: from left to right, from 1; None: the largest.

    Raises:
        InputError: there are not so many people, or nothing in the span.
    """
    fps = span.fps or DEFAULT_FPS
    line = timeline([index / fps for index in range(len(found.people))], fps)
    wanted = cut_frames(line, span, zip(line.times, found.people, strict=True))
    follow, joints, most = Follower(person), [], 0
    for people in wanted:
        present = people[(people[..., 2] > 0).any(1)]
        chosen = follow(_boxes(present))
        most = max(most, len(present))
        joints.append(np.zeros(people.shape[1:], np.float32) if chosen is None else present[chosen])
    if not joints or not np.any([frame[:, 2] for frame in joints]):
        raise InputError(f"There is no person {person or 1} in these frames; they show at most {most}.")
    return make_track(np.stack(joints), found.names, found.size, fps), most


def _boxes(people_NJ3: np.ndarray) -> np.ndarray:
    """[N, 4] left, top, right, bottom of the joints that were seen."""
    seen = people_NJ3[..., 2:] > 0
    low = np.where(seen, people_NJ3[..., :2], np.inf).min(1, initial=np.inf)
    high = np.where(seen, people_NJ3[..., :2], -np.inf).max(1, initial=-np.inf)
    return np.concatenate([low, high], 1)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not JSON that can be read ({error}); it may be cut off.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _openpose(data: Any) -> Frames | None:
    """A frame, or a list of frames, each with `people`."""
    frames = [data] if isinstance(data, dict) and "people" in data else data
    if not isinstance(frames, list) or not frames or not all(isinstance(f, dict) and "people" in f for f in frames):
        return None
    count = max((len(p.get("pose_keypoints_2d") or ()) for f in frames for p in f["people"]), default=0) // 3
    if count not in _OPENPOSE:
        raise InputError(f"These OpenPose keypoints have {count} body points; 18 (COCO) and 25 (BODY_25) can be read.")
    names = (*_OPENPOSE[count], *hand_names("left"), *hand_names("right"))
    people = [_stack([_openpose_person(p, count) for p in f["people"]], len(names)) for f in frames]
    canvas = (frames[0].get("canvas_height"), frames[0].get("canvas_width"))
    return Frames(*_in_pixels(people, canvas if all(canvas) else None, names), f"OpenPose, {count} points")


def _openpose_person(person: dict[str, Any], count: int) -> np.ndarray:
    pieces = [("pose_keypoints_2d", count), ("hand_left_keypoints_2d", 21), ("hand_right_keypoints_2d", 21)]
    return np.concatenate([_triples(person.get(key), size) for key, size in pieces])


def _coco(data: Any) -> Frames | None:
    """COCO annotations or results: entries with an image and keypoints, 17 of the body or 133 of the whole body."""
    entries = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries:
        return None
    if not all(isinstance(e, dict) and "image_id" in e and e.get("keypoints") for e in entries):
        return None
    images = {image["id"]: image for image in data.get("images", [])} if isinstance(data, dict) else {}
    order = list(images) or sorted({e["image_id"] for e in entries})
    people: dict[Any, list[np.ndarray]] = {image: [] for image in order}
    for entry in entries:
        people.setdefault(entry["image_id"], []).append(_coco_person(entry))
    first = images.get(order[0], {})
    size = (first.get("height"), first.get("width"))
    stacked = [_stack(people[image], len(WHOLEBODY)) for image in order]
    return Frames(*_in_pixels(stacked, size if all(size) else None, WHOLEBODY), "COCO-WholeBody")


def _coco_person(entry: dict[str, Any]) -> np.ndarray:
    body = np.asarray(entry["keypoints"], np.float32).reshape(-1)
    if len(body) == 3 * len(WHOLEBODY):
        return _triples(body, len(WHOLEBODY))
    feet, face, left, right = (entry.get(key) for key in _COCO_PARTS)
    return np.concatenate(
        [_triples(body, 17), _triples(feet, 6), _triples(face, 68), _triples(left, 21), _triples(right, 21)]
    )


def _triples(values: Any, count: int) -> np.ndarray:
    """[count, 3] x, y, confidence 0..1; what is missing was not seen. COCO's visibilities 1 and 2 are sure."""
    flat = np.asarray(values if values is not None else [], np.float32).reshape(-1)
    if len(flat) != 3 * count:
        if len(flat):
            raise InputError(f"A person in these keypoints has {len(flat)} numbers where {3 * count} belong.")
        return np.zeros((count, 3), np.float32)
    points = flat.reshape(count, 3).copy()
    points[:, 2] = np.clip(points[:, 2], 0, 1) * np.isfinite(points).all(1)
    return np.nan_to_num(points)


def _stack(people: list[np.ndarray], joints: int) -> np.ndarray:
    return np.stack(people) if people else np.zeros((0, joints, 3), np.float32)


def _in_pixels(
    people: list[np.ndarray], size: tuple[int, int] | None, names: tuple[str, ...]
) -> tuple[list[np.ndarray], tuple[str, ...], tuple[int, int]]:
    """Coordinates in pixels, and the size of the picture, guessed from the joints where nothing says it."""
    farthest = np.max([np.zeros(2), *_farthest(people)], axis=0)
    if 0 < farthest.max() <= _RELATIVE:
        height, width = size or (512, 512)
        return [p * np.array([width, height, 1], np.float32) for p in people], names, (height, width)
    width, height = (int(np.ceil(side * _MARGIN / 2)) * 2 for side in farthest)
    return people, names, (int(size[0]), int(size[1])) if size else (max(height, 16), max(width, 16))


def _farthest(people: list[np.ndarray]) -> Iterator[np.ndarray]:
    for frame in people:
        seen = frame[frame[..., 2] > 0]
        if len(seen):
            yield seen[:, :2].max(0)
