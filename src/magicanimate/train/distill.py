"""Stage 3 distills guidance and many steps of a teacher into a network of few steps (docs/training-methods.md).

The student starts as the teacher. For a place s on the few-step grid and the next one e, the teacher goes from x_s to
x_e by several guided DDIM steps; the student is trained to arrive there in one, without guidance. That is progressive
distillation (Salimans and Ho, arXiv 2202.00512) of guided models (Meng et al., arXiv 2210.03142) in a single round:
the segments of multistep and phased consistency models (arXiv 2403.06807, 2405.18407), but with the teacher's own end
of a segment as the target instead of the student's guess of it.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from magicanimate.evaluate.basic import psnr
from magicanimate.models.config import ModelConfig
from magicanimate.models.model import Model
from magicanimate.sampling.settings import SampleSettings
from magicanimate.train.batches import Prefetched, moved
from magicanimate.train.cache import LatentCache
from magicanimate.train.diffusion import BranchSettings, Sample, SampleSource, unreached
from magicanimate.train.forward import predict_guided, predict_noisy
from magicanimate.train.objective import cell_weight, sampling_noise
from magicanimate.train.preview import HeldOut, figures, generate, write_grid
from magicanimate.train.trajectory import Trajectory, few_step_schedule


class DistillSettings(BaseModel):
    """Settings of distillation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(4, ge=1, description="steps of the distilled model; a divisor of the schedule's timesteps")
    teacher_steps: int = Field(4, ge=1, description="guided steps of the teacher for each of those")
    guidance: float | None = Field(None, ge=0, description="the teacher's guidance; default: its model.json")
    on_policy: float = Field(
        0.5, ge=0, le=1, description="share of samples that start where the student itself arrives, not from the data"
    )
    spatial: bool = Field(True, description="train the denoiser's spatial layers")
    motion_modules: bool = Field(True, description="train the motion modules")


def distilled_config(config: ModelConfig, settings: DistillSettings, guidance: float) -> ModelConfig:
    """Return the student's model.json: few trailing DDIM steps, no guidance; the teacher's figures are not its own."""
    origin = {"from": f"{config.name} {config.version}", "guidance": guidance} | settings.model_dump(
        include={"steps", "teacher_steps", "on_policy"}
    )
    changes: dict[str, Any] = {
        "steps": settings.steps, "guidance": 1.0, "scheduler": few_step_schedule(config.scheduler), "figures": {},
        "training": config.training | {"distilled": origin},
    }  # fmt: skip
    return config.model_copy(update=changes)


class DistillStage(Prefetched):
    """Loss and sample grid of the distillation. Only the student's denoiser is trained and kept in checkpoints."""

    def __init__(
        self,
        teacher: Model,
        data: LatentCache,
        branches: BranchSettings,
        settings: DistillSettings,
        held: HeldOut,
        preview: dict[str, Any],
        device: torch.device,
        images: LatentCache | None = None,
    ) -> None:
        self._teacher, self._branches, self._settings, self._device = teacher, branches, settings, device
        self._source = SampleSource(data, images)
        self._guidance = teacher.config.guidance if settings.guidance is None else settings.guidance
        self._path = Trajectory(teacher.config.scheduler, settings.steps, settings.teacher_steps, device)
        self._held, self._preview = held, preview
        self._teacher_results: np.ndarray | None = None
        for module in teacher.networks.values():
            module.requires_grad_(False)
        config = distilled_config(teacher.config, settings, self._guidance)
        self.student = replace(teacher, config=config, denoiser=copy.deepcopy(teacher.denoiser))
        self.modules: dict[str, nn.Module] = {"denoiser": self.student.denoiser}
        for _, parameter in self.trainable():
            parameter.requires_grad_(True)

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        chosen = {True: self._settings.motion_modules and self._branches.window > 1, False: self._settings.spatial}
        return [
            (name, p)
            for key, p in self.student.denoiser.named_parameters()
            if chosen[".motion_modules." in (name := f"denoiser.{key}")]
            and not unreached(name, self.student.empty_prompt)
        ]

    def clips(self, rng: np.random.Generator, batch: int) -> list[str]:
        return self._source.clips(rng, self._branches, batch)

    def turn(self, number: int) -> None:
        self._source.turn = number

    def draw(self, rng: np.random.Generator, batch: int) -> Sample:
        return self._source.sample(rng, self._branches, batch)

    def loss_of(self, drawn: Sample, generator: torch.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        clean, motion, planes, reference, chance, _, _ = moved(drawn, self._device)
        noise = self._noise(clean, generator)
        segment = self._segments(len(clean), generator)
        own = chance < self._settings.on_policy
        start, end = segment * self._path.fine, (segment + 1) * self._path.fine

        with torch.no_grad():
            from_data = self._path.noisy(clean, noise, start)
            x = torch.where(_each(own, clean), self._rollout(noise, segment, own, reference, planes, drawn.temporal),
                            from_data)  # fmt: skip
            x_end = self._teach(x, start, reference, planes, drawn.temporal)
        output = predict_noisy(self.student, x, self._path.time(start), reference, planes, drawn.temporal)
        errors = self._path.loss(output, x, x_end, start, end)
        settings, control = self._branches, self._teacher.config.control
        weight = cell_weight(motion, clean, settings.person_weight, control, settings.unknown_weight, planes[:, -1:])
        loss = (weight * errors).mean()
        return loss, {f"n_{drawn.branch}": 1.0, "on_policy": own.float().mean()}

    def _noise(self, clean_BcKhw: Tensor, generator: torch.Generator) -> Tensor:
        return sampling_noise(clean_BcKhw, self._teacher.config.noise, generator)

    def _segments(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw each sample's segment, as evenly as the batch allows, [B]."""
        place = torch.rand(count, generator=generator, device=self._device)
        even = (torch.arange(count, device=self._device) + place) / count * self._path.steps
        return even.long().clamp(max=self._path.steps - 1)

    def _rollout(
        self, noise: Tensor, segment_B: Tensor, own_B: Tensor, reference: Tensor, planes: Tensor, temporal: bool
    ) -> Tensor:
        """Run the student from pure noise to the start of each sample's segment.

        In the distribution that it meets at sampling: errors of its earlier steps are then corrected by later ones.
        """
        x = noise  # as the sampler begins, whatever the schedule's last signal-to-noise ratio
        furthest = int(torch.where(own_B, segment_B, 0).max())
        for number in range(furthest):
            place = torch.full_like(segment_B, number * self._path.fine)
            output = predict_noisy(self.student, x, self._path.time(place), reference, planes, temporal)
            moved = self._path.step(x, output, place, place + self._path.fine)
            x = torch.where(_each(segment_B > number, x), moved, x)
        return x

    def _teach(self, x: Tensor, start_B: Tensor, reference: Tensor, planes: Tensor, temporal: bool) -> Tensor:
        """Run the teacher to the end of the segment."""
        for number in range(self._path.fine):
            place = start_B + number
            time = self._path.time(place)
            output = predict_guided(self._teacher, x, time, reference, planes, temporal, self._guidance)
            x = self._path.step(x, output, place, place + 1)
        return x

    def grid(self, path: Path) -> dict[str, float]:
        """Return the student's held-out figures, the teacher's from the same noise, and how close the two are in dB."""
        if self._teacher_results is None:
            many = {"steps": self._settings.steps * self._settings.teacher_steps, "guidance": self._guidance}
            settings = SampleSettings.for_model(self._teacher, **(self._preview | many))
            on_grid = self._teacher.config.model_copy(update={"scheduler": self.student.config.scheduler})
            self._teacher_results = generate(replace(self._teacher, config=on_grid), self._held, settings)
        results = generate(self.student, self._held, SampleSettings.for_model(self.student, **self._preview))
        write_grid(path, self._held, results, teacher=self._teacher_results)
        return {
            **figures(results, self._held),
            **{f"teacher_{name}": value for name, value in figures(self._teacher_results, self._held).items()},
            "to_teacher": float(np.mean([psnr(a, b) for a, b in zip(results, self._teacher_results, strict=True)])),
        }


def _each(flag_B: Tensor, like: Tensor) -> Tensor:
    """Reshape a flag for each sample to broadcast over `[B, ...]`."""
    return flag_B.view(-1, *[1] * (like.ndim - 1))
