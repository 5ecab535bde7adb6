"""I3D trained on Kinetics-400, the network of FVD.

After Carreira and Zisserman, Quo Vadis, Action Recognition? (arXiv 1705.07750): Inception v1 whose kernels extend over
time, with TensorFlow's padding. Names are those of the PyTorch port.

Shape legend: N windows, C channels, T frames, H W pixels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, max_pool3d, pad, relu

from magicanimate.errors import InputError

CLASSES = 400
EPSILON = 1e-3  # TensorFlow's; some copies of the port have PyTorch's default, which is not what the weights belong to

Size = tuple[int, int, int]  # frames, rows, columns

# Channels of a mixed block: 1x1x1; 1x1x1 then 3x3x3; 1x1x1 then 3x3x3; after pooling.
MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


def same_padding(x_NCTHW: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Zeros around, as TensorFlow's SAME: outputs are inputs / stride, rounded up, and an odd zero goes to the end."""
    amounts: list[int] = []
    for size, k, s in zip(x_NCTHW.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        amounts = [total // 2, total - total // 2, *amounts]  # torch wants the last axis first
    return pad(x_NCTHW, amounts)


def same_max_pool(x_NCTHW: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Maximum over windows. Padding with zeros changes nothing, because all inputs come from a ReLU."""
    return max_pool3d(same_padding(x_NCTHW, kernel, stride), kernel, stride)


class Unit(nn.Module):
    """Padded convolution, batch normalization, ReLU."""

    def __init__(self, channels: int, width: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(channels, width, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(width, eps=EPSILON)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return relu(self.bn(self.conv3d(same_padding(x_NCTHW, self.kernel, self.stride))))


class Mixed(nn.Module):
    """Four branches, concatenated; see MIXED."""

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit(channels, widths[0])
        self.b1a, self.b1b = Unit(channels, widths[1]), Unit(widths[1], widths[2], 3)
        self.b2a, self.b2b = Unit(channels, widths[3]), Unit(widths[3], widths[4], 3)
        self.b3b = Unit(channels, widths[5])
        self.width = widths[0] + widths[2] + widths[4] + widths[5]

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        pooled = same_max_pool(x_NCTHW, (3, 3, 3), (1, 1, 1))
        branches = [self.b0(x_NCTHW), self.b1b(self.b1a(x_NCTHW)), self.b2b(self.b2a(x_NCTHW)), self.b3b(pooled)]
        return torch.cat(branches, 1)


class Classifier(nn.Module):
    """A 1x1x1 convolution with bias, named as in the port."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, CLASSES, 1)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return self.conv3d(x_NCTHW)


class I3D(nn.Module):
    """Windows [N, 3, 16, 224, 224] in -1..1 -> logits [N, 400], averaged over time; nothing smaller fits."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        channels = 192
        for name, widths in MIXED.items():
            block = Mixed(channels, widths)
            self.add_module(f"Mixed_{name}", block)
            channels = block.width
        self.logits = Classifier(channels)

    def forward(self, x_N3THW: Tensor) -> Tensor:
        x = same_max_pool(self.Conv3d_1a_7x7(x_N3THW), (1, 3, 3), (1, 2, 2))
        x = same_max_pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        x = same_max_pool(self._mixed("3", x), (3, 3, 3), (2, 2, 2))
        x = same_max_pool(self._mixed("4", x), (2, 2, 2), (2, 2, 2))
        x = avg_pool3d(self._mixed("5", x), (2, 7, 7), stride=1)
        return self.logits(x).mean((2, 3, 4))

    def _mixed(self, stage: str, x_NCTHW: Tensor) -> Tensor:
        for name in MIXED:
            if name.startswith(stage):
                x_NCTHW = self.get_submodule(f"Mixed_{name}")(x_NCTHW)
        return x_NCTHW


class ScriptedI3D:
    """The TorchScript file of StyleGAN-V: the same network, closed.

    It can resize and scale by itself; both are switched off, so that pictures are prepared as for our network.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        """Raises InputError if the file cannot be read."""
        try:
            self._network = torch.jit.load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(f"The weights {path} are not a TorchScript file that can be read.") from error
        self._path = path

    def __call__(self, x_N3THW: Tensor) -> Tensor:
        """Windows [N, 3, 16, 224, 224] in -1..1 -> logits [N, 400]. Raises InputError if it is another network."""
        try:
            logits = self._network(x_N3THW, rescale=False, resize=False, return_features=True)
        except RuntimeError as error:
            raise InputError(
                f"{self._path} is not the I3D of StyleGAN-V: it cannot be called with rescale, resize and "
                "return_features."
            ) from error
        if not isinstance(logits, Tensor) or logits.shape != (len(x_N3THW), CLASSES):
            raise InputError(
                f"{self._path} is not the I3D of StyleGAN-V: it does not return {CLASSES} logits a window."
            )
        return logits
