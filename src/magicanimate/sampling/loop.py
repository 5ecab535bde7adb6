"""The sampling loop: denoise the whole video at one timestep after the other, and let the solver step.

Legend: B samples, F frames of the video, c latent channels, h w latent size, P control planes.
Latents of the whole video rest on the host in float32; only windows travel to the networks' device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from magicanimate.sampling.control_features import ControlSource
from magicanimate.sampling.inputs import check_shapes
from magicanimate.sampling.settings import Run, SampleSettings
from magicanimate.sampling.video import VideoDenoiser
from magicanimate.sampling.video_solver import VideoSolver

if TYPE_CHECKING:
    from magicanimate.models.model import Model


class Step(NamedTuple):
    """One finished solver step: its number, timestep, fused and guided prediction, and the new latents.

    A step that was finished before an interruption has no prediction any more.
    """

    number: int
    timestep: Tensor
    prediction_BcFhw: Tensor | None
    latents_BcFhw: Tensor


def sample(
    model: Model,
    ref_latents_Bchw: Tensor,
    control: Tensor | ControlSource,
    noise_BcFhw: Tensor,
    settings: SampleSettings,
    run: Run | None = None,
) -> Tensor:
    """Denoise a whole video: latents `[B, c, F, h, w]` float32 on the CPU.

    Args:
        model: the networks.
        ref_latents_Bchw: clean, from `encode_images`.
        control: planes `[F, P, H', W']` or, with a batch of videos, `[B, F, P, H', W']`, or a source that makes them
            when they are needed.
        noise_BcFhw: standard normal, from `initial_noise`.
        settings: how to sample.
        run: prompts, progress, processes and checkpoint; see there.

    Results do not depend on how the work is divided into batches or among processes, nor on interruptions.

    Raises:
        InputError: shapes that do not match, or more processes than windows.
    """
    latents = noise_BcFhw
    for step in sample_steps(model, ref_latents_Bchw, control, noise_BcFhw, settings, run):
        latents = step.latents_BcFhw
    return latents


@torch.no_grad()
def sample_steps(
    model: Model,
    ref_latents_Bchw: Tensor,
    control: Tensor | ControlSource,
    noise_BcFhw: Tensor,
    settings: SampleSettings,
    run: Run | None = None,
) -> Iterator[Step]:
    """Sample step by step; with a checkpoint that holds one, the first step is the last finished one."""
    run, source = run or Run(), ControlSource.of(control)
    check_shapes(model, ref_latents_Bchw, source, noise_BcFhw)
    solver = VideoSolver(
        model.config.scheduler, settings.solver, settings.steps, source.frames, eta=settings.eta, seed=settings.seed
    )
    denoise = VideoDenoiser(model, settings, solver.timesteps, source.frames, run)
    saved = run.ranks.broadcast(run.checkpoint.load() if run.checkpoint else None)
    denoise.prepare(ref_latents_Bchw, source, noise_BcFhw.shape)
    first, latents = 0, noise_BcFhw.to("cpu", torch.float32) * solver.first_sigma
    if saved is not None:
        first, latents = saved["finished"], saved["latents"]
        solver.restore(saved["solver"])
        denoise.skip(first)
        yield Step(first - 1, solver.timesteps[first - 1], None, latents)

    for step, t in enumerate(solver.timesteps[first:], first):
        prediction = denoise(solver.scaled(latents, t), t, step)
        latents = solver.step(prediction, t, latents)
        if run.on_step:
            latents = run.on_step(step, t, latents)
        if run.checkpoint and denoise.starts_anew(step + 1):
            run.checkpoint.save({"finished": step + 1, "latents": latents, "solver": solver.state()})
        yield Step(step, t, prediction, latents)
