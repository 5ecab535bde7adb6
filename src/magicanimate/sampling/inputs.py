"""Inputs that all steps of a run share: the reference, the prompts, and ControlNet's condition features.

Legend: B samples, F frames of the video, c latent channels, h w latent size, T tokens, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from magicanimate.engine.device import to_model
from magicanimate.errors import InputError
from magicanimate.networks.attention import ProjectedText, project_text
from magicanimate.progress import Counter
from magicanimate.sampling.control_features import ControlSource, FrameFeatures
from magicanimate.sampling.settings import Run

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
        """Make prompts of embeddings `[T, D]` or `[B, T, D]`."""
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


def prepare(
    model: Model, ref_latents_Bchw: Tensor, control: ControlSource, groups: list[tuple[int, ...]], run: Run
) -> Conditions:
    """Compute what is the same in all steps; the condition embedding in the groups of frames it is asked for."""
    report = Counter("control", sum(len(frames) for frames in groups), run.progress)
    features = FrameFeatures(model, control)
    for frames in groups:
        features.hold(list(frames))
        report.add(len(frames))
    prompts = Prompts.of(model, *(run.text or (model.empty_prompt, model.empty_prompt)))
    return Conditions(to_model(ref_latents_Bchw, model), features, prompts)


def check_shapes(model: Model, ref_latents_Bchw: Tensor, control: ControlSource, noise_BcFhw: Tensor) -> None:
    """Raise InputError unless reference, control and noise agree with each other and with the model."""
    batch, channels, frames, height, width = noise_BcFhw.shape
    if channels != model.latent_channels:
        raise InputError(f"The noise has {channels} channels, but this model's latents have {model.latent_channels}.")
    if tuple(ref_latents_Bchw.shape) != (batch, channels, height, width):
        raise InputError(
            f"Reference latents {tuple(ref_latents_Bchw.shape)} do not fit noise {tuple(noise_BcFhw.shape)}."
        )
    if (control.batch, control.frames) != (batch, frames):
        raise InputError(f"There are {control.frames} control frames for {frames} frames of noise.")
