"""DensePose itself, as a TorchScript export: all people of a picture with their parts.

The file takes a picture [3, H, W] uint8 and returns, for N people, their boxes [N, 4] (left, top, right, bottom), the
coarse segmentation [N, 2 or 15, h, w] (0 is background), the fine segmentation [N, 25, h, w], and U and V.

Shape legend: N people, K coarse classes, H W pixels, h w pixels of a prediction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from magicanimate.downloads import fetch_file
from magicanimate.errors import InputError
from magicanimate.motion.extractors.vision_ops import register
from magicanimate.parts.densepose import BACKGROUND
from magicanimate.parts.follow import Follower, areas

REPOSITORY = "LayerNorm/DensePose-TorchScript-with-hint-image"
FILE_NAME = "densepose_r50_fpn_dl.torchscript"
SHA256 = "4f7260daa498ce8d4b4679f0692ef2f1f426e39121a907181eab37b8b0585878"


class DensePose:
    """Finds people and their parts in pictures."""

    def __init__(self, path: Path | None = None, person: int | None = None) -> None:
        """Load the network.

        Args:
            path: TorchScript file; None: fetched once from the hub, 265 MB.
            person: which of several people to keep, from left to right; None: all.

        Raises:
            InputError: the file cannot be fetched or read.
        """
        register()
        path = path or fetch_file(REPOSITORY, FILE_NAME, SHA256)
        try:
            self._network = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(f"{path} is not a TorchScript file that can be read; give {FILE_NAME}.") from error
        self._path = path
        self._follow = Follower(person) if person else None
        self.most = 0
        """Most people seen in a frame."""

    @torch.no_grad()
    def __call__(self, image_HWC: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 -> parts [H, W] uint8; whoever is larger stands in front."""
        parts_HW = np.full(image_HWC.shape[:2], BACKGROUND, np.uint8)
        boxes_N4, coarse, fine = self._predict(image_HWC)
        self.most = max(self.most, len(boxes_N4))
        order = np.argsort(areas(boxes_N4), kind="stable")
        if self._follow:
            chosen = self._follow(boxes_N4)
            order = order[:0] if chosen is None else np.array([chosen])
        for index in order.tolist():
            _paint(parts_HW, boxes_N4[index], coarse[index], fine[index])
        return parts_HW

    def _predict(self, image_HWC: np.ndarray) -> tuple[np.ndarray, Tensor, Tensor]:
        found: Any = self._network(torch.from_numpy(image_HWC.copy()).permute(2, 0, 1))
        try:
            boxes, coarse, fine, _, _ = found
        except (TypeError, ValueError) as error:
            raise InputError(f"{self._path} returns other things than a DensePose export; give {FILE_NAME}.") from error
        if boxes.ndim != 2 or boxes.shape[1] != 4 or fine.ndim != 4 or fine.shape[1] != 25:
            raise InputError(f"{self._path} returns other shapes than a DensePose export; give {FILE_NAME}.")
        return boxes.float().cpu().numpy().reshape(-1, 4), coarse.float(), fine.float()


def _paint(parts_HW: np.ndarray, box_4: np.ndarray, coarse_Khw: Tensor, fine_25hw: Tensor) -> None:
    """Draw one person into the map, inside the box only and where the coarse segmentation sees a body."""
    left, top, right, bottom = (int(value) for value in box_4)
    size = (max(bottom - top, 1), max(right - left, 1))
    labels_hw = _enlarged(fine_25hw, size).argmax(0)
    labels_hw[_enlarged(coarse_Khw, size).argmax(0) == 0] = BACKGROUND
    labels = labels_hw.to(torch.uint8).cpu().numpy()
    height, width = parts_HW.shape
    rows, columns = slice(max(top, 0), min(top + size[0], height)), slice(max(left, 0), min(left + size[1], width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    seen = labels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    target = parts_HW[rows, columns]
    target[seen != BACKGROUND] = seen[seen != BACKGROUND]


def _enlarged(scores_Chw: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.nn.functional.interpolate(scores_Chw[None], size, mode="bilinear", align_corners=False)[0]
