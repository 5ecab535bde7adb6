"""The loop over t: reference bank, windows of ControlNet and denoiser, guidance, fusion, solver step.

Legend: B samples, F frames of the video, K frames of a window, c latent channels, h w latent size, P control planes.
Latents of the whole video rest on the host in float32; only windows travel to the networks' device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from magicanimate.engine.device import Ranks, begin_window
from magicanimate.errors import InputError
from magicanimate.networks.control import ConditionFeatures, Residuals, control_residuals
from magicanimate.progress import Progress
from magicanimate.sampling.checkpoint import Checkpoint
from magicanimate.sampling.control_features import ControlSource, FrameFeatures, together
from magicanimate.sampling.reference_bank import bank_times, step_bank
from magicanimate.sampling.reuse import EXACT, Kept, Policies, StepPlan, check_policies, plan_step, starts_anew
from magicanimate.sampling.video_solver import VideoSolver, host_tensor
from magicanimate.sampling.window import Conditions, Prompts, predict_window, to_model
from magicanimate.sampling.windows import (
    Fusion,
    Window,
    frame_groups,
    frames_needed_later,
    fusion_weights,
    plan_windows,
)

if TYPE_CHECKING:
    from magicanimate.models.model import Model

ALONE = Ranks()
KEPT_BYTES = 2**29
"""What a GPU may keep for later steps; more than that rests on the host."""


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How to sample. The defaults that depend on the model come from `for_model`.

    steps: solver steps. guidance: classifier-free guidance on the reference; up to 1 only the conditional half is
    computed. window, overlap, wrap, fusion: see `plan_windows` and `fusion_weights`; the original wraps and takes
    the mean. solver: see solvers.py. eta: DDIM's noise. control_scale: factor of ControlNet's residuals.
    temporal: False skips the motion modules. seed: of the noise that stochastic solvers add. policies: approximations,
    by default none.
    """

    steps: int = 25
    guidance: float = 7.5
    solver: str = "ddim"
    window: int = 16
    overlap: int = 4
    wrap: bool = False
    fusion: Fusion = "mean"
    control_scale: float = 1.0
    temporal: bool = True
    eta: float = 0.0
    seed: int = 0
    policies: Policies = EXACT

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"The number of steps must be at least 1, got {self.steps}.")
        if self.guidance < 0:
            raise InputError(f"The guidance scale must not be negative, got {self.guidance}.")

    @classmethod
    def for_model(cls, model: Model, **overrides: Any) -> SampleSettings:
        """The model's recommended settings, with `overrides`."""
        config = model.config
        recommended = {
            "steps": config.steps, "guidance": config.guidance, "window": config.window, "overlap": config.overlap
        }  # fmt: skip
        return cls(**{**recommended, **overrides})


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
    progress: Progress | None = None,
    text: tuple[Tensor, Tensor] | None = None,
    ranks: Ranks = ALONE,
    checkpoint: Checkpoint | None = None,
) -> Tensor:
    """Denoise a whole video: latents `[B, c, F, h, w]` float32 on the CPU.

    ref_latents: clean, from `encode_images`. control: planes from `encode_control`, `[F, P, H', W']` or, with a batch
    of videos, `[B, F, P, H', W']`, or a source that makes them when they are needed. noise: standard normal, from
    `initial_noise`. text: embeddings (negative, positive), each `[T, D]` or `[B, T, D]`; default: the model's empty
    prompt for both. ranks: the processes that share the windows. checkpoint: where finished steps are kept,
    given in the first process only.
    Results do not depend on how the work is divided into batches or among processes, nor on interruptions.
    Raises InputError for shapes that do not match, and for more processes than windows.
    """
    latents = noise_BcFhw
    for step in sample_steps(
        model, ref_latents_Bchw, control, noise_BcFhw, settings, progress, text, ranks, checkpoint
    ):
        latents = step.latents_BcFhw
    return latents


@torch.no_grad()
def sample_steps(
    model: Model,
    ref_latents_Bchw: Tensor,
    control: Tensor | ControlSource,
    noise_BcFhw: Tensor,
    settings: SampleSettings,
    progress: Progress | None = None,
    text: tuple[Tensor, Tensor] | None = None,
    ranks: Ranks = ALONE,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Step]:
    """As `sample`, step by step; with a checkpoint that holds one, the first step is the last finished one."""
    source = ControlSource.of(control)
    check_shapes(model, ref_latents_Bchw, source, noise_BcFhw)
    check_policies(settings.policies, model)
    windows = plan_windows(noise_BcFhw.shape[2], settings.window, settings.overlap, settings.wrap)
    check_ranks(ranks, len(windows))
    solver = VideoSolver(
        model.config.scheduler, settings.solver, settings.steps, source.frames, eta=settings.eta, seed=settings.seed
    )
    report = Counter("denoise", len(solver.timesteps) * len(windows), progress)
    held = ranks.of_first(checkpoint.load() if checkpoint else None)
    if model.graphs is not None:
        model.graphs.begin((noise_BcFhw.shape[0], *noise_BcFhw.shape[3:]))
    group_of = frame_groups(windows)
    groups = dict.fromkeys(group_of[frame] for index in ranks.share(len(windows)) for frame in windows[index])
    conditions = prepare(model, ref_latents_Bchw, source, list(groups), text, progress)

    if held is None:
        finished, latents = 0, noise_BcFhw.to("cpu", torch.float32) * solver.first_sigma
    else:
        finished, latents = held["finished"], held["latents"]
        solver.restore(held["solver"])
        report.add(finished * len(windows))
        yield Step(finished - 1, solver.timesteps[finished - 1], None, latents)
    kept, steps = Kept(times=bank_times(settings.policies, solver.timesteps)), len(solver.timesteps)
    stays = stays_on_device(model, noise_BcFhw, windows)
    for number, timestep in enumerate(solver.timesteps[finished:], finished):
        scaled = solver.scaled(latents, timestep)
        plan = plan_step(settings.policies, number, steps, settings.guidance, kept)._replace(on_device=stays)
        if model.graphs is not None:
            model.graphs.expected = (steps - number) * len(ranks.share(len(windows)))
        prediction = predict_video(model, scaled, timestep, conditions, windows, settings, plan, kept, report, ranks)
        latents = solver.step(prediction, timestep, latents)
        resumable = starts_anew(settings.policies, number + 1, steps, settings.guidance, kept)
        if checkpoint and resumable:
            checkpoint.save({"finished": number + 1, "latents": latents, "solver": solver.state()})
        yield Step(number, timestep, prediction, latents)


def prepare(
    model: Model,
    ref_latents_Bchw: Tensor,
    control: ControlSource,
    groups: list[tuple[int, ...]],
    text: tuple[Tensor, Tensor] | None,
    progress: Progress | None,
) -> Conditions:
    """Everything that is the same in all steps; the condition embedding in the groups of frames it is asked for."""
    report = Counter("control", sum(len(frames) for frames in groups), progress)
    features = FrameFeatures(model, control)
    for frames in groups:
        features.hold(list(frames))
        report.add(len(frames))
    prompts = Prompts.of(model, *(text or (model.empty_prompt, model.empty_prompt)))
    return Conditions(to_model(ref_latents_Bchw, model), features, prompts)


def predict_video(
    model: Model,
    latents_BcFhw: Tensor,
    timestep: Tensor,
    conditions: Conditions,
    windows: list[Window],
    settings: SampleSettings,
    plan: StepPlan,
    kept: Kept,
    report: Counter,
    ranks: Ranks = ALONE,
) -> Tensor:
    """The fused, guided prediction `[B, c, F, h, w]` for all frames at one timestep.

    Every process computes its run of windows; all add up all of them, in the windows' order.
    """
    own = ranks.share(len(windows))
    predictions = predict_windows(model, latents_BcFhw, timestep, conditions, windows, own, settings, plan, kept)
    counted = (report.counted(prediction) for prediction in predictions)
    fused = host_tensor(latents_BcFhw.shape).zero_()
    weights = fusion_weights(windows, settings.fusion)
    for index, prediction in enumerate(ranks.in_order(counted, len(windows))):
        fused[:, :, list(windows[index])] += prediction * torch.tensor(weights[index])[:, None, None]
        if index not in own:
            report.add(1)
    return fused


def predict_windows(
    model: Model,
    latents_BcFhw: Tensor,
    timestep: Tensor,
    conditions: Conditions,
    windows: list[Window],
    own: range,
    settings: SampleSettings,
    plan: StepPlan,
    kept: Kept,
) -> Iterator[Tensor]:
    """Guided predictions `[B, c, K, h, w]` of a run of windows.

    The bank is encoded and projected once, and each frame's residuals are computed once: those that a later window
    needs again are kept until then. Frames go through ControlNet in the same groups whichever run they are in, so
    that their residuals do not differ in the last bit.
    """
    time = timestep.to(model.device)
    bank = step_bank(model, conditions, timestep, plan, kept)
    held = HeldResiduals({})
    group_of, needed = frame_groups(windows), frames_needed_later(windows)
    for index in own:
        window = windows[index]
        begin_window(model.device)
        for group in dict.fromkeys(group_of[frame] for frame in window if frame not in held.frames):
            frames = list(group)
            levels = control_frames(model, latents_BcFhw, conditions, time, frames, settings.control_scale, plan)
            held = held.add(frames, levels)
        latents = to_model(latents_BcFhw[:, :, list(window)], model)
        residuals = held.window(window, plan.shallow)
        held = held.keep(needed[index])
        yield predict_window(
            model, latents, time, conditions, bank, residuals, plan, kept.windows.setdefault(window, {}),
            settings.temporal,
        )  # fmt: skip


def stays_on_device(model: Model, latents_BcFhw: Tensor, windows: list[Window]) -> bool:
    """Whether features that are kept for later steps have room on a GPU: nearly all of them are the denoiser's widest
    maps, for both halves and every window."""
    batch, _, _, height, width = latents_BcFhw.shape
    elements = batch * sum(map(len, windows)) * height * width * model.denoiser.config["block_out_channels"][0]
    return model.device.type == "cuda" and 2 * elements * model.dtype.itemsize <= KEPT_BYTES


def control_frames(
    model: Model,
    latents_BcFhw: Tensor,
    conditions: Conditions,
    time: Tensor,
    frames: list[int],
    scale: float,
    plan: StepPlan,
) -> tuple[Tensor, ...]:
    """ControlNet's residuals for some frames, `[B, frames, ...]` each: skips, then the middle unless shallow."""
    # Compiled networks are compiled again for every number of rows, so that there should be few of them
    missing = -len(frames) % model.control_bucket
    rows = frames + frames[-1:] * missing
    residuals = model.compute(
        control_residuals,
        model.control,
        to_model(rearrange(latents_BcFhw[:, :, rows], "b c f h w -> (b f) c h w"), model),
        ConditionFeatures(conditions.features(rows)),
        time,
        conditions.prompts.control,
        scale,
        model.config.coordinates,
        plan.layers if plan.shallow else None,
    )
    levels = residuals.down if residuals.mid is None else (*residuals.down, residuals.mid)
    return tuple(level.unflatten(0, (latents_BcFhw.shape[0], len(rows))) for level in levels)


@dataclass(frozen=True)
class HeldResiduals:
    """Residuals of some frames of the video. frames: frame -> levels, each `[B, D, h, w]`; see `control_frames`."""

    frames: dict[int, tuple[Tensor, ...]]

    def add(self, frames: list[int], levels: tuple[Tensor, ...]) -> HeldResiduals:
        """With those of further frames, `[B, frames, D, h, w]`."""
        return HeldResiduals(self.frames | {frame: tuple(x[:, i] for x in levels) for i, frame in enumerate(frames)})

    def keep(self, needed: frozenset[int]) -> HeldResiduals:
        """Only those of `needed` frames; copied, so that the tensors of the others can be freed."""
        return HeldResiduals(
            {frame: tuple(x.clone() for x in every) for frame, every in self.frames.items() if frame in needed}
        )

    def window(self, window: Window, shallow: bool) -> Residuals:
        """Residuals of one window with B*K rows, sample first. shallow: they are those of skips only."""
        per_level = zip(*(self.frames[frame] for frame in window), strict=True)
        levels = tuple(together(level) for level in per_level)
        return Residuals(levels, None) if shallow else Residuals(levels[:-1], levels[-1])


class Counter:
    """Counts finished work of one stage and reports it."""

    def __init__(self, stage: str, total: int, progress: Progress | None) -> None:
        self.stage, self.total, self.progress, self.done = stage, total, progress, 0

    def add(self, amount: int) -> None:
        self.done += amount
        if self.progress is not None:
            self.progress(self.stage, self.done, self.total)

    def counted(self, result: Tensor) -> Tensor:
        """The result of one piece of work, which is thereby finished."""
        self.add(1)
        return result


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


def check_ranks(ranks: Ranks, windows: int) -> None:
    """Raise InputError if a process would have no window to compute."""
    if ranks.size > windows:
        raise InputError(
            f"{ranks.size} processes cannot share {windows} window{'s' * (windows > 1)}; start at most {windows}, or "
            "make the windows smaller (--window)."
        )
