"""Pose keypoints in JSON become the track of one person; keypoint_files.py knows the formats.

Shape legend: F frames, N people, J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from magicanimate.body.track import Track
from magicanimate.errors import InputError
from magicanimate.media.timing import DEFAULT_FPS, Span, cut_frames, timeline
from magicanimate.motion.extractors.tracks import make_track
from magicanimate.motion.formats.keypoint_files import RawFrame, RawPerson, read_frames, read_person
from magicanimate.parts.follow import Follower

_MARGIN = 1.05  # of the farthest joint, where nothing says how large the picture was
_SHARES = 4.0  # coordinates below this are shares of the picture: nobody is four pixels large
_NEGATIVE = 0.15  # share of the joints that are negative where the middle of the picture is 0
_ASSUMED = (512, 512)
_OUTSIDE = 2.0  # widths and heights of the picture beyond it where a joint is no joint any more
_SMALLEST, _LARGEST = 16, 4096  # pixels of a side


@dataclass(frozen=True)
class KeypointFrames:
    """Everybody's joints in every frame."""

    people: Sequence[np.ndarray]
    """F arrays [N, J, 3] float32: x, y in pixels, and the confidence."""
    names: tuple[str, ...]
    size: tuple[int, int]
    """(height, width) in pixels."""
    format: str
    notes: list[str] = field(default_factory=list)


def read_keypoints(path: Path) -> KeypointFrames:
    """Read a folder of OpenPose files, or a JSON file.

    Raises:
        InputError: it is no JSON, or none of the known formats, or shows nobody.
    """
    raw = read_frames(path)
    people = [[found for person in frame.people if (found := read_person(person))] for frame in raw]
    everybody = [person for frame in people for person in frame]
    if not any((person.points_J3[:, 2] > 0).any() for person in everybody):
        raise InputError(f"No person was found in {path}: no frame has a joint with a confidence above 0.")
    first = everybody[0]
    other = next((person for person in everybody if person.names != first.names), None)
    if other:
        raise InputError(f"{path} mixes two kinds of people ({first.format}; {other.format}); give one kind.")
    return _in_pixels(raw, people, first)


def follow_person(found: KeypointFrames, span: Span, person: int | None) -> tuple[Track, int]:
    """Return one person's track, and the most people in a frame.

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
    """Return [N, 4] left, top, right, bottom of the joints that were seen."""
    seen = people_NJ3[..., 2:] > 0
    low = np.where(seen, people_NJ3[..., :2], np.inf).min(1, initial=np.inf)
    high = np.where(seen, people_NJ3[..., :2], -np.inf).max(1, initial=-np.inf)
    return np.concatenate([low, high], 1)


def _in_pixels(raw: list[RawFrame], people: list[list[RawPerson]], first: RawPerson) -> KeypointFrames:
    """Return coordinates in pixels whatever they were, and the size of the picture, guessed where nothing says it."""
    stacked = [
        np.stack([person.points_J3 for person in frame]) if frame else np.zeros((0, len(first.names), 3))
        for frame in people
    ]
    every_N3 = np.concatenate([frame.reshape(-1, 3) for frame in stacked])
    seen_N2 = every_N3[every_N3[:, 2] > 0, :2]
    size = next((frame.size for frame in raw if frame.size), None)
    notes = []
    if np.quantile(np.abs(seen_N2), 0.95) < _SHARES:
        if size is None:
            size = _ASSUMED
            notes.append(
                "The keypoints are shares of a picture, and nothing says how large it was: "
                f"{size[1]}x{size[0]} was assumed."
            )
        centered = float((seen_N2 < 0).any(1).mean()) > _NEGATIVE
        scale, shift = np.array([size[1], size[0]]) / (1 + centered), float(centered)
        for frame in stacked:
            frame[..., :2] = (frame[..., :2] + shift) * scale
    elif size is None:
        width, height = (int(min(np.ceil(side * _MARGIN / 2) * 2, 2**20)) for side in _farthest(seen_N2))
        size = (max(height, _SMALLEST), max(width, _SMALLEST))
    shrink = min(1.0, _LARGEST / max(size))
    size = (max(_SMALLEST, round(size[0] * shrink)), max(_SMALLEST, round(size[1] * shrink)))
    return KeypointFrames([_kept(frame, shrink, size) for frame in stacked], first.names, size, first.format, notes)


def _farthest(seen_N2: np.ndarray) -> np.ndarray:
    """Return x and y [2] of the joints farthest to the right and bottom, without outliers."""
    far_2 = np.quantile(seen_N2, 0.9, axis=0)
    near = (seen_N2 <= np.maximum(far_2, _SMALLEST) * 3).all(1)
    return seen_N2[near].max(0) if near.any() else far_2


def _kept(people_NJ3: np.ndarray, shrink: float, size: tuple[int, int]) -> np.ndarray:
    """Return [N, J, 3] float32; joints that are nowhere near the picture are not seen."""
    points = people_NJ3.copy()
    points[..., :2] *= shrink
    size_2 = np.array([size[1], size[0]])
    near = (np.abs(points[..., :2] - size_2 / 2) <= (0.5 + _OUTSIDE) * size_2).all(-1)
    points[~near] = 0
    return points.astype(np.float32)
