"""Random samples from data sets on disk: frames for the VAE, cached latents with part maps for the diffusion stages."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from magicanimate.synth.dataset import Dataset


def draw_frames(data: Dataset, rng: np.random.Generator, count: int) -> list[tuple[int, int, int]]:
    """Clip, frame and direction of the columns (-1: mirrored, half of them) of random frames."""
    return [
        (int(rng.integers(len(data))), int(rng.integers(data.settings.frames)), -1 if rng.random() < 0.5 else 1)
        for _ in range(count)
    ]


def in_turn(first: int, count: int, total: int) -> np.ndarray:
    """Return numbers first.. of an endless sequence in which all `total` come once before any comes again. [count]."""
    places = np.arange(first, first + count)
    rounds = {k: np.random.default_rng([k, 41]).permutation(total) for k in np.unique(places // total)}
    return np.array([rounds[place // total][place % total] for place in places])


class FrameBatch(NamedTuple):
    """Pictures [B,H,W,3] uint8 and where the person is, [B,H,W] bool."""

    pictures: Tensor
    masks: Tensor


def random_frames(data: Dataset, rng: np.random.Generator, count: int) -> FrameBatch:
    """Return frames and their person masks; half of them mirrored."""
    pictures, masks = [], []
    for i, k, step in draw_frames(data, rng, count):
        pictures.append(data.rgb(i)[k][:, ::step])
        masks.append(data.parts(i)[k][:, ::step] > 0)
    return FrameBatch(torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(masks)))


def pixels_of(pictures_BHWC: Tensor) -> Tensor:
    """[B,H,W,3] uint8 -> [B,3,H,W] in [0,1]."""
    return pictures_BHWC.permute(0, 3, 1, 2).float() / 255
