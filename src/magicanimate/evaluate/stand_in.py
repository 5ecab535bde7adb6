"""Stand-in feature networks: small, shipped with the package, trained on generated people (train/stand_in.py).

They are there so that distances between distributions and poses can be measured without a download. Their scores are
comparable among themselves only, and are never called FID, FID-VID, FVD or LPIPS.

Legend: N pictures or windows, K frames of a window, H W pixels, D features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from magicanimate.files import sha256
from magicanimate.models.weights import dequantize, load_strict, read_safetensors
from magicanimate.parts.densepose import PARTS

WEIGHTS = Path(__file__).parent.parent / "assets" / "standin.safetensors"
SIZE = 128  # pixels along each side that the network sees
CHANNELS = (32, 64, 96, 128)
WINDOW = 16
_BATCH = 32


def _block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(8, after), nn.SiLU())


class PeopleNetwork(nn.Module):
    """A small U-Net. It learns which body part is where, and (from the bottleneck's mean) who is in the picture."""

    def __init__(self) -> None:
        super().__init__()
        first, *others = CHANNELS
        self.stem = nn.Sequential(nn.Conv2d(3, first, 4, 4), nn.SiLU(), _block(first, first))
        self.down = nn.ModuleList(
            nn.Sequential(_block(before, after, 2), _block(after, after))
            for before, after in zip(CHANNELS[:-1], others, strict=True)
        )
        self.up = nn.ModuleList(
            _block(deep + skip, skip) for deep, skip in zip(reversed(others), reversed(CHANNELS[:-1]), strict=True)
        )
        self.parts = nn.Conv2d(first, PARTS, 1)
        self.person = nn.Linear(sum(others), CHANNELS[-1])

    def forward(self, pictures_N3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures in [0,1] -> part logits [N,25,H/4,W/4] and features [N,D], D = 288."""
        x = self.stem(pictures_N3HW * 2 - 1)
        levels = [x]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        features = torch.cat([level.mean((-2, -1)) for level in levels[1:]], 1)
        x = levels.pop()
        for layer in self.up:
            x = F.interpolate(x, scale_factor=2.0)
            x = layer(torch.cat([x, levels.pop()], 1))
        return self.parts(x), features

    def identity(self, features_ND: Tensor) -> Tensor:
        """Embed the identity as a unit vector [N, 128]: near for two frames of the same person."""
        return F.normalize(self.person(features_ND), dim=1)


def to_input(pictures_NHWC: np.ndarray) -> Tensor:
    """uint8 pictures of any size -> [N,3,128,128] in [0,1]."""
    x = torch.from_numpy(np.array(pictures_NHWC)).permute(0, 3, 1, 2).float() / 255
    if x.shape[-2:] == (SIZE, SIZE):
        return x
    return F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)


class StandinFrames:
    """Features of single frames. Follows evaluate.interfaces.FeatureNetwork."""

    name = "stand-in people network"
    metric = "stand-in frame distance"
    window = 1
    dimensions = sum(CHANNELS[1:])

    def __init__(self, network: PeopleNetwork, sha256: str) -> None:
        self._network, self.sha256 = network, sha256

    @torch.no_grad()
    def features(self, pictures: np.ndarray) -> np.ndarray:
        """[N,H,W,3] uint8 -> [N,288] float64."""
        chunks = [self._network(x)[1] for x in to_input(pictures).split(_BATCH)]
        return torch.cat(chunks).double().numpy()

    @torch.no_grad()
    def parts(self, pictures: np.ndarray) -> np.ndarray:
        """The body parts that the network sees: [N,H,W,3] uint8 -> [N,H,W] uint8, in steps of 4 of 128 pixels."""
        height, width = pictures.shape[1:3]
        found = torch.cat([self._network(x)[0].argmax(1) for x in to_input(pictures).split(_BATCH)])
        return F.interpolate(found[:, None].float(), (height, width))[:, 0].byte().numpy()


class StandinClips:
    """Features of windows: the frame features' mean over time, and the mean size of their changes."""

    name = "stand-in people network, 16 frames"
    metric = "stand-in clip distance"
    window = WINDOW
    dimensions = 2 * StandinFrames.dimensions

    def __init__(self, frames: StandinFrames) -> None:
        self._frames, self.sha256 = frames, frames.sha256

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """[N,16,H,W,3] uint8 -> [N,576] float64."""
        if not len(pictures):
            return np.zeros((0, self.dimensions))
        # Windows overlap: a frame that several of them share is computed once.
        flat = pictures.reshape(-1, *pictures.shape[2:])
        seen = [hash(frame.tobytes()) for frame in flat]
        first = {key: place for place, key in reversed(list(enumerate(seen)))}
        row = {key: number for number, key in enumerate(first)}
        each_ND = self._frames.features(flat[list(first.values())])
        each_NKD = each_ND[[row[key] for key in seen]].reshape(len(pictures), WINDOW, -1)
        return np.concatenate([each_NKD.mean(1), np.abs(np.diff(each_NKD, axis=1)).mean(1)], 1)


def load_standin(file: Path = WEIGHTS) -> list[StandinFrames | StandinClips]:
    """Return the stand-in networks, frames and clips. Raises InputError if the weights are missing or damaged."""
    network = PeopleNetwork()
    load_strict(network, dequantize(read_safetensors(file), torch.float32), file)
    frames = StandinFrames(network.eval().requires_grad_(False), sha256(file))
    return [frames, StandinClips(frames)]
