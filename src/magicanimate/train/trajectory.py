"""The few-step grid of a distilled model, and deterministic (DDIM) steps on it as affine maps that can be inverted.

A step from time s to time e takes x_s and the network's output o to x_e = A x_s + B o, with A and B from the schedule
and the prediction type alone. So the output that reaches a wanted x_e in one step is o* = (x_e - A x_s) / B.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from magicanimate.errors import InputError
from magicanimate.sampling.solvers import build_solver


def few_step_schedule(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's schedule with trailing steps: few steps have to begin at the noisiest time."""
    return {**schedule, "timestep_spacing": "trailing"}


class Trajectory:
    """Times of `steps` few steps, each cut into `fine` finer ones; places 0 .. steps*fine, the last one is clean."""

    def __init__(self, schedule: Mapping[str, Any], steps: int, fine: int, device: torch.device) -> None:
        scheduler = build_solver(few_step_schedule(schedule), "ddim")
        assert isinstance(scheduler, DDIMScheduler)
        total = scheduler.config["num_train_timesteps"]
        if total % steps:
            raise InputError(f"{steps} few steps do not divide the model's {total} timesteps evenly; choose another.")
        self.steps, self.fine, self.kind = steps, fine, scheduler.config["prediction_type"]
        count = steps * fine
        times = [round(total * (1 - place / count)) - 1 for place in range(count)]
        clean = float(scheduler.final_alpha_cumprod)
        alphas = torch.tensor([*(float(scheduler.alphas_cumprod[t]) for t in times), clean], dtype=torch.float64)
        if self.kind == "epsilon" and float(alphas[0]) == 0:
            raise InputError("A schedule with zero terminal SNR cannot go with epsilon prediction.")
        self._times = torch.tensor([*times, 0], device=device)
        self._signal, self._noise = (x.sqrt().to(device) for x in (alphas, 1 - alphas))

    def time(self, place_B: Tensor) -> Tensor:
        """Return timesteps of places. [B] int64."""
        return self._times[place_B]

    def noisy(self, clean: Tensor, noise: Tensor, place_B: Tensor) -> Tensor:
        """Add noise to clean latents `[B, ...]` at their places."""
        return _like(self._signal[place_B], clean) * clean + _like(self._noise[place_B], clean) * noise

    def step(self, x: Tensor, output: Tensor, start_B: Tensor, end_B: Tensor) -> Tensor:
        """Take one DDIM step from place to place."""
        a, b = self._coefficients(start_B, end_B)
        return _like(a, x) * x + _like(b, x) * output.float()

    def wanted(self, x: Tensor, x_end: Tensor, start_B: Tensor, end_B: Tensor) -> Tensor:
        """Return the network's output that takes x to x_end in one step."""
        a, b = self._coefficients(start_B, end_B)
        return (x_end - _like(a, x) * x) / _like(b, x)

    def loss(self, output: Tensor, x: Tensor, x_end: Tensor, start_B: Tensor, end_B: Tensor) -> Tensor:
        """Return the squared error of the velocity from x to x_end, whatever the network predicts. `[B, ...]`.

        A velocity moves x by sin(phi_s - phi_e) on the circle x = cos(phi) x_0 + sin(phi) eps: the error of the
        step's end is that many times the velocity's.
        """
        sine = self._noise[start_B] * self._signal[end_B] - self._signal[start_B] * self._noise[end_B]
        return ((self.step(x, output, start_B, end_B) - x_end) / _like(sine, x)).square()

    def _coefficients(self, start_B: Tensor, end_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return A and B of the steps, `[B]` each."""
        signal, noise = self._signal[start_B], self._noise[start_B]
        # x_0 and eps as (factor of x, factor of the output)
        if self.kind == "v_prediction":
            clean, rest = (signal, -noise), (noise, signal)
        elif self.kind == "epsilon":
            clean, rest = (1 / signal, -noise / signal), (torch.zeros_like(noise), torch.ones_like(noise))
        else:
            clean, rest = (torch.zeros_like(noise), torch.ones_like(noise)), (1 / noise, -signal / noise)
        end_signal, end_noise = self._signal[end_B], self._noise[end_B]
        return end_signal * clean[0] + end_noise * rest[0], end_signal * clean[1] + end_noise * rest[1]


def _like(factor_B: Tensor, x: Tensor) -> Tensor:
    """Reshape a number for each sample to broadcast over `[B, ...]`."""
    return factor_B.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
