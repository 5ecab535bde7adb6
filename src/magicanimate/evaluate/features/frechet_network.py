"""A network that turns pictures, or windows of frames, into features for a Frechet distance.

Shape legend: N pictures or windows, T frames of a window, H W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from magicanimate.errors import InputError
from magicanimate.evaluate.features.preprocessing import planes


@contextmanager
def exact() -> Iterator[None]:
    """Inference in full float32 with deterministic convolutions; GPUs round convolutions to TF32 otherwise."""
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        yield


def require_pictures(pictures: np.ndarray, window: int) -> None:
    """Raise InputError unless these are uint8 [N, H, W, 3], or [N, window, H, W, 3] for windows of several frames."""
    expected = "[N, H, W, 3]" if window == 1 else f"[N, {window}, H, W, 3]"
    fits = pictures.ndim == (4 if window == 1 else 5) and pictures.shape[-1] == 3
    if not fits or (window > 1 and pictures.shape[1] != window) or pictures.dtype != np.uint8:
        raise InputError(
            f"Features are of pictures {expected} of type uint8, and these are {list(pictures.shape)} of type "
            f"{pictures.dtype}."
        )


@dataclass
class FrechetNetwork:
    """Features of a network.

    name: the network's, for people. metric: what the Frechet distance of its features is called. sha256: of the weights
    file. recognized: name of the published file that it is, "" for others. dimensions: D. window: frames at a time, 1
    for single pictures. prepare: pictures [N, (T,) 3, H, W] in 0..255 -> what the network takes. batch: pictures or
    windows at a time; results depend on it no more than rounding does.
    """

    name: str
    metric: str
    sha256: str
    recognized: str
    dimensions: int
    window: int
    network: Callable[[Tensor], Tensor] = field(repr=False)
    prepare: Callable[[Tensor], Tensor] = field(repr=False)
    batch: int
    device: torch.device

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, 3] (window 1) or [N, window, H, W, 3] -> float64 [N, dimensions].

        Raises InputError for other shapes and types.
        """
        require_pictures(pictures, self.window)
        features_ND = np.zeros((len(pictures), self.dimensions))
        with exact():
            for start in range(0, len(pictures), self.batch):
                part = slice(start, start + self.batch)
                features_ND[part] = self.network(self.prepare(planes(pictures[part], self.device))).cpu().numpy()
        return features_ND
