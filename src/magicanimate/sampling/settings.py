"""Settings of sampling, and the context of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from magicanimate.engine.ranks import Ranks
from magicanimate.errors import InputError
from magicanimate.progress import Progress
from magicanimate.sampling.reuse import EXACT, Policies
from magicanimate.sampling.windows import Fusion

if TYPE_CHECKING:
    from torch import Tensor

    from magicanimate.models.model import Model
    from magicanimate.sampling.checkpoint import Checkpoint

StepHook: TypeAlias = "Callable[[int, Tensor, Tensor], Tensor]"
"""Given step, timestep and latents [B, c, F, h, w]; returns the latents that the next step goes on with."""


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """Settings of sampling. The defaults that depend on the model come from `for_model`.

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
        """Return the model's recommended settings, with `overrides`."""
        config = model.config
        recommended = {
            "steps": config.steps, "guidance": config.guidance, "window": config.window, "overlap": config.overlap
        }  # fmt: skip
        return cls(**{**recommended, **overrides})


@dataclass(frozen=True, kw_only=True)
class Run:
    """Context of a run beside its inputs and settings.

    text: embeddings (negative, positive), each `[T, D]` or `[B, T, D]`; default: the model's empty prompt for both.
    progress: told (stage, done, total); it may raise to cancel. ranks: the processes that share the windows.
    checkpoint: where finished steps are kept, given in the first process only. on_step: called after every step, in
    every process.
    """

    text: tuple[Tensor, Tensor] | None = None
    progress: Progress | None = None
    ranks: Ranks = field(default_factory=Ranks)
    checkpoint: Checkpoint | None = None
    on_step: StepHook | None = None
