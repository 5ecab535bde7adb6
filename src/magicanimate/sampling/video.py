"""The model applied to a whole video: windows of ControlNet and denoiser, fused to one prediction.

Legend: B samples, F frames of the video, K frames of a window, c latent channels, h w latent size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from magicanimate.engine.device import begin_window, to_model
from magicanimate.errors import InputError
from magicanimate.progress import Counter
from magicanimate.sampling.control_features import ControlSource
from magicanimate.sampling.inputs import Conditions, prepare
from magicanimate.sampling.reference_bank import bank_times, step_bank
from magicanimate.sampling.residuals import FrameResiduals
from magicanimate.sampling.reuse import StepCache, StepPlan, check_policies, plan_step, starts_anew
from magicanimate.sampling.settings import Run, SampleSettings
from magicanimate.sampling.video_solver import host_tensor
from magicanimate.sampling.window import WindowDenoiser
from magicanimate.sampling.windows import Window, frame_groups, fusion_weights, plan_windows

if TYPE_CHECKING:
    from magicanimate.engine.ranks import Ranks
    from magicanimate.models.model import Model

CACHE_BYTES = 2**29
"""Bytes that a GPU keeps for later steps; more rests on the host."""


class VideoDenoiser:
    """Predicts the noise of all frames at one timestep: `denoise(latents, t, step)`.

    Owns the windows, the cache of earlier steps, and the processes' shares. Every process computes its
    run of windows; all add up all of them, in the windows' order.

    settings, run: see there. timesteps: of all steps. frames: of the video. Raises InputError for policies that the
    model cannot follow, and for more processes than windows.
    """

    def __init__(self, model: Model, settings: SampleSettings, timesteps: Tensor, frames: int, run: Run) -> None:
        check_policies(settings.policies, model)
        self.windows = plan_windows(frames, settings.window, settings.overlap, settings.wrap)
        check_ranks(run.ranks, len(self.windows))
        self.model, self.settings, self.run, self.steps = model, settings, run, len(timesteps)
        self.own = run.ranks.shard(len(self.windows))
        self._weights = fusion_weights(self.windows, settings.fusion)
        self.cache = StepCache(times=bank_times(settings.policies, timesteps))
        self._report = Counter("denoise", self.steps * len(self.windows), run.progress)
        self._conditions: Conditions | None = None
        self._on_device = False

    def prepare(self, ref_latents_Bchw: Tensor, control: ControlSource, shape: torch.Size) -> None:
        """Compute what all steps have in common. shape: of the latents, (B, c, F, h, w)."""
        model = self.model
        model.compute.begin((shape[0], *shape[3:]))
        group_of = frame_groups(self.windows)
        groups = dict.fromkeys(group_of[frame] for index in self.own for frame in self.windows[index])
        self._conditions = prepare(model, ref_latents_Bchw, control, list(groups), self.run)
        self._on_device = stays_on_device(model, shape, self.windows)

    def __call__(self, latents_BcFhw: Tensor, timestep: Tensor, step: int) -> Tensor:
        """Return the fused, guided prediction `[B, c, F, h, w]` float32 on the CPU."""
        self.model.compute.expect((self.steps - step) * len(self.own))
        predictions = self._counted(self.predictions(latents_BcFhw, timestep, self.plan(step), self.own))
        fused = host_tensor(latents_BcFhw.shape).zero_()
        for index, prediction in enumerate(self.run.ranks.ordered_all_gather(predictions, len(self.windows))):
            fused[:, :, list(self.windows[index])] += prediction * torch.tensor(self._weights[index])[:, None, None]
            if index not in self.own:
                self._report.add(1)
        return fused

    def predictions(self, latents_BcFhw: Tensor, timestep: Tensor, plan: StepPlan, own: range) -> Iterator[Tensor]:
        """Yield guided predictions `[B, c, K, h, w]` of a run of windows.

        The bank is encoded and projected once, and each frame's residuals are computed once: those that a later
        window needs again are kept until then.
        """
        if self._conditions is None:
            raise ValueError("prepare() comes before the first step")
        model, conditions = self.model, self._conditions
        time = timestep.to(model.device)
        denoise = WindowDenoiser(model, conditions, step_bank(model, conditions, timestep, plan, self.cache), plan)
        residuals = FrameResiduals(model, conditions, self.windows, self.settings.control_scale, plan)
        for index in own:
            begin_window(model.device)
            added = residuals.window(latents_BcFhw, time, index)
            latents = to_model(latents_BcFhw[:, :, list(self.windows[index])], model)
            yield denoise(latents, time, added, self.cache.windows.setdefault(self.windows[index], {}))

    def plan(self, step: int) -> StepPlan:
        """Return what a step computes and what it reuses."""
        plan = plan_step(self.settings.policies, step, self.steps, self.settings.guidance, self.cache)
        return plan._replace(on_device=self._on_device, temporal=self.settings.temporal)

    def starts_anew(self, step: int) -> bool:
        """Return True if a step reuses nothing, so that a run can be interrupted before it without another result."""
        return starts_anew(self.settings.policies, step, self.steps, self.settings.guidance, self.cache)

    def skip(self, steps: int) -> None:
        """Report steps that were finished before an interruption."""
        self._report.add(steps * len(self.windows))

    def _counted(self, predictions: Iterator[Tensor]) -> Iterator[Tensor]:
        for prediction in predictions:
            self._report.add(1)
            yield prediction


def stays_on_device(model: Model, shape: torch.Size, windows: list[Window]) -> bool:
    """Return True if features for later steps have room on a GPU: nearly all of them are the denoiser's widest maps,
    for both halves and every window."""
    batch, _, _, height, width = shape
    elements = batch * sum(map(len, windows)) * height * width * model.denoiser.config["block_out_channels"][0]
    return model.device.type == "cuda" and 2 * elements * model.dtype.itemsize <= CACHE_BYTES


def check_ranks(ranks: Ranks, windows: int) -> None:
    """Raise InputError if a process would have no window to compute."""
    if ranks.size > windows:
        raise InputError(
            f"{ranks.size} processes cannot share {windows} window{'s' * (windows > 1)}; start at most {windows}, or "
            "make the windows smaller (--window)."
        )
