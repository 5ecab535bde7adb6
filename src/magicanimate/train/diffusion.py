"""Stage 1 (appearance encoder, ControlNet and, from scratch, the denoiser) and stage 2 (temporal layers) in one class.

Joint image-video training (reference.md section 1). Stage 1: with probability tau_0 a still image reconstructs itself,
else another frame of the video is the target. Stage 2, by r ~ U(0,1): r <= tau_1 a still image, r <= tau_2 one other
frame, else a clip of K frames.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from magicanimate.appearance import reference_bank
from magicanimate.control import control_residuals
from magicanimate.denoiser import predict
from magicanimate.models import Model
from magicanimate.train.cache import LatentCache
from magicanimate.train.objective import Objective, person_weight
from magicanimate.train.preview import Preview


class BranchSettings(BaseModel):
    """What a stage shows the networks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["appearance", "temporal"]
    tau_0: float = Field(0.1, ge=0, le=1, description="stage 1: share of samples that reconstruct the reference")
    tau_1: float = Field(0.1, ge=0, le=1, description="stage 2: r up to tau_1 reconstructs a still image")
    tau_2: float = Field(0.3, ge=0, le=1, description="stage 2: r up to tau_2 takes one other frame, above it a clip")
    targets: int = Field(3, ge=1, description="stage 1: frames that share one reference")
    window: int = Field(8, ge=1, description="stage 2: frames of a clip (K)")
    person_weight: float = Field(1.0, ge=0, description="extra weight of the loss where the person is")
    noise_bias: float = Field(0.0, ge=0, description="0: timesteps uniform; b: their density rises as t**b")
    drop_reference: float = Field(0.1, ge=0, lt=1, description="share of steps without reference, for guidance")


@dataclass(frozen=True)
class Batch:
    """clips [B]; frames [B]; targets [B,K]; what was drawn, for the log. images: clips are those of the image data."""

    clips: np.ndarray
    references: np.ndarray
    targets: np.ndarray
    temporal: bool
    branch: str
    images: bool = False


def draw_batch(
    rng: np.random.Generator,
    settings: BranchSettings,
    data: LatentCache,
    count: int,
    images: LatentCache | None = None,
) -> Batch:
    """Choose clips, references and targets. In stage 2 one branch holds for the whole batch: lengths differ.

    images: still pictures for the image branches; without them, those are frames of the videos. With them, one branch
    holds for the whole batch in stage 1 too.
    """
    if images and rng.random() <= (settings.tau_0 if settings.stage == "appearance" else settings.tau_1):
        many = count * (settings.targets if settings.stage == "appearance" else settings.window)
        frames = rng.integers(images.frames, size=many)
        clips = rng.integers(len(images), size=many)
        return Batch(clips, frames, frames[:, None], settings.stage == "temporal", "image", images=True)
    clips = rng.integers(len(data), size=count)
    if settings.stage == "appearance":
        order = rng.permuted(np.tile(np.arange(data.frames), (count, 1)), axis=1)
        targets = order[:, 1 : 1 + settings.targets]
        same = rng.random(count) < (0 if images else settings.tau_0)
        targets[:, 0] = np.where(same, order[:, 0], targets[:, 0])
        return Batch(clips, order[:, 0], targets, False, "joint")
    r = rng.uniform(settings.tau_1, 1) if images else rng.random()
    if r <= settings.tau_2:  # images: as many as a clip has frames, so that every step costs the same
        clips = rng.integers(len(data), size=count * settings.window)
        targets = rng.integers(1, data.frames, size=(len(clips), 1))
        still = r <= settings.tau_1
        return Batch(
            clips, targets[:, 0] if still else np.zeros(len(clips), int), targets, True, "image" if still else "pair"
        )
    start = rng.integers(1, data.frames - settings.window + 1, size=(count, 1))
    return Batch(clips, np.zeros(count, int), start + np.arange(settings.window), True, "clip")


class DiffusionStage:
    """Loss and sample grid of a diffusion stage; the loop does the rest."""

    def __init__(
        self,
        model: Model,
        data: LatentCache,
        settings: BranchSettings,
        preview: Preview,
        device: torch.device,
        images: LatentCache | None = None,
    ) -> None:
        self._model, self._data, self._settings, self._preview, self._device = model, data, settings, preview, device
        self._images = images
        self._objective = Objective(model.config.scheduler, device)
        names = ("denoiser", "appearance", "control")
        self.modules: dict[str, nn.Module] = {name: model.networks[name] for name in names}
        for module in model.networks.values():
            module.requires_grad_(False)
        for _, parameter in self.trainable():
            parameter.requires_grad_(True)

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        temporal = self._settings.stage == "temporal"
        every = [(f"{name}.{key}", p) for name, module in self.modules.items() for key, p in module.named_parameters()]
        every = [(name, p) for name, p in every if (".motion_modules." in name) == temporal]
        return [(name, p) for name, p in every if not _unreached(name, self._model.empty_prompt)]

    def loss(self, rng: np.random.Generator, generator: torch.Generator, batch: int) -> tuple[Tensor, dict[str, float]]:
        drawn = draw_batch(rng, self._settings, self._data, batch, self._images)
        data = self._images if drawn.images and self._images else self._data
        clean, planes = data.take(drawn.clips, drawn.targets, self._device)
        reference, _ = data.take(drawn.clips, drawn.references[:, None], self._device)
        noise = torch.randn(clean.shape, generator=generator, device=self._device)
        t = self._objective.timesteps(generator, len(clean), self._settings.noise_bias)
        noisy = self._objective.noisy(clean, noise, t)
        dropped = rng.random() < self._settings.drop_reference
        prediction = self._predict(noisy, t, None if dropped else reference[:, :, 0], planes, drawn.temporal)
        weight = person_weight(planes, clean, self._settings.person_weight)
        loss = self._objective.loss(prediction, clean, noise, t, weight)
        return loss, {f"n_{drawn.branch}": 1.0, "n_dropped": float(dropped)}

    def _predict(self, noisy: Tensor, t: Tensor, reference: Tensor | None, planes: Tensor, temporal: bool) -> Tensor:
        model = self._model
        text, coordinates = model.empty_prompt[None], model.config.coordinates
        bank = (
            None if reference is None else reference_bank(model.appearance, reference, t, text, coordinates=coordinates)
        )
        rows = noisy.transpose(1, 2).flatten(0, 1)
        residuals = control_residuals(model.control, rows, planes, t, text, coordinates=coordinates)
        stem = None
        if model.config.reference_input:
            stem = torch.zeros_like(noisy[:, :, 0]) if reference is None else reference
        return predict(model.denoiser, noisy, t, text, bank, residuals, temporal, coordinates, stem)

    def grid(self, path: Path) -> dict[str, float]:
        return self._preview.write(path)


def _unreached(name: str, prompt: Tensor) -> bool:
    """Attention over a single text token is that token's value: its queries, keys and norm get no gradient."""
    inside = any(f".{part}." in name for part in ("attn2.to_q", "attn2.to_k", "transformer_blocks.0.norm2"))
    return len(prompt) == 1 and inside and ".motion_modules." not in name
