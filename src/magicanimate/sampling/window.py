"""One window's guided prediction: the conditional and the unconditional half, and their combination.

Legend: B samples, K frames of a window, F frames of the video, c latent channels, h w latent size, T tokens, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from magicanimate.engine.device import to_device
from magicanimate.networks.attention import ProjectedBank, ProjectedText, project_text
from magicanimate.networks.control import Residuals
from magicanimate.networks.denoiser import Denoiser, Trunk, stem_input
from magicanimate.sampling.control_features import FrameFeatures
from magicanimate.sampling.reuse import StepPlan

if TYPE_CHECKING:
    from magicanimate.models.model import Model


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
    prompts = conditions.prompts
    guided = plan.guidance > 1
    work = WindowWork(
        layers=plan.layers, shallow=plan.shallow, keep_features=plan.keep_features,
        unconditional=guided and plan.new_difference, temporal=temporal, coordinates=model.config.coordinates,
    )  # fmt: skip
    halves = ("conditional", "unconditional") if work.unconditional else ("conditional",)
    conditional, difference, deep = model.compute(
        window_halves, model.denoiser, latents_BcKhw, time,
        conditions.ref_latents_Bchw if model.config.reference_input else None,
        prompts.denoiser, None if prompts.equal else prompts.negative, bank, residuals,
        {name: to_model(kept[name], model) for name in halves} if plan.shallow else {}, work,
    )  # fmt: skip
    if plan.keep_features:
        kept.pop("unconditional", None)  # an older step's, if this one has none
        kept |= {name: x if plan.on_device else x.cpu() for name, x in deep.items()}
    if not guided:
        return conditional.cpu()
    if difference is None:
        difference = kept["difference"].to(model.device)
    elif plan.keep_difference:
        kept["difference"] = difference.cpu()
    return (conditional + (plan.guidance - 1) * difference).cpu()


class WindowWork(NamedTuple):
    """What is computed of a window; see `StepPlan`. unconditional: that half, too."""

    layers: int
    shallow: bool
    keep_features: bool
    unconditional: bool
    temporal: bool
    coordinates: int


def window_halves(
    network: Denoiser,
    latents_BcKhw: Tensor,
    time: Tensor,
    reference_Bchw: Tensor | None,
    text: ProjectedText,
    negative: ProjectedText | None,
    bank: ProjectedBank,
    residuals: Residuals,
    known: dict[str, Tensor],
    work: WindowWork,
) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """The conditional half `[B, c, K, h, w]` float32, its difference to the other one, and deep features to be kept.

    It only depends on its arguments, so it can be recorded. reference: for models that have it at their stem.
    negative: the other half's prompt, if it says something else. known: deep features by half, in a shallow call.
    """
    deep: dict[str, Tensor] = {}

    def trunk(text: ProjectedText, reference_Bchw: Tensor | None) -> Trunk:
        sample = stem_input(network, latents_BcKhw, work.temporal, work.coordinates, reference_Bchw)
        return network.trunk(sample, time, text, residuals, work.temporal, work.layers if work.shallow else None)

    def half(name: str, start: Trunk, text: ProjectedText, bank: ProjectedBank | None) -> Tensor:
        features = known[name] if work.shallow else network.branch(start, text, bank, work.layers)
        if work.keep_features:
            deep[name] = features
        return network.head(start, features, text, bank, work.layers).float()

    start = trunk(text, reference_Bchw)
    conditional = half("conditional", start, text, bank)
    if not work.unconditional:
        return conditional, None, deep
    if reference_Bchw is not None or negative is not None:
        start = trunk(negative or text, None if reference_Bchw is None else torch.zeros_like(reference_Bchw))
    return conditional, conditional - half("unconditional", start, negative or text, None), deep


def to_model(x: Tensor, model: Model) -> Tensor:
    """On the networks' device, in their number format."""
    return to_device(x, model.device, model.dtype)
