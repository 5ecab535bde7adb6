"""The picture, warped to each frame's parts, as further planes of the ControlNet's condition (`warp_input`).

The networks then need not find again where each piece of cloth, skin and background goes, and can spend themselves on
what a warp cannot give: clothes and hair beyond the parts, light, what was hidden. Planes are 16 colours of each cell
and how far they are known; all zero where it is not known where the person in the picture is.

Legend: F N frames, H W pixels, S W pixels of the small picture, h w cells, P planes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from magicanimate.models.config import WARP_COLOURS, WARP_PLANES
from magicanimate.networks.pixels import space_to_depth
from magicanimate.person.warp import KNOWN, PartWarp, each_frame


def small_picture(picture_HWC: np.ndarray, stride: int) -> np.ndarray:
    """Means of a picture's pixels [..., H, W, 3] uint8, as many for each cell as the planes have colours."""
    step = stride // WARP_COLOURS
    *many, height, width, channels = picture_HWC.shape
    cut = picture_HWC.reshape(*many, height // step, step, width // step, step, channels)
    return np.rint(cut.mean((-4, -2))).astype(np.uint8)


def small_parts(parts_HW: np.ndarray, stride: int) -> np.ndarray:
    """The same of part maps [..., H, W]: the pixel in the middle of each."""
    step = stride // WARP_COLOURS
    return parts_HW[..., step // 2 :: step, step // 2 :: step]


def warp_planes(picture_HWC: np.ndarray, own_HW: np.ndarray, parts_FHW: np.ndarray) -> Tensor:
    """Planes `[F, 49, h, w]` of a small picture with its small part map, for small part maps of the motion."""
    return _planes(PartWarp(picture_HWC, own_HW), parts_FHW)


def _planes(warp: PartWarp, parts_FHW: np.ndarray, people_FHW: np.ndarray | None = None) -> Tensor:
    warped = [warp(*maps) for maps in each_frame(parts_FHW, people_FHW)]
    pictures_FCHW = torch.from_numpy(np.stack([each.picture_HWC for each in warped])).movedim(-1, 1).float()
    known_FHW = torch.from_numpy(np.stack([each.known_HW for each in warped])).float() / KNOWN
    shares_F1hw = space_to_depth(known_FHW[:, None], WARP_COLOURS).mean(1, keepdim=True)
    return torch.cat([space_to_depth(pictures_FCHW / 127.5 - 1, WARP_COLOURS), shares_F1hw], 1)


class WarpSource:
    """Warp planes of any frames of one job: a picture [H,W,3] and its own parts [H,W], None where they are unknown, and
    whose these are [H,W] where there are several people."""

    def __init__(
        self, picture_HWC: np.ndarray, own_HW: np.ndarray | None, stride: int, people_HW: np.ndarray | None = None
    ) -> None:
        self._stride = stride
        small = [None if map_HW is None else small_parts(map_HW, stride) for map_HW in (own_HW, people_HW)]
        self._warp = None if small[0] is None else PartWarp(small_picture(picture_HWC, stride), small[0], small[1])

    def __call__(self, parts_FHW: np.ndarray, people_FHW: np.ndarray | None = None) -> Tensor:
        """`[F, 49, H/stride, W/stride]` for the motion's part maps, and whose they are."""
        frames, height, width = parts_FHW.shape
        if self._warp is None:
            return unknown_planes(frames, height // self._stride, width // self._stride)
        whose_FHW = None if people_FHW is None else small_parts(people_FHW, self._stride)
        return _planes(self._warp, small_parts(parts_FHW, self._stride), whose_FHW)


def unknown_planes(frames: int, height: int, width: int) -> Tensor:
    """Planes `[F, 49, h, w]` that say nothing."""
    return torch.zeros(frames, WARP_PLANES, height, width)
