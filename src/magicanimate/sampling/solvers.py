"""Samplers' step rules: diffusers' schedulers under short names, made from a model's one noise schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers
from diffusers import DDIMScheduler, SchedulerMixin

from magicanimate.errors import InputError
from magicanimate.sampling.solver_names import SOLVERS, check_solver


def build_solver(schedule: Mapping[str, Any], solver: str = "ddim") -> SchedulerMixin:
    """Build a scheduler by short name (see SOLVERS), or by the name of a diffusers class.

    schedule: the model's noise schedule, as arguments of DDIMScheduler; what another solver has no use for is left
    out. Raises InputError for unknown names and unusable schedules.
    """
    arguments = {key: value for key, value in schedule.items() if not key.startswith("_")}
    try:
        base = DDIMScheduler(**arguments)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(f"The model's noise schedule cannot be used: {error}.") from error
    if solver == "ddim":
        return base
    try:
        scheduler = getattr(diffusers, SOLVERS.get(solver) or check_solver(solver))
    except ValueError as error:
        raise InputError(f"Unknown solver {solver!r}: choose one of {', '.join(SOLVERS)}.") from error
    try:
        return scheduler.from_config(base.config)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(f"The solver {solver} cannot follow this model's noise schedule: {error}.") from error


def set_steps(scheduler: SchedulerMixin, steps: int) -> None:
    """Choose the timesteps of a run. Raises InputError if the solver cannot take so many steps."""
    try:
        scheduler.set_timesteps(steps)
    except (ValueError, IndexError) as error:
        raise InputError(f"The solver cannot take {steps} steps: {error}") from error
