"""Training of the stand-in feature network: body parts, and the same person in two frames (evaluate/stand_in.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from magicanimate.evaluate.stand_in import PeopleNetwork
from magicanimate.parts.densepose import PALETTE_25
from magicanimate.synth.dataset import Dataset

TEMPERATURE = 0.1
IDENTITY_WEIGHT = 0.3
STRIDE = 4  # pixels per cell of the part logits
HELD_OUT = 24


def damaged(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Blurred, noisy and re-colored copies [N,3,H,W], as generated pictures are: parts are to be found there too."""
    out = []
    for picture in pictures:
        x = picture[None]
        if rng.random() < 0.5:
            small = float(rng.uniform(0.2, 0.7))
            x = F.interpolate(x, scale_factor=small, mode="bilinear", antialias=True, align_corners=False)
            x = F.interpolate(x, pictures.shape[-2:], mode="bilinear", align_corners=False)
        if rng.random() < 0.5:
            noise = torch.from_numpy(rng.standard_normal(x.shape).astype(np.float32))
            x = x + float(rng.uniform(0.01, 0.08)) * noise
        if rng.random() < 0.5:
            gain = torch.from_numpy(rng.uniform(0.8, 1.2, (1, 3, 1, 1)).astype(np.float32))
            x = x * gain + float(rng.uniform(-0.05, 0.05))
        out.append(x[0])
    return torch.stack(out).clamp(0, 1)


class StandinStage:
    """Cross-entropy of the parts, and a contrast of two frames of one person against all others of the batch."""

    def __init__(self, network: PeopleNetwork, data: Dataset, held_out: Dataset, device: torch.device) -> None:
        self.modules: dict[str, nn.Module] = {"standin": network}
        self._network, self._data, self._held_out, self._device = network, data, held_out, device

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        return list(self._network.named_parameters())

    def _pairs(self, data: Dataset, rng: np.random.Generator, clips: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return two frames of each clip: pictures [2N,3,H,W], first all first ones; parts [2N,H/4,W/4]."""
        frames = [rng.permutation(data.settings.frames)[:2] for _ in clips]
        rgb = np.stack([data.rgb(int(i))[k] for i, k in zip(clips, frames, strict=True)])
        parts = np.stack([data.parts(int(i))[k] for i, k in zip(clips, frames, strict=True)])
        pictures = torch.from_numpy(rgb).transpose(0, 1).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        half = STRIDE // 2
        cells = torch.from_numpy(parts).transpose(0, 1).flatten(0, 1)[:, half::STRIDE, half::STRIDE]
        return pictures.to(self._device), cells.to(self._device).long()

    def loss(self, rng: np.random.Generator, generator: torch.Generator, batch: int) -> tuple[Tensor, dict[str, float]]:
        pictures, cells = self._pairs(self._data, rng, rng.choice(len(self._data), batch, replace=False))
        logits, features = self._network(damaged(pictures, rng))
        parts = F.cross_entropy(logits, cells)
        first, second = self._network.identity(features).chunk(2)
        near = first @ second.T / TEMPERATURE
        same = torch.arange(batch, device=self._device)
        identity = (F.cross_entropy(near, same) + F.cross_entropy(near.T, same)) / 2
        return parts + IDENTITY_WEIGHT * identity, {
            "parts": float(parts.detach()),
            "identity": float(identity.detach()),
        }

    @torch.no_grad()
    def grid(self, path: Path) -> dict[str, float]:
        """Held-out pictures, true and found parts; share of body cells that are right, and of people recognized."""
        rng = np.random.default_rng(0)
        count = min(HELD_OUT, len(self._held_out))
        pictures, cells = self._pairs(self._held_out, rng, np.arange(count))
        logits, features = self._network(pictures)
        found, body = logits.argmax(1), cells > 0
        first, second = self._network.identity(features).chunk(2)
        recognized = (first @ second.T).argmax(1) == torch.arange(count)
        shown = [pictures[:8], *(torch.from_numpy(PALETTE_25[x[:8]]).permute(0, 3, 1, 2) / 255 for x in (cells, found))]
        rows = [torch.cat(list(F.interpolate(row, pictures.shape[-2:])), 2) for row in shown]
        Image.fromarray((torch.cat(rows, 1).permute(1, 2, 0) * 255).round().byte().numpy()).save(path)
        return {
            "body_cells": float((found == cells)[body].float().mean()),
            "recognized": float(recognized.float().mean()),
        }
