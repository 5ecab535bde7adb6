"""The plain twin of the engine: everything is computed as often as the original computes it, one thing after the other.

The same networks and the same result as `sampling.loop.sample`, for tests and for measurements. What it does
again and again, and the engine does not: both halves of guidance from the stem on, in one batch; attention to the
reference for the unconditional half, which is then overwritten; the unconditional half of the appearance encoder;
keys and values of the reference and of the prompt for every frame, half, window and step; the condition embedding in
every step; ControlNet in windows of its own, kept for the whole clip.

Legend: B samples (here 1), F frames of the video, K frames of a window, c latent channels, h w latent size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers.models.attention_processor import Attention
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from magicanimate.models.model import Model
from magicanimate.networks.appearance import reference_bank
from magicanimate.networks.attention import ReferenceBank, attend, install_attention, output_projection, project
from magicanimate.networks.control import Residuals, control_residuals
from magicanimate.networks.denoiser import stem_input
from magicanimate.sampling.settings import SampleSettings
from magicanimate.sampling.solvers import build_solver, set_steps
from magicanimate.sampling.windows import plan_windows


class PlainAttention:
    """Attention as the original computes it: sources repeated for every row, the reference for both halves."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        bank: ReferenceBank | None = None,
        record: ReferenceBank | None = None,
        unconditional_rows: int = 0,
    ) -> Tensor:
        """`[N, T, D] -> [N, T, D]`; the first `unconditional_rows` end up without the reference."""
        if record is not None and encoder_hidden_states is None:
            record[self.path] = hidden_states
        rows = hidden_states.shape[0]
        if encoder_hidden_states is not None:
            return mix(attn, hidden_states, repeated(encoder_hidden_states, rows))
        if bank is None or self.path not in bank:
            return mix(attn, hidden_states, hidden_states)
        both = torch.cat([hidden_states, repeated(bank[self.path], rows)], dim=1)
        mixed = mix(attn, hidden_states, both)
        without = hidden_states[:unconditional_rows]
        mixed[:unconditional_rows] = mix(attn, without, without)
        return mixed


def mix(attn: Attention, hidden_NTD: Tensor, source_NSD: Tensor) -> Tensor:
    """Attention of every row to its own source."""
    query = rearrange(attn.to_q(hidden_NTD), "n t (g d) -> n g t d", g=attn.heads)
    return output_projection(attn, attend(query, *project(attn, source_NSD)))


def repeated(source_BTD: Tensor, rows: int) -> Tensor:
    """A copy for every row."""
    return source_BTD.repeat_interleave(rows // source_BTD.shape[0], dim=0)


@contextmanager
def plain_attention(model: Model) -> Iterator[None]:
    """The networks with the attention above."""
    networks: list[nn.Module] = [model.denoiser, model.appearance, model.control]
    try:
        for network in networks:
            for path, module in network.named_modules():
                if isinstance(module, Attention):
                    module.set_processor(PlainAttention(path))
        yield
    finally:
        for network in networks:
            install_attention(network)


@contextmanager
def original_attention() -> Iterator[None]:
    """Use the original's attention kernel on GPUs: FlashAttention 2, which xformers 0.0.22 takes for 16-bit heads of up
    to 256; torch itself would take cuDNN's on newer ones."""
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield


@torch.no_grad()
def plain_sample(
    model: Model,
    ref_latents_1chw: Tensor,
    planes_FPhw: Tensor,
    noise_1cFhw: Tensor,
    settings: SampleSettings,
    text: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Latents `[1, c, F, h, w]`; arguments as for `magicanimate.sampling.loop.sample`, but on the networks' device."""
    scheduler = build_solver(model.config.scheduler, settings.solver)
    set_steps(scheduler, settings.steps)
    negative_positive = torch.stack(text or (model.empty_prompt, model.empty_prompt)).to(noise_1cFhw)
    latents = noise_1cFhw * scheduler.init_noise_sigma
    times = scheduler.timesteps.to(latents.device)  # at once, so that no network waits for them on a GPU
    with plain_attention(model):
        for time, time_there in zip(scheduler.timesteps, times, strict=True):
            scaled = scheduler.scale_model_input(latents, time)
            prediction = plain_prediction(
                model, ref_latents_1chw, planes_FPhw, scaled, time_there, negative_positive, settings
            )
            latents = scheduler.step(prediction, time, latents, return_dict=False)[0]
    return latents


def plain_prediction(
    model: Model,
    ref_latents_1chw: Tensor,
    planes_FPhw: Tensor,
    latents_1cFhw: Tensor,
    time: Tensor,
    text_2TD: Tensor,
    settings: SampleSettings,
) -> Tensor:
    """One step's guided prediction `[1, c, F, h, w]`: both halves are averaged over windows, then combined."""
    coordinates, frames = model.config.coordinates, latents_1cFhw.shape[2]
    ref_2chw = repeat(ref_latents_1chw, "1 c h w -> 2 c h w")
    encoded = reference_bank(model.appearance, ref_2chw, time, text_2TD, coordinates)
    bank = {path: entry[1:] for path, entry in encoded.items()}

    kept: dict[int, tuple[Tensor, ...]] = {}
    for window in plan_windows(frames, settings.window, 0, wrap=True):
        index = list(window)
        rows_Kchw = rearrange(latents_1cFhw[:, :, index], "1 c k h w -> k c h w")
        residuals = control_residuals(
            model.control, rows_Kchw, planes_FPhw[index], time, text_2TD[1:], settings.control_scale, coordinates
        )
        for k, frame in enumerate(window):
            kept[frame] = tuple(level[k] for level in (*residuals.down, residuals.mid) if level is not None)

    halves_2cFhw = latents_1cFhw.new_zeros(2, *latents_1cFhw.shape[1:])
    count_F = latents_1cFhw.new_zeros(frames)
    for window in plan_windows(frames, settings.window, settings.overlap, settings.wrap):
        index = list(window)
        *down, mid = (torch.stack(level).repeat(2, 1, 1, 1) for level in zip(*(kept[f] for f in window), strict=True))
        halves_2cFhw[:, :, index] += plain_window(
            model, latents_1cFhw[:, :, index], time, text_2TD, bank, Residuals(tuple(down), mid), ref_latents_1chw,
            settings.temporal,
        )  # fmt: skip
        count_F[index] += 1
    unconditional, conditional = (halves_2cFhw / count_F[:, None, None]).split(1)
    return unconditional + settings.guidance * (conditional - unconditional)


def plain_window(
    model: Model,
    latents_1cKhw: Tensor,
    time: Tensor,
    text_2TD: Tensor,
    bank: ReferenceBank,
    residuals: Residuals,
    ref_latents_1chw: Tensor,
    temporal: bool,
) -> Tensor:
    """Both halves of one window in one batch, `[2, c, K, h, w]`, unconditional first."""
    network, frames = model.denoiser, latents_1cKhw.shape[2]
    reference = torch.cat([ref_latents_1chw * 0, ref_latents_1chw]) if model.config.reference_input else None
    sample_2cKhw = stem_input(
        network, repeat(latents_1cKhw, "1 c k h w -> 2 c k h w"), temporal, model.config.coordinates, reference
    )
    network.window.frames, network.window.temporal = frames, temporal
    return super(type(network), network).forward(
        sample_2cKhw,
        time,
        text_2TD,
        cross_attention_kwargs={"bank": bank, "unconditional_rows": frames},
        down_block_additional_residuals=residuals.down,
        mid_block_additional_residual=residuals.mid,
        return_dict=False,
    )[0]
