"""LPIPS 0.1: a distance of two pictures in the features of a VGG16 or an AlexNet.

After Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (arXiv 1801.03924): features
of five layers are normalized along the channels, their squared differences weighted per channel by a learned head,
averaged over pixels, and summed over the layers. Names of the backbones are torchvision's.

Shape legend: N pictures, C channels, H W pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.evaluate.features.frechet_network import exact, require_pictures
from magicanimate.evaluate.features.preprocessing import planes

# Of pictures in -1..1, R G B: what ImageNet's mean and deviation become in that range.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
SMALLEST_NORM = 1e-10
SMALLEST_SIDE = 32  # pixels; AlexNet's five layers do not fit into less
BATCH = 8

InputRange = Literal["signed", "unit"]


def vgg16() -> nn.Sequential:
    """Return features of configuration D (arXiv 1409.1556), up to the last ReLU."""
    layers: list[nn.Module] = []
    channels = 3
    for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        layers += [nn.MaxPool2d(2)] if stage else []
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


def alexnet() -> nn.Sequential:
    """Return features of the one-tower AlexNet (arXiv 1404.5997), up to the last ReLU."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


# Backbone, and the layers that are compared with their channels.
BACKBONES = {
    "lpips-vgg": (vgg16, {3: 64, 8: 128, 15: 256, 22: 512, 29: 512}),
    "lpips-alex": (alexnet, {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}),
}


class Head(nn.Module):
    """Weights of a layer's channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The published heads were trained with dropout before the convolution, hence the index 1 in its name.
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.model(x_NCHW)


class LPIPS(nn.Module):
    """Two sets of pictures [N, 3, H, W] -> distances [N]."""

    def __init__(self, kind: str) -> None:
        """kind: lpips-vgg or lpips-alex."""
        super().__init__()
        build, self.layers = BACKBONES[kind]
        self.features = build()
        for number, channels in enumerate(self.layers.values()):
            self.add_module(f"lin{number}", Head(channels))

    def forward(self, a_N3HW: Tensor, b_N3HW: Tensor) -> Tensor:
        total = torch.zeros(len(a_N3HW), dtype=torch.float64, device=a_N3HW.device)
        for number, (a, b) in enumerate(zip(self._compared(a_N3HW), self._compared(b_N3HW), strict=True)):
            weighted_N1HW = self.get_submodule(f"lin{number}")((unit_length(a) - unit_length(b)) ** 2)
            total += weighted_N1HW.double().mean((1, 2, 3))
        return total

    def _compared(self, x_N3HW: Tensor) -> list[Tensor]:
        scale, shift = (torch.tensor(v, device=x_N3HW.device)[:, None, None] for v in (SCALE, SHIFT))
        x = (x_N3HW - shift) / scale
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.layers:
                found.append(x)
        return found


def unit_length(x_NCHW: Tensor) -> Tensor:
    """Normalize each pixel's channels to a vector of length one."""
    return x_NCHW / (x_NCHW.square().sum(1, keepdim=True).sqrt() + SMALLEST_NORM)


def scaled(pictures_N3HW: Tensor, input_range: InputRange) -> Tensor:
    """0..255 -> -1..1 ("signed", what the network was trained on) or 0..1 ("unit", what DisCo feeds)."""
    return pictures_N3HW / 255 if input_range == "unit" else pictures_N3HW / 127.5 - 1


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return names of the package lpips, `net.slice2.5.weight`, as torchvision's, `features.5.weight`; others stay."""
    return {re.sub(r"^net\.slice\d\.(\d+)\.", r"features.\1.", name): value for name, value in state.items()}


def has_heads(state: Mapping[str, Tensor]) -> bool:
    """Return True if a file holds the heads beside the backbone."""
    return any(re.match(r"lin\d\.", name) for name in state)


@dataclass
class PerceptualDistance:
    """LPIPS on pictures as they come.

    sha256: of the weights file, or of backbone and heads with a plus sign between. recognized: names of the published
    files that these are, "" for others.
    """

    name: str
    sha256: str
    recognized: str
    network: LPIPS = field(repr=False)
    device: torch.device

    def distance(self, a: np.ndarray, b: np.ndarray, input_range: InputRange = "signed") -> np.ndarray:
        """Pictures [N, H, W, 3] uint8 and as many others of the same size -> distances [N] float64."""
        require_pictures(a, 1)
        require_pictures(b, 1)
        if a.shape != b.shape:
            raise InputError(f"LPIPS compares pictures of the same size, and these are {a.shape} and {b.shape}.")
        if min(a.shape[1:3]) < SMALLEST_SIDE:
            raise InputError(
                f"LPIPS needs pictures of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels; choose a larger size."
            )
        distances = [np.zeros(0)]
        with exact():
            for start in range(0, len(a), BATCH):
                x, y = (scaled(planes(c[start : start + BATCH], self.device), input_range) for c in (a, b))
                distances.append(self.network(x, y).cpu().numpy())
        return np.concatenate(distances)
