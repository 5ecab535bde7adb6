"""The solver's steps over a whole video, whatever its length and wherever its run was interrupted.

Legend: B samples, F frames of the video, c latent channels, h w latent size.
"""

from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from magicanimate.sampling.solvers import build_solver, set_steps

RUN = 64
"""Frames that are stepped at once; the noise that a solver adds is drawn for so many."""
MAPPED_BYTES = 2**30
"""Bytes above which a video's tensor rests in a file of the temporary folder (TMPDIR) instead of memory."""


class VideoSolver:
    """One scheduler for each run of frames, so that a step needs memory for a few frames, and all share the noise.

    schedule, solver: see `build_solver`. seed: of the noise that stochastic solvers add. eta: DDIM's.
    Raises InputError for unknown solvers and impossible numbers of steps.
    """

    def __init__(
        self, schedule: Mapping[str, Any], solver: str, steps: int, frames: int, *, eta: float = 0.0, seed: int = 0
    ) -> None:
        scheduler: Any = build_solver(schedule, solver)
        set_steps(scheduler, steps)
        self.timesteps: Tensor = scheduler.timesteps
        self.first_sigma = scheduler.init_noise_sigma
        self._generator = torch.Generator("cpu").manual_seed(seed)
        offered = {"eta": eta, "generator": self._generator}
        accepted = inspect.signature(scheduler.step).parameters
        self._arguments = {name: value for name, value in offered.items() if name in accepted}
        self._runs = [slice(start, min(start + RUN, frames)) for start in range(0, frames, RUN)]
        self._schedulers = [copy.deepcopy(scheduler) for _ in self._runs]

    def scaled(self, latents_BcFhw: Tensor, timestep: Tensor) -> Tensor:
        """Return the latents as the networks read them at a timestep."""
        scaled = host_tensor(latents_BcFhw.shape)
        for run, scheduler in self._by_run():
            scaled[:, :, run] = scheduler.scale_model_input(latents_BcFhw[:, :, run], timestep)
        return scaled

    def step(self, prediction_BcFhw: Tensor, timestep: Tensor, latents_BcFhw: Tensor) -> Tensor:
        """Return the latents after one step. Every step must be taken once, in order."""
        stepped = host_tensor(latents_BcFhw.shape)
        for run, scheduler in self._by_run():
            stepped[:, :, run] = scheduler.step(
                prediction_BcFhw[:, :, run], timestep, latents_BcFhw[:, :, run], return_dict=False, **self._arguments
            )[0]
        return stepped

    def state(self) -> dict[str, Any]:
        """Return the state that later steps need beside the latents: solvers' history, the noise's generator."""
        return {
            "schedulers": [_changing(scheduler) for scheduler in self._schedulers],
            "generator": self._generator.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as the solver whose `state` this was."""
        for scheduler, changing in zip(self._schedulers, state["schedulers"], strict=True):
            vars(scheduler).update(changing)
        self._generator.set_state(state["generator"])

    def _by_run(self) -> Iterator[tuple[slice, Any]]:
        return zip(self._runs, self._schedulers, strict=True)


def _changing(scheduler: Any) -> dict[str, Any]:
    """Return a scheduler's own tensors, numbers, and lists; configuration and NumPy's tables are equal in every run."""
    plain = (Tensor, int, float, str, list, type(None))
    return {name: value for name, value in vars(scheduler).items() if isinstance(value, plain)}


def host_tensor(shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Return an uninitialized float32 tensor on the host: in memory, or mapped from a file that vanishes with it."""
    size = torch.Size(shape).numel()
    if size * 4 <= MAPPED_BYTES:
        return torch.empty(shape)
    with tempfile.NamedTemporaryFile(prefix="magicanimate-") as file:
        return torch.from_file(file.name, shared=True, size=size).view(shape)
