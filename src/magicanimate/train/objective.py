"""Objective of the denoiser: one definition for all stages, from the schedule that the sampler uses too."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from einops import rearrange
from torch import Tensor

from magicanimate.models.config import ControlKind
from magicanimate.networks.vae import NoiseMode
from magicanimate.parts.densepose import PALETTE_25, PARTS
from magicanimate.sampling.solvers import build_solver


class Objective:
    """Noise, target and loss under a model's schedule (model.json `scheduler`)."""

    def __init__(self, schedule: Mapping[str, Any], device: torch.device) -> None:
        scheduler = build_solver(schedule, "ddim")
        assert isinstance(scheduler, DDIMScheduler)
        self._scheduler = scheduler
        self._device = device

    def timesteps(self, generator: torch.Generator, count: int, bias: float = 0.0) -> Tensor:
        """Draw one timestep per sample, stratified over the schedule (less variance than independent draws). [B] int64.

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
        """Add noise to clean latents [B, ...]: z_t."""
        return self._scheduler.add_noise(clean, noise, t_B)

    def target(self, clean: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
        """Return the network's target: the noise, the clean latents, or the velocity."""
        kind = self._scheduler.config["prediction_type"]
        if kind == "epsilon":
            return noise
        if kind == "sample":
            return clean
        return self._scheduler.get_velocity(clean, noise, t_B)

    def loss(
        self,
        prediction: Tensor,
        clean: Tensor,
        noise: Tensor,
        t_B: Tensor,
        weight: Tensor | float = 1.0,
        snr_gamma: float | None = None,
    ) -> Tensor:
        """||target - prediction||^2, the (weighted) mean over everything, for stages 1 and 2 alike. Scalar.

        weight: broadcastable to the latents, of mean 1. snr_gamma: see `snr_weight`.
        """
        errors = weight * (prediction.float() - self.target(clean, noise, t_B)).square()
        if snr_gamma is not None:
            errors = errors * self.snr_weight(t_B, snr_gamma).view(-1, *[1] * (errors.ndim - 1))
        return errors.mean()

    def snr_weight(self, t_B: Tensor, gamma: float) -> Tensor:
        """Min-SNR-gamma (Hang et al., arXiv 2303.09556): an error counts at most as one of SNR gamma would. [B].

        In terms of the clean latents, an error of the noise weighs SNR and one of the velocity SNR + 1. Both are cut
        off, at gamma and gamma + 1: at zero terminal SNR, a velocity's weight is then 1 and not 0.
        """
        alpha = self._scheduler.alphas_cumprod.to(self._device)[t_B]
        snr = alpha / (1 - alpha)
        kind = self._scheduler.config["prediction_type"]
        if kind == "sample":
            return snr.clamp(max=gamma)
        extra = 1.0 if kind == "v_prediction" else 0.0
        own = (snr + extra).clamp_min(1e-8)
        return own.clamp(max=gamma + extra) / own


def sampling_noise(clean_BcKhw: Tensor, mode: NoiseMode, generator: torch.Generator) -> Tensor:
    """Draw noise like clean latents, as sampling starts: the same in all frames for models that recommend that."""
    shape = list(clean_BcKhw.shape)
    if mode == "static":
        shape[2] = 1
    return torch.randn(shape, generator=generator, device=clean_BcKhw.device).expand(clean_BcKhw.shape)


def offset_noise(noise: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """Shift noise `[B, c, ...]` by one normal draw for each sample and channel, times `spread`.

    Without it, schedules whose last step still has signal learn to keep a picture's mean brightness.
    """
    if not spread:
        return noise
    shape = (*noise.shape[:2], *[1] * (noise.ndim - 2))
    return noise + spread * torch.randn(shape, generator=generator, device=noise.device)


def person_share(planes_NPhw: Tensor, control: ControlKind = "densepose") -> Tensor:
    """Return the person's share of each cell, from part planes, RGB ones, or depth. [N,1,h,w] in [0,1].

    A skeleton has only lines: the cells that they touch, and their neighbors, count as the person.
    """
    if control == "depth":
        return (planes_NPhw > 0).to(planes_NPhw.dtype).mean(1, keepdim=True)
    if control == "pose":
        drawn = (planes_NPhw.amax(1, keepdim=True) > 0).to(planes_NPhw.dtype)
        return F.max_pool2d(drawn, 3, stride=1, padding=1)
    if planes_NPhw.shape[1] == PARTS:
        return 1 - planes_NPhw[:, :1]
    background = torch.as_tensor(PALETTE_25[0], dtype=planes_NPhw.dtype, device=planes_NPhw.device) / 255
    pixels_N3Qhw = planes_NPhw.unflatten(1, (3, -1))  # Q pixels of a cell
    person = (pixels_N3Qhw - background.view(3, 1, 1, 1)).abs().amax(1) > 1 / 255
    return person.to(planes_NPhw.dtype).mean(1, keepdim=True)


def cell_weight(
    planes_NPhw: Tensor,
    like_BcKhw: Tensor,
    person: float,
    control: ControlKind = "densepose",
    unknown: float = 0.0,
    known_N1hw: Tensor | None = None,
) -> Tensor:
    """1 + `person` x the person's share of each latent cell + `unknown` x the share that no drawing knows. [B,1,K,h,w].

    Scaled to mean 1. Figures cover a sixth of the picture; without a weight, the still background takes most of the
    gradient. known: share of each cell that the drawing knows, in [0, 1]: the last plane of models that are shown it.
    """
    batch, _, frames, height, width = like_BcKhw.shape
    weight = 1 + person * F.adaptive_avg_pool2d(person_share(planes_NPhw, control), (height, width))
    if unknown and known_N1hw is not None:
        weight = weight + unknown * (1 - F.adaptive_avg_pool2d(known_N1hw, (height, width)))
    weight = rearrange(weight, "(b k) 1 h w -> b 1 k h w", b=batch, k=frames)
    return weight / weight.mean()
