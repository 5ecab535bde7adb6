"""Find whole-body keypoints by ONNX networks (RTMW, DWPose): a person detector and a pose network.

Shape legend: F frames, N people, J joints, H W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from magicanimate.downloads import fetch_archived
from magicanimate.errors import InputError, NobodyFound, cannot_import
from magicanimate.motion.extractors.tracks import WHOLEBODY, make_track
from magicanimate.parts.follow import Follower

if TYPE_CHECKING:
    from collections.abc import Callable

    from magicanimate.body.track import Track
    from magicanimate.media import Clip

DETECTOR, POSE = "detector.onnx", "pose.onnx"
"""Names of the two networks in a folder of the user's."""
_SOURCE = "https://download.openmmlab.com/mmpose/v1/projects/"
_ARCHIVES = {
    DETECTOR: "rtmposev1/onnx_sdk/yolox_m_8xb8-300e_humanart-c2c7a14a.zip",
    POSE: "rtmw/onnx_sdk/rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.zip",
}
_BY_HAND = f"give a folder with {DETECTOR} and {POSE} as --extractor dwpose=FOLDER"
_SEEN = 0.3  # score from which a joint, or a person, was seen
_DETECTOR_SIZE, _POSE_SIZE = (640, 640), (256, 192)  # (height, width), where a file does not say
_MARGIN = 1.25  # of a person's box, for the pose network
_GRAY = (114, 114, 114)  # beside a picture that does not fill the detector's input
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


class Wholebody:
    """Finds people's joints in pictures."""

    def __init__(self, folder: Path | None = None) -> None:
        """Load the networks.

        Args:
            folder: holds `detector.onnx` (YOLOX with suppression inside: boxes and scores [1, N, 5]) and `pose.onnx`
                (133 joints, SimCC outputs); None: OpenMMLab's pair is fetched once, about 320 MB.

        Raises:
            InputError: onnxruntime is missing, or the files cannot be fetched or read.
        """
        self._detector = _Network(folder, DETECTOR, _DETECTOR_SIZE)
        self._pose = _Network(folder, POSE, _POSE_SIZE)

    def __call__(self, image_HWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[H, W, 3] uint8 RGB -> boxes [N, 4] and joints [N, 133, 3] (x, y, score), both in pixels."""
        picture = Image.fromarray(np.ascontiguousarray(image_HWC[..., ::-1]))  # the networks take BGR
        boxes_N4 = self._people(picture)
        joints = [self._joints(picture, box_4) for box_4 in boxes_N4]
        return boxes_N4, np.stack(joints) if joints else np.zeros((0, len(WHOLEBODY), 3), np.float32)

    def _people(self, picture: Image.Image) -> np.ndarray:
        height, width = self._detector.size
        scale = min(height / picture.height, width / picture.width)
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        padded = Image.new("RGB", (width, height), _GRAY)
        padded.paste(picture.resize(size, Image.Resampling.BILINEAR))
        found = self._detector(np.asarray(padded, np.float32))[0]
        if found.ndim != 3 or found.shape[2] != 5:
            raise InputError(
                f"{self._detector.path} returns {list(found.shape)}: give a detector that returns boxes with scores "
                "[1, N, 5]."
            )
        return found[0, found[0, :, 4] > _SEEN, :4] / np.float32(scale)

    def _joints(self, picture: Image.Image, box_4: np.ndarray) -> np.ndarray:
        """Return [133, 3]."""
        height, width = self._pose.size
        middle, reach = (box_4[:2] + box_4[2:]) / 2, (box_4[2:] - box_4[:2]) * _MARGIN
        reach = np.maximum(reach, reach[::-1] * (width / height, height / width))
        left, top = middle - reach / 2
        data = (reach[0] / width, 0, left, 0, reach[1] / height, top)
        cut = picture.transform((width, height), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        x_1JX, y_1JY = self._pose((np.asarray(cut, np.float32) - _MEAN) / _DEVIATION)[:2]
        at_J2 = np.stack([x_1JX[0].argmax(1), y_1JY[0].argmax(1)], 1) / 2  # two bins a pixel
        scores_J1 = (x_1JX[0].max(1) + y_1JY[0].max(1))[:, None] / 2
        joints_J2 = at_J2 / (width, height) * reach + middle - reach / 2
        return np.concatenate([joints_J2, scores_J1], 1).astype(np.float32)


class _Network:
    """An ONNX network with one picture as its input."""

    def __init__(self, folder: Path | None, name: str, size: tuple[int, int]) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile
        except ImportError as error:
            raise cannot_import(
                "The extractor dwpose", "onnxruntime", "pip install 'magicanimate[wholebody]'", error
            ) from error
        self.path = folder / name if folder else fetch_archived(_SOURCE + _ARCHIVES[name], ".onnx", _BY_HAND)
        try:
            self._session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        except NoSuchFile as error:
            raise InputError(f"{self.path} does not exist; give a folder with {DETECTOR} and {POSE}.") from error
        except (Fail, InvalidGraph, InvalidProtobuf) as error:
            raise InputError(f"{self.path} is not an ONNX network that can be read.") from error
        declared = self._session.get_inputs()[0]
        self._name, height_width = declared.name, declared.shape[2:]
        self.size: tuple[int, int] = tuple(height_width) if all(isinstance(n, int) for n in height_width) else size
        """(height, width) of its input."""

    def __call__(self, picture_HWC: np.ndarray) -> list[np.ndarray]:
        return self._session.run(None, {self._name: picture_HWC.transpose(2, 0, 1)[None]})


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
