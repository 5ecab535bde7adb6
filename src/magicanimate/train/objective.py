"""What the denoiser is trained for. One definition for all stages, from the schedule that the sampler uses too."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from einops import rearrange
from torch import Tensor

from magicanimate.solvers import build_solver


class Objective:
    """Noise, target and loss under a model's schedule (model.json `scheduler`)."""

    def __init__(self, schedule: Mapping[str, Any], device: torch.device) -> None:
        scheduler = build_solver(schedule, "ddim")
        assert isinstance(scheduler, DDIMScheduler)
        self._scheduler = scheduler
        self._device = device

    def timesteps(self, generator: torch.Generator, count: int, bias: float = 0.0) -> Tensor:
        """One timestep per sample, stratified over the schedule (less variance than independent draws). [B] int64.

        bias: their density rises as t**bias. From scratch, what a picture shows is decided at high noise.
        """
        total = self._scheduler.config["num_train_timesteps"]
        place = torch.rand(count, generator=generator, device=self._device)
        return (
            (((torch.arange(count, device=self._device) + place) / count) ** (1 / (1 + bias)) * total)
            .long()
            .clamp(max=total - 1)
        )

    def noisy(self, clean: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
        """z_t of clean latents [B,...]."""
        return self._scheduler.add_noise(clean, noise, t_B)

    def target(self, clean: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
        """What the network has to predict: the noise, the clean latents or the velocity."""
        kind = self._scheduler.config["prediction_type"]
        if kind == "epsilon":
            return noise
        if kind == "sample":
            return clean
        return self._scheduler.get_velocity(clean, noise, t_B)

    def loss(
        self, prediction: Tensor, clean: Tensor, noise: Tensor, t_B: Tensor, weight: Tensor | float = 1.0
    ) -> Tensor:
        """||target - prediction||^2, the (weighted) mean over everything, for stages 1 and 2 alike. Scalar.

        weight: broadcastable to the latents, of mean 1.
        """
        return (weight * (prediction.float() - self.target(clean, noise, t_B)).square()).mean()


def person_weight(planes_NPhw: Tensor, like_BcKhw: Tensor, extra: float) -> Tensor:
    """1 + extra x the person's share of each latent cell, scaled to mean 1. [B,1,K,h,w].

    Figures cover a sixth of the picture; without a weight, the still background takes most of the gradient.
    """
    batch, _, frames, height, width = like_BcKhw.shape
    person = F.adaptive_avg_pool2d(1 - planes_NPhw[:, :1], (height, width))
    weight = rearrange(1 + extra * person, "(b k) 1 h w -> b 1 k h w", b=batch, k=frames)
    return weight / weight.mean()
