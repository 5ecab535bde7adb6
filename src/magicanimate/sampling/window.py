"""One window's guided prediction: the conditional and the unconditional half, and their combination.

Legend: B samples, K frames of a window, c latent channels, h w latent size, T tokens, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from magicanimate.engine.device import to_model
from magicanimate.networks.attention import ProjectedBank, ProjectedText
from magicanimate.networks.control import Residuals
from magicanimate.networks.denoiser import Denoiser, Trunk, stem_input
from magicanimate.sampling.inputs import Conditions
from magicanimate.sampling.reuse import StepPlan

if TYPE_CHECKING:
    from magicanimate.models.model import Model


class WindowDenoiser:
    """Predicts the noise of one window after the other at one timestep.

    The unconditional half has no reference, so it never computes attention to it. With equal prompts both halves are
    the same up to their first read of the reference, so that part is computed once; not for models that have the
    reference at their stem.
    """

    def __init__(self, model: Model, conditions: Conditions, bank: ProjectedBank, plan: StepPlan) -> None:
        self._model, self._conditions, self._bank, self._plan = model, conditions, bank, plan

    def __call__(self, latents_BcKhw: Tensor, time: Tensor, residuals: Residuals, cached: dict[str, Tensor]) -> Tensor:
        """Return the prediction `[B, c, K, h, w]` on the host, float32.

        cached: what this window has from earlier steps, and keeps for later ones, by name.
        """
        model, plan, prompts = self._model, self._plan, self._conditions.prompts
        guided = plan.guidance > 1
        work = WindowWork(
            layers=plan.layers, shallow=plan.shallow, keep_features=plan.keep_features,
            unconditional=guided and plan.new_difference, temporal=plan.temporal, coordinates=model.config.coordinates,
        )  # fmt: skip
        inputs = WindowInputs(
            latents_BcKhw, time, self._conditions.ref_latents_Bchw if model.config.reference_input else None,
            prompts.denoiser, None if prompts.equal else prompts.negative, residuals,
        )  # fmt: skip
        halves = ("conditional", "unconditional") if work.unconditional else ("conditional",)
        known = {name: to_model(cached[name], model) for name in halves} if plan.shallow else {}
        conditional, difference, deep = model.compute(window_halves, model.denoiser, inputs, self._bank, known, work)
        if plan.keep_features:
            cached.pop("unconditional", None)  # an older step's, if this one has none
            cached |= {name: x if plan.on_device else x.cpu() for name, x in deep.items()}
        if not guided:
            return conditional.cpu()
        if difference is None:
            difference = cached["difference"].to(model.device)
        elif plan.keep_difference:
            cached["difference"] = difference.cpu()
        return (conditional + (plan.guidance - 1) * difference).cpu()


class WindowWork(NamedTuple):
    """Work on a window; see `StepPlan`. unconditional: that half, too."""

    layers: int
    shallow: bool
    keep_features: bool
    unconditional: bool
    temporal: bool
    coordinates: int


class WindowInputs(NamedTuple):
    """Inputs of a window. reference: for models that have it at their stem. negative: the unconditional half's prompt,
    if it says something else."""

    latents_BcKhw: Tensor
    time: Tensor
    reference_Bchw: Tensor | None
    text: ProjectedText
    negative: ProjectedText | None
    residuals: Residuals


def window_halves(
    network: Denoiser, inputs: WindowInputs, bank: ProjectedBank, known: dict[str, Tensor], work: WindowWork
) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """Compute the conditional half `[B, c, K, h, w]` float32, its difference to the other, and deep features to keep.

    It only depends on its arguments, so it can be recorded. known: deep features by half, in a shallow call.
    """
    deep: dict[str, Tensor] = {}

    def trunk(text: ProjectedText, reference_Bchw: Tensor | None) -> Trunk:
        sample = stem_input(network, inputs.latents_BcKhw, work.temporal, work.coordinates, reference_Bchw)
        shallow = work.layers if work.shallow else None
        return network.trunk(sample, inputs.time, text, inputs.residuals, work.temporal, shallow)

    def half(name: str, start: Trunk, text: ProjectedText, bank: ProjectedBank | None) -> Tensor:
        features = known[name] if work.shallow else network.branch(start, text, bank, work.layers)
        if work.keep_features:
            deep[name] = features
        return network.head(start, features, text, bank, work.layers).float()

    text, reference = inputs.text, inputs.reference_Bchw
    start = trunk(text, reference)
    conditional = half("conditional", start, text, bank)
    if not work.unconditional:
        return conditional, None, deep
    if reference is not None or inputs.negative is not None:
        start = trunk(inputs.negative or text, None if reference is None else torch.zeros_like(reference))
    return conditional, conditional - half("unconditional", start, inputs.negative or text, None), deep
