"""Warped pictures for training: small pictures and part maps of a data set, and what a model is shown of them.

Folder: `small.pictures.npy` [N,F,S,S,3] and `small.parts.npy` [N,F,S,S], uint8, beside the latents, in their order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from magicanimate.config import WARP_COLOURS
from magicanimate.synth.dataset import Dataset
from magicanimate.train.views import ViewSettings, apply_view, clip_view
from magicanimate.warped import small_parts, small_picture, unknown_planes, warp_planes

_MISSED = 0.3  # share of the parts that an erroneous map lacks
_SHIFT = 0.03  # of its height: how far it is moved at most


@dataclass(frozen=True)
class SmallFrames:
    """Pictures [N,F,S,S,3] and part maps [N,F,S,S] of all clips, uint8, mapped into memory."""

    pictures: np.ndarray
    parts: np.ndarray

    def warps(
        self, rng: np.random.Generator, clips_B: np.ndarray, references_B: np.ndarray, targets_BK: np.ndarray,
        dropped: float, wrong: float,
    ) -> Tensor:  # fmt: skip
        """Planes `[B*K, 49, h, w]` of each reference warped to its targets.

        dropped: share of samples whose reference has no part map. wrong: share whose map has errors, as maps have that
        were found in a photograph.
        """
        cells = self.parts.shape[-1] // WARP_COLOURS
        planes = []
        for clip, reference, targets in zip(clips_B, references_B, targets_BK, strict=True):
            if rng.random() < dropped:
                planes.append(unknown_planes(len(targets), cells, cells))
                continue
            own = self.parts[clip, reference]
            own = with_errors(own, rng) if rng.random() < wrong else own
            planes.append(warp_planes(self.pictures[clip, reference], own, self.parts[clip, targets]))
        return torch.cat(planes)


def with_errors(parts_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moved a little, some parts missing."""
    most = max(1, round(_SHIFT * len(parts_HW)))
    moved_HW = np.roll(parts_HW, rng.integers(-most, most + 1, 2), (0, 1))
    missed_P = rng.random(256) < _MISSED * rng.random()
    return np.where(missed_P[moved_HW], 0, moved_HW).astype(np.uint8)


def small_frames(data: Dataset, folder: Path, stride: int, views: ViewSettings) -> SmallFrames:
    """Those of a data set; made where they are not there yet."""
    pictures, parts = (folder / f"small.{name}.npy" for name in ("pictures", "parts"))
    if not parts.exists():
        _write(data, pictures, parts, stride, views)
    return SmallFrames(*(np.load(path, mmap_mode="r") for path in (pictures, parts)))


def _write(data: Dataset, pictures: Path, parts: Path, stride: int, views: ViewSettings) -> None:
    side = data.settings.size // (stride // WARP_COLOURS)
    shape = (len(data) * views.count, data.settings.frames, side, side)
    temporary = [path.with_suffix(".part") for path in (pictures, parts)]
    small = [
        np.lib.format.open_memmap(path, "w+", np.uint8, s)
        for path, s in zip(temporary, ((*shape, 3), shape), strict=True)
    ]
    for row in range(shape[0]):
        number, clip = divmod(row, len(data))
        view = clip_view(clip, number, views)
        rgb_FHWC, parts_FHW = apply_view(view, data.rgb(clip), data.parts(clip))
        small[0][row], small[1][row] = small_picture(rgb_FHWC, stride), small_parts(parts_FHW, stride)
    for array, path, final in zip(small, temporary, (pictures, parts), strict=True):  # the parts last: all is there
        array.flush()
        os.replace(path, final)
