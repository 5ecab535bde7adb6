"""The networks' prediction as training calls it: the same functions as the sampler's, with gradients.

Legend: B samples, K frames of a sample, N = B*K, c latent channels, h w latent size, P control planes.
"""

import torch
from torch import Tensor

from magicanimate.models.model import Model
from magicanimate.networks.appearance import reference_bank
from magicanimate.networks.attention import ReferenceBank
from magicanimate.networks.control import Residuals, control_residuals
from magicanimate.networks.denoiser import predict


def predict_noisy(
    model: Model,
    noisy_BcKhw: Tensor,
    t_B: Tensor,
    reference_Bchw: Tensor,
    planes_NPhw: Tensor,
    temporal: bool,
    dropped_B: Tensor | None = None,
) -> Tensor:
    """Predict `[B, c, K, h, w]` with the reference, but without it for samples that are `dropped`.

    Samples of both kinds are two calls of the denoiser: nothing of the one can leak into the other. `dropped` best
    rests on the host: which samples are which then need not be asked of a GPU.
    """
    residuals = _residuals(model, noisy_BcKhw, t_B, planes_NPhw)
    if dropped_B is None or not dropped_B.any():
        return _denoise(model, noisy_BcKhw, t_B, reference_Bchw, residuals, temporal)
    rows = torch.arange(len(noisy_BcKhw), device=dropped_B.device)
    kept, without = rows[~dropped_B], rows[dropped_B]
    parts = []
    for chosen, reference in ((kept, reference_Bchw[kept]), (without, None)):
        if len(chosen):
            some = _rows(residuals, chosen, len(rows))
            parts.append(_denoise(model, noisy_BcKhw[chosen], t_B[chosen], reference, some, temporal))
    return torch.cat(parts)[torch.cat([kept, without]).argsort()]


def predict_guided(
    model: Model,
    noisy_BcKhw: Tensor,
    t_B: Tensor,
    reference_Bchw: Tensor,
    planes_NPhw: Tensor,
    temporal: bool,
    guidance: float,
) -> Tensor:
    """Predict with classifier-free guidance on the reference, as in `sampling.window`; up to 1 in a single pass."""
    residuals = _residuals(model, noisy_BcKhw, t_B, planes_NPhw)
    conditional = _denoise(model, noisy_BcKhw, t_B, reference_Bchw, residuals, temporal)
    if guidance <= 1:
        return conditional
    difference = conditional - _denoise(model, noisy_BcKhw, t_B, None, residuals, temporal)
    return conditional + (guidance - 1) * difference


def _residuals(model: Model, noisy_BcKhw: Tensor, t_B: Tensor, planes_NPhw: Tensor) -> Residuals:
    rows = noisy_BcKhw.transpose(1, 2).flatten(0, 1)
    text = model.empty_prompt[None]
    return control_residuals(model.control, rows, planes_NPhw, t_B, text, coordinates=model.config.coordinates)


def _rows(residuals: Residuals, chosen: Tensor, samples: int) -> Residuals:
    """Select the residuals of some samples; rows are frames, a sample's own beside each other."""

    def of(level: Tensor) -> Tensor:
        return level.unflatten(0, (samples, -1))[chosen].flatten(0, 1)

    return Residuals(tuple(of(level) for level in residuals.down), None if residuals.mid is None else of(residuals.mid))


def _denoise(
    model: Model,
    noisy_BcKhw: Tensor,
    t_B: Tensor,
    reference_Bchw: Tensor | None,
    residuals: Residuals,
    temporal: bool,
) -> Tensor:
    """Call the denoiser once; no reference: neither in the bank nor at the stem."""
    text, coordinates = model.empty_prompt[None], model.config.coordinates
    bank: ReferenceBank | None = None
    if reference_Bchw is not None:
        bank = reference_bank(model.appearance, reference_Bchw, t_B, text, coordinates=coordinates)
    stem = None
    if model.config.reference_input:
        stem = torch.zeros_like(noisy_BcKhw[:, :, 0]) if reference_Bchw is None else reference_Bchw
    return predict(
        model.denoiser, noisy_BcKhw, t_B, text, bank, residuals, temporal, coordinates=coordinates, reference_Bchw=stem
    )
