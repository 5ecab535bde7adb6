"""Whole-body keypoints by ONNX networks (RTMW, DWPose) through rtmlib: a person detector and a pose network.

Shape legend: F frames, N people, J joints, H W pixels.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magicanimate.errors import InputError, NobodyFound
from magicanimate.motion.extractors.tracks import WHOLEBODY, make_track
from magicanimate.parts.follow import Follower

if TYPE_CHECKING:
    from collections.abc import Callable

    from magicanimate.body.track import Track
    from magicanimate.media import Clip

DETECTOR, POSE = "detector.onnx", "pose.onnx"
"""Names of the two networks in a folder of the user's."""
_SEEN = 0.3  # score from which a joint was seen
_DETECTOR_SIZE, _POSE_SIZE = (640, 640), (256, 192)  # (height, width), where a file does not say


class Wholebody:
    """Finds people's joints in pictures."""

    def __init__(self, folder: Path | None = None) -> None:
        """Load the networks.

        Args:
            folder: holds `detector.onnx` (YOLOX) and `pose.onnx` (133 joints, SimCC outputs); None: rtmlib fetches its
                balanced pair once, about 320 MB.

        Raises:
            InputError: rtmlib is missing, or the files cannot be fetched or read.
        """
        try:
            import rtmlib
        except ImportError as error:
            raise InputError(
                "The extractor dwpose needs rtmlib; install it with: pip install 'magicanimate[wholebody]'."
            ) from error
        usual = rtmlib.Wholebody.MODE["balanced"]
        detector, pose = (folder / DETECTOR, folder / POSE) if folder else (usual["det"], usual["pose"])
        self._detector = _open(rtmlib.YOLOX, detector, _input_size(detector) or _DETECTOR_SIZE)
        self._pose = _open(rtmlib.RTMPose, pose, (_input_size(pose) or _POSE_SIZE)[::-1])

    def __call__(self, image_HWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[H, W, 3] uint8 RGB -> boxes [N, 4] and joints [N, 133, 3] (x, y, score), both in pixels."""
        bgr_HWC = np.ascontiguousarray(image_HWC[..., ::-1])
        boxes_N4 = np.asarray(self._detector(bgr_HWC), np.float32).reshape(-1, 4)
        if not len(boxes_N4):
            return boxes_N4, np.zeros((0, len(WHOLEBODY), 3), np.float32)
        joints_NJ2, scores_NJ = self._pose(bgr_HWC, boxes_N4)
        return boxes_N4, np.concatenate([joints_NJ2, scores_NJ[..., None]], -1).astype(np.float32)


def _open(kind: Any, path: Path | str, size: tuple[int, int]) -> Any:
    """One of rtmlib's tools, which wants the input size in an order of its own."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it announces every file that it loads
            return kind(str(path), model_input_size=size, backend="onnxruntime")
    except (OSError, RuntimeError) as error:  # what its downloads raise
        raise InputError(
            f"{path} cannot be fetched: connect, or give a folder with {DETECTOR} and {POSE} as "
            "--extractor dwpose=FOLDER."
        ) from error


def _input_size(path: Path | str) -> tuple[int, int] | None:
    """(height, width) that a local ONNX file declares; None where it leaves them open or is yet to be fetched."""
    if isinstance(path, str):
        return None
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile

    try:
        shape = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].shape
    except NoSuchFile as error:
        raise InputError(f"{path} does not exist; give a folder with {DETECTOR} and {POSE}.") from error
    except (Fail, InvalidGraph, InvalidProtobuf) as error:
        raise InputError(f"{path} is not an ONNX network that can be read.") from error
    height, width = shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def track_clip(
    clip: Clip, folder: Path | None, person: int | None, progress: Callable[[str, int, int | None], None] | None
) -> tuple[Track, int]:
    """Follow one person through a clip; also the most people seen in a frame.

    Raises:
        InputError: see `Wholebody`; or nobody was found.
    """
    find, follow = Wholebody(folder), Follower(person)
    joints, most = [], 0
    for frame_HWC in clip:
        boxes_N4, joints_NJ3 = find(frame_HWC)
        chosen = follow(boxes_N4)
        most = max(most, len(boxes_N4))
        joints.append(np.zeros((len(WHOLEBODY), 3), np.float32) if chosen is None else joints_NJ3[chosen])
        if progress:
            progress("extracting", len(joints), clip.count)
    points_FJ3 = np.stack(joints)
    points_FJ3[..., 2] = np.where(points_FJ3[..., 2] >= _SEEN, np.clip(points_FJ3[..., 2], 0, 1), 0)
    if not points_FJ3[..., 2].any():
        raise NobodyFound(f"No person was found in {clip.path.name}; give a video in which somebody is seen clearly.")
    return make_track(points_FJ3, WHOLEBODY, clip.size, clip.fps), most
