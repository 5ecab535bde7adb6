"""One window's guided prediction: the conditional and the unconditional half, and their combination.

Legend: B samples, K frames of a window, F frames of the video, c latent channels, h w latent size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from magicanimate.attention import ProjectedBank
from magicanimate.conditions import FrameFeatures
from magicanimate.control import Residuals
from magicanimate.denoiser import predict

if TYPE_CHECKING:
    from magicanimate.models import Model


class Conditions(NamedTuple):
    """All that the prediction depends on beside latents and timestep.

    features: ControlNet's condition embedding by frame. text: [1 or B, T, D] each, on the device;
    `negative` is read in the unconditional half only.
    """

    ref_latents_Bchw: Tensor
    features: FrameFeatures
    positive: Tensor
    negative: Tensor


def predict_window(
    model: Model,
    latents_BcKhw: Tensor,
    time: Tensor,
    conditions: Conditions,
    bank: ProjectedBank,
    residuals: Residuals,
    *,
    guidance: float,
    temporal: bool = True,
) -> Tensor:
    """One window's prediction on the host, float32. The unconditional half has no reference, so never computes it."""
    reference = conditions.ref_latents_Bchw if model.config.reference_input else None

    def half(text_BTD: Tensor, bank: ProjectedBank | None, reference_Bchw: Tensor | None) -> Tensor:
        prediction = predict(
            model.denoiser, latents_BcKhw, time, text_BTD, bank, residuals,
            temporal=temporal, coordinates=model.config.coordinates, reference_Bchw=reference_Bchw,
        )  # fmt: skip
        return prediction.to("cpu", torch.float32)

    conditional = half(conditions.positive, bank, reference)
    if guidance <= 1:
        return conditional
    unconditional = half(conditions.negative, None, None if reference is None else torch.zeros_like(reference))
    return unconditional + guidance * (conditional - unconditional)


def to_model(x: Tensor, model: Model) -> Tensor:
    """On the networks' device, in their number format."""
    return x.to(model.device, model.dtype)
