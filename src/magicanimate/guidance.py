"""One window's guided prediction: the conditional and the unconditional half, and their combination.

Legend: B samples, K frames of a window, F frames of the video, c latent channels, h w latent size, T tokens, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from magicanimate.attention import ProjectedBank, ProjectedText, project_text
from magicanimate.conditions import FrameFeatures
from magicanimate.control import Residuals
from magicanimate.denoiser import Trunk, stem_input
from magicanimate.policies import StepPlan
from magicanimate.runtime import to_device

if TYPE_CHECKING:
    from magicanimate.models import Model


class Prompts(NamedTuple):
    """The prompts as keys and values of each network, the same in all steps.

    negative: the denoiser's in the unconditional half. equal: it says the same as the other one, so that both halves
    share their trunk.
    """

    denoiser: ProjectedText
    negative: ProjectedText
    control: ProjectedText
    appearance: ProjectedText
    equal: bool

    @classmethod
    def of(cls, model: Model, negative: Tensor, positive: Tensor) -> Prompts:
        """From embeddings `[T, D]` or `[B, T, D]`."""
        equal = negative is positive or torch.equal(negative, positive)
        positive_BTD, negative_BTD = (to_model(t if t.ndim == 3 else t[None], model) for t in (positive, negative))
        denoiser = project_text(model.denoiser, positive_BTD)
        return cls(
            denoiser,
            denoiser if equal else project_text(model.denoiser, negative_BTD),
            project_text(model.control, positive_BTD),
            project_text(model.appearance, positive_BTD),
            equal,
        )


class Conditions(NamedTuple):
    """All that the prediction depends on beside latents and timestep. features: ControlNet's condition embedding."""

    ref_latents_Bchw: Tensor
    features: FrameFeatures
    prompts: Prompts


def predict_window(
    model: Model,
    latents_BcKhw: Tensor,
    time: Tensor,
    conditions: Conditions,
    bank: ProjectedBank,
    residuals: Residuals,
    plan: StepPlan,
    kept: dict[str, Tensor],
    temporal: bool = True,
) -> Tensor:
    """One window's prediction on the host, float32.

    The unconditional half has no reference, so it never computes attention to it. With equal prompts both halves are
    the same up to their first read of the reference, so that part is computed once; not for models that have the
    reference at their stem. kept: what this window has from earlier steps, and keeps for later ones, by name.
    """
    network, prompts = model.denoiser, conditions.prompts
    reference = conditions.ref_latents_Bchw if model.config.reference_input else None

    def trunk(text: ProjectedText, reference_Bchw: Tensor | None) -> Trunk:
        sample = stem_input(network, latents_BcKhw, temporal, model.config.coordinates, reference_Bchw)
        return network.trunk(sample, time, text, residuals, temporal, plan.layers if plan.shallow else None)

    def half(name: str, start: Trunk, text: ProjectedText, bank: ProjectedBank | None) -> Tensor:
        deep = to_model(kept[name], model) if plan.shallow else network.branch(start, text, bank, plan.layers)
        if plan.keep_features:
            kept[name] = deep if plan.on_device else deep.cpu()
        return network.head(start, deep, text, bank, plan.layers).float()

    if plan.keep_features:
        kept.pop("unconditional", None)  # an older step's, if this one has none
    start = trunk(prompts.denoiser, reference)
    conditional = half("conditional", start, prompts.denoiser, bank)
    if plan.guidance <= 1:
        return conditional.cpu()
    if plan.new_difference:
        if reference is not None or not prompts.equal:
            start = trunk(prompts.negative, None if reference is None else torch.zeros_like(reference))
        difference = conditional - half("unconditional", start, prompts.negative, None)
        if plan.keep_difference:
            kept["difference"] = difference.cpu()
    else:
        difference = kept["difference"].to(model.device)
    return (conditional + (plan.guidance - 1) * difference).cpu()


def to_model(x: Tensor, model: Model) -> Tensor:
    """On the networks' device, in their number format."""
    return to_device(x, model.device, model.dtype)
