"""Warped pictures in training, in the place of the drawn people that `animate` shows a model (conditions/drawings.py).

What a model is shown is made of small pictures and part maps of a data set.

Folder: `small.pictures.npy` [N,F,S,S,3], `small.own.npy` and `small.parts.npy` [N,F,S,S], uint8, beside the latents, in
their order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from magicanimate.models.config import WARP_COLORS, WARP_PLANES
from magicanimate.networks.pixels import space_to_depth
from magicanimate.synth.dataset import Dataset
from magicanimate.train.batches import loaded_by
from magicanimate.train.part_warp import KNOWN, PartWarp
from magicanimate.train.views import ViewSettings, apply_view, clip_view

_MISSED = 0.3  # share of the parts that an erroneous map lacks
_SHIFT = 0.03  # of its height: how far it is moved at most


def small_picture(picture_HWC: np.ndarray, stride: int) -> np.ndarray:
    """Average a picture's pixels [..., H, W, 3] uint8 over as many fields of each cell as the planes have colors."""
    step = stride // WARP_COLORS
    *many, height, width, channels = picture_HWC.shape
    cut = picture_HWC.reshape(*many, height // step, step, width // step, step, channels)
    return np.rint(cut.mean((-4, -2))).astype(np.uint8)


def small_parts(parts_HW: np.ndarray, stride: int) -> np.ndarray:
    """Reduce part maps [..., H, W] likewise, to the pixel in the middle of each field."""
    step = stride // WARP_COLORS
    return parts_HW[..., step // 2 :: step, step // 2 :: step]


def warp_planes(picture_HWC: np.ndarray, own_HW: np.ndarray, parts_FHW: np.ndarray) -> Tensor:
    """Return planes `[F, 49, h, w]` of a small picture with its small part map, for small part maps of the motion."""
    warp = PartWarp(picture_HWC, own_HW)
    warped = [warp(parts_HW) for parts_HW in parts_FHW]
    pictures_FCHW = torch.from_numpy(np.stack([each.picture_HWC for each in warped])).movedim(-1, 1).float()
    known_FHW = torch.from_numpy(np.stack([each.known_HW for each in warped])).float() / KNOWN
    shares_F1hw = space_to_depth(known_FHW[:, None], WARP_COLORS).mean(1, keepdim=True)
    return torch.cat([space_to_depth(pictures_FCHW / 127.5 - 1, WARP_COLORS), shares_F1hw], 1)


def unknown_planes(frames: int, height: int, width: int) -> Tensor:
    """Return planes `[F, 49, h, w]` that say nothing."""
    return torch.zeros(frames, WARP_PLANES, height, width)


@dataclass(frozen=True)
class SmallFrames:
    """Pictures [N,F,S,S,3], their own maps and the part maps [N,F,S,S] of all clips, uint8, mapped into memory."""

    pictures: np.ndarray
    own: np.ndarray
    parts: np.ndarray

    def warps(
        self, rng: np.random.Generator, clips_B: np.ndarray, references_B: np.ndarray, targets_BK: np.ndarray,
        dropped: float, wrong: float,
    ) -> Tensor:  # fmt: skip
        """Return planes `[B*K, 49, h, w]` of each reference warped to its targets.

        dropped: share of samples whose reference has no part map. wrong: share whose map has errors, as maps have that
        were found in a photograph.
        """
        cells = self.parts.shape[-1] // WARP_COLORS
        planes = []
        for clip, reference, targets in zip(clips_B, references_B, targets_BK, strict=True):
            if rng.random() < dropped:
                planes.append(unknown_planes(len(targets), cells, cells))
                continue
            own = self.own[clip, reference]
            own = with_errors(own, rng) if rng.random() < wrong else own
            planes.append(warp_planes(self.pictures[clip, reference], own, self.parts[clip, targets]))
        return torch.cat(planes)


def with_errors(own_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moved a little, some parts missing, perhaps with nothing known of hair and loose cloth."""
    most = max(1, round(_SHIFT * len(own_HW)))
    moved_HW = np.roll(own_HW, rng.integers(-most, most + 1, 2), (0, 1))
    missed_P = rng.random(256) < _MISSED * rng.random()
    return np.where(missed_P[moved_HW], 0, moved_HW).astype(np.uint8)


def small_frames(data: Dataset, folder: Path, stride: int, views: ViewSettings, workers: int = 0) -> SmallFrames:
    """Return the small frames of a data set, made where missing by so many processes beside this one."""
    paths = [folder / f"small.{name}.npy" for name in ("pictures", "own", "parts")]
    if not all(path.exists() for path in paths):
        _write(data, paths, stride, views, workers)
    return SmallFrames(*(np.load(path, mmap_mode="r") for path in paths))


@dataclass(frozen=True)
class _Small(TorchDataset[tuple[np.ndarray, ...]]):
    """Small pictures, own maps and part maps of every view of every clip."""

    data: Dataset
    stride: int
    views: ViewSettings

    def __len__(self) -> int:
        return len(self.data) * self.views.count

    def __getitem__(self, row: int) -> tuple[np.ndarray, ...]:
        number, clip = divmod(row, len(self.data))
        both = np.concatenate([self.data.own(clip), self.data.parts(clip)])  # a view is the same for maps of any number
        rgb_FHWC, maps_FHW = apply_view(clip_view(clip, number, self.views), self.data.rgb(clip), both)
        own_FHW, parts_FHW = np.split(small_parts(maps_FHW, self.stride), 2)
        return small_picture(rgb_FHWC, self.stride), own_FHW, parts_FHW


def _write(data: Dataset, paths: list[Path], stride: int, views: ViewSettings, workers: int) -> None:
    side = data.settings.size // (stride // WARP_COLORS)
    shape = (len(data) * views.count, data.settings.frames, side, side)
    temporary = [path.with_suffix(".part") for path in paths]
    small = [
        np.lib.format.open_memmap(path, "w+", np.uint8, s)
        for path, s in zip(temporary, ((*shape, 3), shape, shape), strict=True)
    ]
    rows = loaded_by(workers, _Small(data, stride, views))
    for row, arrays in enumerate(rows):
        for array, clip in zip(small, arrays, strict=True):
            array[row] = clip
    for array, path, final in zip(small, temporary, paths, strict=True):
        array.flush()
        os.replace(path, final)
