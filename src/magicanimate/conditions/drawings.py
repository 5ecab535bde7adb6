"""The drawn people as further planes of the ControlNet's condition (`warp_input`).

Planes are 16 colors of each cell and how well they are known; all zero where the picture's people cannot be drawn.

Legend: F frames, H W pixels of the canvas, h w cells, P planes.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from magicanimate.media.framing import Frame
from magicanimate.models.config import WARP_COLORS, WARP_PLANES
from magicanimate.networks.pixels import space_to_depth
from magicanimate.person.scene import BACKGROUND, COMPLETED, FILLED, GUESSED, KNOWN, DrawnFrame, Scene

_CERTAINTY = {BACKGROUND: 255, KNOWN: 255, COMPLETED: 128, GUESSED: 128, FILLED: 0}
_LEVELS = np.zeros(256, np.uint8)
_LEVELS[list(_CERTAINTY)] = list(_CERTAINTY.values())


def drawing_planes(drawn: DrawnFrame, frame: Frame, stride: int) -> Tensor:
    """Return planes `[49, h, w]` of one drawing, for a canvas with `stride` pixels per cell."""
    step = stride // WARP_COLORS
    picture_HWC = _means(frame, drawn.frame_HWC, step)
    known_HWC = _means(frame, _LEVELS[drawn.kind_HW], step)[..., None]
    colors_1CHW, known_11HW = (torch.from_numpy(x).movedim(-1, 0)[None] for x in (picture_HWC, known_HWC))
    share_11hw = space_to_depth(known_11HW / 255, WARP_COLORS).mean(1, keepdim=True)
    return torch.cat([space_to_depth(colors_1CHW / 127.5 - 1, WARP_COLORS), share_11hw], 1)[0]


def _means(frame: Frame, image: np.ndarray, step: int) -> np.ndarray:
    """Average a picture [H, W, ...] uint8 on the canvas over blocks of `step` pixels, float32."""
    resized = np.asarray(Image.fromarray(image).resize(frame.size[::-1], Image.Resampling.BOX))
    padded = frame.pad(resized).astype(np.float32)
    height, width = padded.shape[0] // step, padded.shape[1] // step
    return padded.reshape(height, step, width, step, *padded.shape[2:]).mean((1, 3))


class DrawingPlanes:
    """Planes of any frames of one job, each drawn once."""

    def __init__(self, scene: Scene | None, frame: Frame, stride: int) -> None:
        self._scene, self._frame, self._stride = scene, frame, stride
        self._planes: dict[int, Tensor] = {}

    def __call__(self, frames: list[int]) -> Tensor:
        """Return `[F, 49, h, w]` float32; frames beyond the motion's end repeat its last one."""
        if self._scene is None:
            height, width = (side // self._stride for side in self._frame.canvas)
            return torch.zeros(len(frames), WARP_PLANES, height, width)
        chosen = [min(index, len(self._scene) - 1) for index in frames]
        for index in chosen:
            if index not in self._planes:
                drawn = drawing_planes(self._scene(index), self._frame, self._stride)
                self._planes[index] = drawn.to(torch.float16)
        return torch.stack([self._planes[index] for index in chosen]).float()
