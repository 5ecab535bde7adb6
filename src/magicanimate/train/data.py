"""Random samples from data sets on disk: frames for the VAE, cached latents with part maps for the diffusion stages."""

import numpy as np
import torch
from torch import Tensor

from magicanimate.synth.dataset import Dataset


def random_frames(data: Dataset, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Frames and their person masks, half of them mirrored. -> [B,3,H,W] in [0,1], [B,1,H,W] bool."""
    pictures, masks = [], []
    for _ in range(count):
        i, k = int(rng.integers(len(data))), int(rng.integers(data.settings.frames))
        step = -1 if rng.random() < 0.5 else 1
        pictures.append(data.rgb(i)[k][:, ::step])
        masks.append(data.parts(i)[k][:, ::step] > 0)
    rgb = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return rgb, torch.from_numpy(np.stack(masks))[:, None]
