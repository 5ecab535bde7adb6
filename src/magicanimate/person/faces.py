"""Finds the points of a person's face, in a picture and from frame to frame of a video.

Shape legend: F frames, N points of a face (468), H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import POINT_INDEX
from magicanimate.person.networks import network, sigmoid
from magicanimate.person.regions import Region, cut_region
from magicanimate.progress import Progress

POINTS = 468
TOP, CHIN = 10, 152
"""Points at the hairline and below the chin."""
RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)
"""Outer and inner corners as they lie in a picture, from left to right."""
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
"""The outer edge of the lips."""
_SIDE = 192  # pixels: the network's input
_LEAST_PRESENCE = 0.5
_AROUND = 1.5  # times the face's box: the network's region
_HEAD_REGION = 3.8  # times the distance from the eyes to the mouth: likewise, where only the head's pose is known
_ASIDE = 0.35  # of the head's region: a face farther from its middle is somebody else's, or none
_LOOKS = ((1.0, 0.0), (0.8, 0.0), (1.25, 0.0), (1.0, 0.2), (1.0, -0.2))
"""Size and turn (radians) of the regions in which a picture's face is looked at, against the usual one."""
_ALIKE = 0.08  # distances between the eyes: how far the lips of one look may lie from those of the others
_UP = np.array([POINT_INDEX["eye.L"], POINT_INDEX["eye.R"]])
_MOUTH = POINT_INDEX["mouth"]


@dataclass(frozen=True)
class FaceTrack:
    """One person's face in every frame of a video."""

    points_FN3: np.ndarray
    """[F, 468, 3] float32: x, y in pixels of the video, and depth in the same unit; 0 where no face is seen."""
    seen_F: np.ndarray
    """[F] bool."""
    fps: float


def height_of(points_N3: np.ndarray) -> float:
    """Return the height of a face in pixels, from the hairline to the chin, as it would be seen from the front."""
    return float(np.linalg.norm(points_N3[TOP] - points_N3[CHIN]))


def find_face(image_HWC: np.ndarray, body: BodyMotion) -> np.ndarray | None:
    """Find the face of a person in a picture; None where it is not seen, or so that its mouth cannot be told.

    The network looks several times, from slightly different places, and must say the same.

    Args:
        image_HWC: uint8.
        body: of the person, one frame, in pixels of the picture.

    Returns:
        [468, 3] float32: x, y in pixels, and depth in the same unit.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    found_N3 = _find(image_HWC, _head_region(body.project(body.points())[0]), None)
    if found_N3 is None:
        return None
    region = _face_region(found_N3)
    others = [replace(region, side=scale * region.side, angle=region.angle + turn) for scale, turn in _LOOKS]
    looks = [points_N3 for points_N3 in (_look(image_HWC, other) for other in others) if points_N3 is not None]
    if len(looks) < len(_LOOKS):
        return None
    median_N3 = np.median(looks, 0).astype(np.float32)
    away_LK = np.linalg.norm((np.stack(looks) - median_N3)[:, LIPS, :2], axis=-1)
    sure = float(away_LK.mean(1).max()) < _ALIKE * np.linalg.norm(median_N3[RIGHT_EYE[0]] - median_N3[LEFT_EYE[1]])
    return median_N3 if sure else None


def track_face(frames: Iterable[np.ndarray], body: BodyMotion, progress: Progress | None = None) -> FaceTrack:
    """Follow the face of one person through a video.

    Args:
        frames: [H, W, 3] uint8, as many as the body has at most.
        body: that was fitted to them, in their pixels.
        progress: told ("faces", done, total).

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    points_FN3 = np.zeros((len(body), POINTS, 3), np.float32)
    seen_F = np.zeros(len(body), bool)
    heads_FS2 = body.project(body.points())
    before_N3: np.ndarray | None = None
    for index, image_HWC in zip(range(len(body)), frames, strict=False):
        if body.present_F[index]:
            before_N3 = _find(image_HWC, _head_region(heads_FS2[index]), before_N3)
            if before_N3 is not None:
                points_FN3[index], seen_F[index] = before_N3, True
        if progress:
            progress("faces", index + 1, len(body))
    return FaceTrack(points_FN3, seen_F, body.fps)


def _find(image_HWC: np.ndarray, head: Region, before_N3: np.ndarray | None) -> np.ndarray | None:
    """Look where the face was before, else where the head is, and then once more where it was found."""
    if before_N3 is not None:
        found_N3 = _look(image_HWC, _face_region(before_N3))
        if found_N3 is not None and _belongs(found_N3, head):
            return found_N3
    found_N3 = _look(image_HWC, head)
    if found_N3 is None or not _belongs(found_N3, head):
        return None
    return _look(image_HWC, _face_region(found_N3))


def _belongs(found_N3: np.ndarray, head: Region) -> bool:
    away_2 = found_N3[:, :2].mean(0) - head.center
    return float(np.linalg.norm(away_2)) < _ASIDE * head.side


def _look(image_HWC: np.ndarray, region: Region) -> np.ndarray | None:
    """Run the network on a region. [468, 3] float32."""
    height, width = image_HWC.shape[:2]
    if region.side < 8 or not (-width < region.center[0] < 2 * width and -height < region.center[1] < 2 * height):
        return None
    raw, presence = network("face")(cut_region(image_HWC, region, _SIDE) / 255)
    if sigmoid(presence.ravel())[0] <= _LEAST_PRESENCE:
        return None
    unit_N3 = raw.reshape(-1, 3) / _SIDE
    points_N2 = region.to_picture(unit_N3[:, :2])
    return np.concatenate([points_N2, unit_N3[:, 2:] * region.side], 1).astype(np.float32)


def _head_region(points_S2: np.ndarray) -> Region:
    """Return the region around a face by the points of the rig in the picture."""
    eyes_2, mouth_2 = points_S2[_UP].mean(0), points_S2[_MOUTH]
    return _upright((eyes_2 + mouth_2) / 2, mouth_2 - eyes_2, _HEAD_REGION * float(np.linalg.norm(mouth_2 - eyes_2)))


def _face_region(points_N3: np.ndarray) -> Region:
    """Return the region in which to look for a face that was there before."""
    across_2 = points_N3[list(LEFT_EYE), :2].mean(0) - points_N3[list(RIGHT_EYE), :2].mean(0)
    angle = float(np.arctan2(across_2[1], across_2[0]))
    cos, sin = np.cos(angle), np.sin(angle)
    turn_22 = np.array([[cos, -sin], [sin, cos]])
    own_N2 = points_N3[:, :2] @ turn_22
    low_2, high_2 = own_N2.min(0), own_N2.max(0)
    x, y = turn_22 @ ((low_2 + high_2) / 2)
    return Region((float(x), float(y)), _AROUND * float((high_2 - low_2).max()), angle)


def _upright(center_2: np.ndarray, down_2: np.ndarray, side: float) -> Region:
    """Return a region whose down axis has a direction in the picture."""
    return Region((float(center_2[0]), float(center_2[1])), side, float(np.arctan2(-down_2[0], down_2[1])))
