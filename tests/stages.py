"""Stages for tests of the training loop: a line, and diffusion stages on random latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from magicanimate.train.cache import LatentCache
from magicanimate.train.checkpoints import CHECKPOINT
from magicanimate.train.diffusion import BranchSettings, DiffusionStage

CPU = torch.device("cpu")


class Line:
    """A stage that learns y = 2 x; its `broken` step fails."""

    def __init__(self, broken: int | None = None) -> None:
        torch.manual_seed(0)
        self.line, self.step, self.broken = torch.nn.Linear(1, 1), 0, broken
        self.modules: dict[str, torch.nn.Module] = {"line": self.line}

    def trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        return list(self.line.named_parameters())

    def loss(self, rng, generator, batch):
        self.step += 1
        if self.step == self.broken:
            raise ArithmeticError
        x = torch.randn(batch, 1, generator=generator)
        return (self.line(x) - 2 * x).square().mean(), {}

    def grid(self, path):
        return {}


def line_weights(out: Path) -> torch.Tensor:
    return torch.load(out / CHECKPOINT, weights_only=True)["modules"]["line"]["weight"]


def stage_of(model, **branches: object) -> DiffusionStage:
    """Make a stage on random latents, without sample grid."""
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(4, 6, 6, 4, 4)).astype(np.float16)
    planes = rng.integers(0, 255, (4, 6, 25, 8, 8), dtype=np.uint8)
    choice = BranchSettings(**({"stage": "appearance", "targets": 2} | branches))
    stage = DiffusionStage(model, LatentCache(latents, planes), choice, None, CPU)
    stage.grid = lambda path: {}
    return stage


def gradients(stage: DiffusionStage, seed: int = 3, autocast: bool = False) -> dict[str, torch.Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss, _ = stage.loss(np.random.default_rng(seed), torch.Generator().manual_seed(seed), 2)
    loss.backward()
    return {name: p.grad for name, p in stage.trainable() if p.grad is not None}
