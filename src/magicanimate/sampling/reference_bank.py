"""The reference bank of every step, encoded for several steps at once.

Legend: B samples, N rows, T tokens, D width, h w latent size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from magicanimate.networks.appearance import reference_bank
from magicanimate.networks.attention import KeyValue, ProjectedBank, ProjectedText, expand_rows, project_bank
from magicanimate.networks.denoiser import Denoiser
from magicanimate.sampling.inputs import Conditions
from magicanimate.sampling.reuse import Policies, StepCache, StepPlan

if TYPE_CHECKING:
    from magicanimate.models.model import Model


def step_bank(
    model: Model, conditions: Conditions, timestep: Tensor, plan: StepPlan, cache: StepCache
) -> ProjectedBank:
    """Return the reference bank as the denoiser's keys and values: one for all frames of a step, or of several steps.

    It depends on nothing but the timestep, so those of `Compute.bank_steps` steps are encoded together, in the
    same groups wherever a run was interrupted.
    """
    if plan.new_bank or cache.bank is None:
        time = float(timestep)
        if time not in cache.ahead:
            cache.ahead.clear()
            cache.ahead |= encode_banks(model, conditions, bank_group(cache.times, time, model.compute.bank_steps))
        cache.bank = cache.ahead[time]
    return cache.bank


def bank_times(policies: Policies, timesteps: Tensor) -> list[float]:
    """Return the timesteps at which a run encodes the reference anew."""
    return [float(time) for step, time in enumerate(timesteps) if policies.features.fresh(step)]


def bank_group(times: list[float], time: float, size: int) -> list[float]:
    """Return the timesteps whose banks are encoded with that of `time`; alone, if it is none of `times`."""
    if time not in times:
        return [time]
    first = times.index(time) // size * size
    return list(dict.fromkeys(times[first : first + size]))


def encode_banks(model: Model, conditions: Conditions, times: list[float]) -> dict[float, ProjectedBank]:
    """Compute the projected banks of some timesteps, `[B, heads, T, D/heads]` each, by one call of the encoder."""
    reference, text = conditions.ref_latents_Bchw, conditions.prompts.appearance
    time_N = torch.tensor(times).repeat(len(reference)).to(model.device)
    projected = model.compute(
        projected_bank, model.appearance, model.denoiser, reference, time_N, text, model.config.coordinates
    )

    def own(x: Tensor, index: int) -> Tensor:
        return x.unflatten(0, (-1, len(times)))[:, index]

    return {
        time: {path: KeyValue(own(key, i), own(value, i)) for path, (key, value) in projected.items()}
        for i, time in enumerate(times)
    }


def projected_bank(
    appearance: nn.Module, denoiser: Denoiser, ref_Bchw: Tensor, time_N: Tensor, text: ProjectedText, coordinates: int
) -> ProjectedBank:
    """Return keys and values of N rows: every sample at N / B timesteps."""
    rows = expand_rows(ref_Bchw, len(time_N))
    return project_bank(denoiser, reference_bank(appearance, rows, time_N, text, coordinates))
