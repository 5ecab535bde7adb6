"""Finding one person in a video: landmarks, world landmarks and mask, smoothed over time.

Shape legend: F frames, J landmarks (33), H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from magicanimate.body.smoothing import bridge_gaps, runs, smooth
from magicanimate.body.track import JOINT_SETS, Track
from magicanimate.errors import NobodyFound
from magicanimate.person.landmarks import Follower
from magicanimate.progress import Progress

if TYPE_CHECKING:
    from magicanimate.media import Clip

NAMES = JOINT_SETS["mediapipe33"]
LONGEST_GAP = 0.5
"""Seconds without a person that are bridged by interpolation."""
_SMOOTHING = 0.12  # seconds, half window
_MASK_SIDE = 160  # pixels of the longer side at which masks are kept: 3 kB a frame
_LARGEST = 1024  # pixels; the networks look at 256, so larger pictures only cost time


@dataclass
class _Seen:
    """What one frame shows: points [J,3] (x, y in pixels, confidence), world [J,3] metres, mask packed to bits."""

    points_J3: np.ndarray
    world_J3: np.ndarray
    mask: tuple[bytes, tuple[int, int]]


def _look(follow: Follower, image_HWC: np.ndarray) -> _Seen | None:
    height, width = image_HWC.shape[:2]
    scale = min(1.0, _LARGEST / max(height, width))
    small = Image.fromarray(image_HWC)
    if scale < 1:
        small = small.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX)
    found = follow(np.asarray(small))
    if found is None:
        return None
    points = found.points_K3.copy()
    points[:, :2] *= max(height, width) / max(small.size)
    # A landmark that the network only guesses to be outside the picture says nothing that can be seen.
    inside = ((points[:, :2] >= 0) & (points[:, :2] <= (width, height))).all(1)
    points[:, 2] *= inside
    # the network's axes are right, down, away
    world = found.world_K3[:, [0, 2, 1]] * np.array([1, 1, -1], np.float32)
    return _Seen(points, world, _pack(found.matte_HW))


def _pack(soft_HW: np.ndarray) -> tuple[bytes, tuple[int, int]]:
    height, width = soft_HW.shape
    scale = min(1.0, _MASK_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(soft_HW).resize(size, Image.Resampling.BOX)) > 0.5
    return np.packbits(small).tobytes(), (size[1], size[0])


def _unpack(packed: tuple[bytes, tuple[int, int]]) -> np.ndarray:
    data, (height, width) = packed
    return np.unpackbits(np.frombuffer(data, np.uint8), count=height * width).reshape(height, width).astype(bool)


def _track(seen: list[_Seen | None], size: tuple[int, int], fps: float) -> Track:
    """Frames to a smooth track."""
    known_F = np.array([frame is not None for frame in seen])
    points_FJ3 = np.stack([frame.points_J3 if frame else np.zeros((len(NAMES), 3), np.float32) for frame in seen])
    world_FJ3 = np.stack([frame.world_J3 if frame else np.zeros((len(NAMES), 3), np.float32) for frame in seen])
    both, now_F = bridge_gaps(np.concatenate([points_FJ3, world_FJ3], -1), known_F, round(LONGEST_GAP * fps))
    half = round(_SMOOTHING * fps)
    for run in runs(now_F):
        trust = both[run, :, 2]
        both[run, :, :2] = smooth(both[run, :, :2], trust, half)
        both[run, :, 3:] = smooth(both[run, :, 3:], trust, half)
    both[~now_F] = 0
    packed = [frame.mask if frame else None for frame in seen]

    def mask(frame: int) -> np.ndarray | None:
        return None if (bits := packed[frame]) is None else _unpack(bits)

    return Track(both[..., :3], NAMES, size, fps, both[..., 3:], mask)


def track_video(clip: Clip, progress: Progress | None = None) -> Track:
    """Follow the person in a video, one frame at a time; the track is a few kB a frame.

    Raises:
        InputError: the package ai-edge-litert is missing, or no frame shows a person.
    """
    seen: list[_Seen | None] = []
    follow = Follower()
    for frame_HWC in clip:
        seen.append(_look(follow, frame_HWC))
        if progress:
            progress("looking", len(seen), clip.count)
    if not any(seen):
        raise NobodyFound(
            f"No person was found in {clip.path.name}; give a video in which one person is seen clearly, upright and "
            "large enough."
        )
    return _track(seen, clip.size, clip.fps)


def track_picture(image_HWC: np.ndarray) -> Track | None:
    """The person in one picture [H, W, 3] uint8, as a track of one frame; None if nobody is found.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    found = _look(Follower(), image_HWC)
    height, width = image_HWC.shape[:2]
    return _track([found], (height, width), 1.0) if found else None
