"""3D ResNet-50 trained on Kinetics-400, the network of FID-VID.

After Hara et al., Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet? (arXiv 1711.09577): a
ResNet-50 whose kernels extend over time, projections as shortcuts (type B). Names are those of the published file.

Shape legend: N windows, C channels, T frames, H W pixels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import max_pool3d, relu

FEATURES = 2048
EXPANSION = 4
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # inner channels and blocks


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 and 1x1x1 convolutions around a shortcut, which is a projection where the shape changes."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        width = inner * EXPANSION
        self.conv1, self.bn1 = nn.Conv3d(channels, inner, 1, bias=False), nn.BatchNorm3d(inner)
        self.conv2, self.bn2 = nn.Conv3d(inner, inner, 3, stride, padding=1, bias=False), nn.BatchNorm3d(inner)
        self.conv3, self.bn3 = nn.Conv3d(inner, width, 1, bias=False), nn.BatchNorm3d(width)
        self.downsample = (
            nn.Sequential(nn.Conv3d(channels, width, 1, stride, bias=False), nn.BatchNorm3d(width))
            if stride != 1 or channels != width
            else nn.Identity()
        )

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        y = relu(self.bn1(self.conv1(x_NCTHW)))
        y = relu(self.bn2(self.conv2(y)))
        return relu(self.bn3(self.conv3(y)) + self.downsample(x_NCTHW))


class ResNet3D(nn.Module):
    """Windows [N, 3, 16, 112, 112] in 0..255 minus the mean -> features [N, 2048], the mean over frames and pixels."""

    def __init__(self) -> None:
        super().__init__()
        channels = STAGES[0][0]
        self.conv1 = nn.Conv3d(3, channels, 7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(channels)
        for number, (inner, blocks) in enumerate(STAGES, 1):
            stage = nn.Sequential()
            for block in range(blocks):
                stage.append(Bottleneck(channels, inner, 2 if block == 0 and number > 1 else 1))
                channels = inner * EXPANSION
            self.add_module(f"layer{number}", stage)

    def forward(self, x_N3THW: Tensor) -> Tensor:
        x = max_pool3d(relu(self.bn1(self.conv1(x_N3THW))), 3, 2, padding=1)
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x.mean((2, 3, 4))
