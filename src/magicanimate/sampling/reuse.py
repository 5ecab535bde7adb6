"""Approximations by name: policies that decide what a step computes and what it reuses from earlier steps.

The networks know nothing of these. Each technique is a small object that answers one question about a step; together
they make the step's plan. With the defaults every step computes everything, which is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from magicanimate.errors import InputError
from magicanimate.networks.attention import ProjectedBank
from magicanimate.sampling.windows import Window

if TYPE_CHECKING:
    from magicanimate.models.model import Model


@dataclass(frozen=True)
class GuidanceInterval:
    """Guidance in one part of the run only (arXiv 2404.07724); outside, just the conditional half is computed.

    start, end: as fractions of the steps, 0 the noisy beginning, 1 the clean end.
    """

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= 1:
            raise InputError(f"The guidance interval must rise within 0 to 1, got {self.start:g} to {self.end:g}.")

    def guides(self, step: int, steps: int) -> bool:
        """Return True if a step is inside."""
        return self.start <= step / steps < self.end


@dataclass(frozen=True)
class Reuse:
    """Something is computed at every `every`-th step and reused in between."""

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"Something can be reused for 1 step or more, got {self.every}.")

    def fresh(self, step: int) -> bool:
        """Return True if a step computes it."""
        return step % self.every == 0


@dataclass(frozen=True)
class FeatureReuse(Reuse):
    """Deep features of the denoiser (arXiv 2312.00858): in between, denoiser and ControlNet run only as far as the last
    `layers` layers of the denoiser's decoder need it, and the reference bank stays."""

    layers: int = 1


@dataclass(frozen=True, kw_only=True)
class Policies:
    """All techniques. difference: that of the two halves of guidance (arXiv 2410.19355)."""

    interval: GuidanceInterval = GuidanceInterval()
    difference: Reuse = Reuse()
    features: FeatureReuse = FeatureReuse()


EXACT = Policies()


class StepPlan(NamedTuple):
    """Plan of one step.

    guidance: its scale; up to 1 only the conditional half is computed. new_difference: whether the unconditional half
    is computed, or else the difference to it reused. shallow: only the last `layers` layers are computed.
    keep_features, keep_difference: a later step wants them. new_bank: whether the appearance encoder's result is a new
    one. on_device: what is kept stays where it was made.
    temporal: the motion modules are computed.
    """

    guidance: float
    new_difference: bool = True
    shallow: bool = False
    layers: int = 1
    keep_features: bool = False
    keep_difference: bool = False
    new_bank: bool = True
    on_device: bool = False
    temporal: bool = True


@dataclass
class StepCache:
    """Results that later steps may reuse: the bank on the device, and by window, on the host or where they were made,
    deep features of both halves and their difference.

    times: the timesteps of all steps with a new bank, in order. ahead: banks that were encoded together, by timestep.
    """

    bank: ProjectedBank | None = None
    windows: dict[Window, dict[str, Tensor]] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    ahead: dict[float, ProjectedBank] = field(default_factory=dict)

    def holds(self, *names: str) -> bool:
        """Return True if all of these are cached for all windows so far."""
        return bool(self.windows) and all(name in tensors for tensors in self.windows.values() for name in names)


def check_policies(policies: Policies, model: Model) -> None:
    """Raise InputError for what a model cannot do."""
    most = len(model.denoiser.up_blocks[-1].resnets)
    if not 1 <= policies.features.layers <= most:
        raise InputError(
            f"Cached steps compute the last 1 to {most} layers of this model, not {policies.features.layers}."
        )


def plan_step(policies: Policies, step: int, steps: int, guidance: float, cache: StepCache) -> StepPlan:
    """Return the plan of one step. What is missing from `cache`, for example behind an interruption, is computed."""
    guided = guidance > 1 and policies.interval.guides(step, steps)
    new_difference = policies.difference.fresh(step) or not cache.holds("difference")
    halves = ["conditional", *(["unconditional"] if guided and new_difference else [])]
    shallow = not policies.features.fresh(step) and cache.bank is not None and cache.holds(*halves)
    more = step + 1 < steps
    return StepPlan(
        guidance=guidance if guided else 1.0,
        new_difference=new_difference,
        shallow=shallow,
        layers=policies.features.layers,
        keep_features=not shallow and more and not policies.features.fresh(step + 1),
        keep_difference=guided and new_difference and more and policies.difference.every > 1,
        new_bank=not shallow,
    )


def starts_anew(policies: Policies, step: int, steps: int, guidance: float, cache: StepCache) -> bool:
    """Return True if a step reuses nothing, so that a run can be interrupted before it without another result."""
    return step == steps or plan_step(policies, step, steps, guidance, cache) == plan_step(
        policies, step, steps, guidance, StepCache()
    )
