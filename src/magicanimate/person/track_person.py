"""Finding one person in a video: landmarks, world landmarks and mask, smoothed over time.

Shape legend: F frames, J landmarks (33), H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from magicanimate.body.smoothing import bridge_gaps, runs, smooth
from magicanimate.body.track import JOINT_SETS, Track
from magicanimate.errors import NobodyFound
from magicanimate.person.landmarks import LandmarkFollower, Landmarks, find_landmarks
from magicanimate.person.regions import Region
from magicanimate.person.shots import difference, find_cuts, is_plain, may_be_cut, thumbnail
from magicanimate.progress import Progress

if TYPE_CHECKING:
    from magicanimate.media import Clip

NAMES = JOINT_SETS["mediapipe33"]
LONGEST_GAP = 0.5
"""Seconds without a person that are bridged by interpolation."""
_SMOOTHING = 0.12  # seconds, half window
_MASK_SIDE = 160  # pixels of the longer side at which masks are kept: 3 kB a frame
_TRUNK = [NAMES.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("shoulder", "hip")]
_JUMP = 0.6  # of the person's size, which nobody moves from one frame to the next
_VISIBLE, _FEWEST = 0.5, 4  # visibility of a landmark, and how many, from which they are compared with the matte
_COVERED, _ON_MATTE = 0.5, 0.5  # of a pixel by the person; share of the landmarks that must be on such pixels
_AROUND, _FILLED = 0.3, 0.8  # of the landmarks' longer side, around their box; share of it that a body fills at most
_REACH = 5  # pixels of the matte within which a landmark is on it
_LARGEST = 1024  # pixels; the networks look at 256, so larger pictures only cost time
_CLOSEST = 4.0  # times as fine as usual, a small person in a picture is looked at


@dataclass
class _Seen:
    """Findings of one frame: points [J,3] (x, y in pixels, confidence), world [J,3] meters, mask packed to bits."""

    points_J3: np.ndarray
    world_J3: np.ndarray
    mask: tuple[bytes, tuple[int, int]]


def _look(
    find: Callable[[np.ndarray], Landmarks | None],
    image_HWC: np.ndarray,
    longest: float = _LARGEST,
    mask_side: int = _MASK_SIDE,
) -> _Seen | None:
    """Call `find` on a frame made smaller for it; return its findings in pixels of the frame."""
    height, width = image_HWC.shape[:2]
    small_HWC = shrunk(image_HWC, longest)
    found = find(small_HWC)
    if found is None or not agree(found, small_HWC.shape[:2]):
        return None
    points = found.points_K3.copy()
    points[:, :2] *= max(height, width) / max(small_HWC.shape[:2])
    # A landmark that the network only guesses to be outside the picture says nothing that can be seen.
    inside = ((points[:, :2] >= 0) & (points[:, :2] <= (width, height))).all(1)
    points[:, 2] *= inside
    # the network's axes are right, down, away
    world = found.world_K3[:, [0, 2, 1]] * np.array([1, 1, -1], np.float32)
    return _Seen(points, world, _pack(found.matte_HW, mask_side))


def shrunk(image_HWC: np.ndarray, longest: float = _LARGEST) -> np.ndarray:
    """Return a picture [H, W, 3] uint8 with a longer side of so many pixels at most."""
    height, width = image_HWC.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image_HWC
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image_HWC).resize(size, Image.Resampling.BOX, reducing_gap=2.0))


def _pack(soft_HW: np.ndarray, side: int = _MASK_SIDE) -> tuple[bytes, tuple[int, int]]:
    height, width = soft_HW.shape
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(soft_HW).resize(size, Image.Resampling.BOX)) > 0.5
    return np.packbits(small).tobytes(), (size[1], size[0])


def _unpack(packed: tuple[bytes, tuple[int, int]]) -> np.ndarray:
    data, (height, width) = packed
    return np.unpackbits(np.frombuffer(data, np.uint8), count=height * width).reshape(height, width).astype(bool)


def agree(found: Landmarks, picture_size: tuple[int, int]) -> bool:
    """Return True if landmarks lie on the matte's person; `picture_size` (height, width) is that of their pixels.

    Where they do not, no person is there: the network goes on seeing one in the post or shadow that it was led to.
    """
    height, width = found.matte_HW.shape
    sure_K2 = found.points_K3[found.points_K3[:, 2] > _VISIBLE, :2] * (
        width / picture_size[1],
        height / picture_size[0],
    )
    inside_K2 = sure_K2[((sure_K2 >= 0) & (sure_K2 < (width, height))).all(1)]
    if len(inside_K2) < _FEWEST:
        return False
    sides_2 = np.ptp(inside_K2, axis=0)
    box = np.prod(sides_2 + _AROUND * sides_2.max())
    if (found.matte_HW > _COVERED).sum() > _FILLED * box:  # a wall, not a figure
        return False
    columns, rows = inside_K2.astype(int).T
    near_HW = ndimage.maximum_filter(found.matte_HW, _REACH)
    return float((near_HW[rows, columns] > _COVERED).mean()) >= _ON_MATTE


def _track(seen: list[_Seen | None], size: tuple[int, int], fps: float, cuts: tuple[int, ...] = ()) -> Track:
    """Make a smooth track of frames; nothing is bridged or smoothed across cuts."""
    known_F = np.array([frame is not None for frame in seen])
    points_FJ3 = np.stack([frame.points_J3 if frame else np.zeros((len(NAMES), 3), np.float32) for frame in seen])
    world_FJ3 = np.stack([frame.world_J3 if frame else np.zeros((len(NAMES), 3), np.float32) for frame in seen])
    both = np.concatenate([points_FJ3, world_FJ3], -1)
    cuts = tuple(sorted({*cuts, *_jumps(points_FJ3, known_F)}))
    edges = [0, *cuts, len(seen)]
    for begin, end in pairwise(edges):
        both[begin:end] = _smoothed(both[begin:end], known_F[begin:end], fps)
    packed = [frame.mask if frame else None for frame in seen]

    def mask(frame: int) -> np.ndarray | None:
        return None if (bits := packed[frame]) is None else _unpack(bits)

    return Track(both[..., :3], NAMES, size, fps, both[..., 3:], mask, cuts)


def _jumps(points_FJ3: np.ndarray, known_F: np.ndarray) -> list[int]:
    """Return frames whose person is somewhere else than in the last frame with one: it is somebody else."""
    known = np.flatnonzero(known_F)
    middle_K2 = points_FJ3[known][:, _TRUNK, :2].mean(1)
    size_K = np.ptp(points_FJ3[known, :, :2], axis=1).max(1)
    moved_K = np.linalg.norm(np.diff(middle_K2, axis=0), axis=1)
    return [int(frame) for frame in known[1:][moved_K > _JUMP * np.minimum(size_K[1:], size_K[:-1])]]


def _smoothed(both_FJ6: np.ndarray, known_F: np.ndarray, fps: float) -> np.ndarray:
    """Landmarks and world landmarks of one shot, short gaps bridged; 0 where nobody is."""
    bridged_FJ6, now_F = bridge_gaps(both_FJ6, known_F, round(LONGEST_GAP * fps))
    half = round(_SMOOTHING * fps)
    for run in runs(now_F):
        trust = bridged_FJ6[run, :, 2]
        bridged_FJ6[run, :, :2] = smooth(bridged_FJ6[run, :, :2], trust, half)
        bridged_FJ6[run, :, 3:] = smooth(bridged_FJ6[run, :, 3:], trust, half)
    bridged_FJ6[~now_F] = 0
    return bridged_FJ6


def track_video(clip: Clip, progress: Progress | None = None) -> Track:
    """Follow the person in a video, one frame at a time; the track is a few kB a frame.

    Raises:
        InputError: the package ai-edge-litert is missing, or no frame shows a person.
    """
    seen: list[_Seen | None] = []
    differences: list[float] = []
    follow, before_SSC = LandmarkFollower(), None
    for frame_HWC in clip:
        small_SSC = thumbnail(frame_HWC)
        shown = not is_plain(small_SSC)
        if seen:
            differences.append(difference(small_SSC, before_SSC) if shown and before_SSC is not None else 0.0)
            if may_be_cut(differences):
                follow = LandmarkFollower()
        before_SSC = small_SSC if shown else before_SSC
        seen.append(_look(follow, frame_HWC))
        if seen[-1] is None:
            follow = LandmarkFollower()
        if progress:
            progress("looking", len(seen), clip.count)
    if not any(seen):
        raise NobodyFound(
            f"No person was found in {clip.path.name}; give a video in which one person is seen clearly, upright and "
            "large enough."
        )
    return _track(seen, clip.size, clip.fps, find_cuts(differences))


def track_picture(image_HWC: np.ndarray, region: Region | None = None) -> Track | None:
    """Return the person in one picture [H, W, 3] uint8, as a track of one frame; None if nobody is found.

    Args:
        image_HWC: the picture.
        region: where the person is, in its pixels; by default wherever the detector is surest.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    height, width = image_HWC.shape[:2]
    if region is None:
        found = _look(LandmarkFollower(), image_HWC)
    else:
        # Of a small person the networks and the mask see as many pixels as of a large one.
        closer = min(_CLOSEST, max(1.0, max(height, width) / region.side))
        longest, mask_side = min(max(height, width), _LARGEST * closer), round(_MASK_SIDE * closer)

        def find(small_HWC: np.ndarray) -> Landmarks | None:
            placed = region.scaled(max(small_HWC.shape[:2]) / max(height, width))
            return find_landmarks(small_HWC, placed, 2 * mask_side)

        found = _look(find, image_HWC, longest, mask_side)
    return _track([found], (height, width), 1.0) if found else None
