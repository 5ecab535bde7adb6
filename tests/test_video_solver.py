"""Stepping in runs of frames: the same as the whole video at once, in memory and mapped from a file."""

from __future__ import annotations

import pytest
import torch

from magicanimate.sampling import video_solver as stepping
from magicanimate.sampling.solvers import build_solver
from magicanimate.sampling.video_solver import VideoSolver, host_tensor
from random_models import LEADING
from seeded import randn

FRAMES = 7


def stepped(solver: str) -> torch.Tensor:
    latents = randn(1, 4, FRAMES, 4, 4, seed=1)
    steps = VideoSolver(LEADING, solver, 4, FRAMES, seed=5)
    for number, timestep in enumerate(steps.timesteps):
        prediction = steps.scaled(latents, timestep) + randn(*latents.shape, seed=number)
        latents = steps.step(prediction, timestep, latents)
    return latents


@pytest.mark.parametrize("solver", ["ddim", "dpm++", "unipc", "euler", "heun", "pndm"])
def test_runs_of_frames_change_nothing(solver, monkeypatch):
    whole = stepped(solver)
    monkeypatch.setattr(stepping, "RUN", 3)
    assert torch.equal(stepped(solver), whole)
    assert not torch.equal(stepped("ddpm"), whole)


def test_one_run_is_the_scheduler_itself():
    scheduler = build_solver(LEADING, "euler-a")
    scheduler.set_timesteps(4)
    latents, generator = randn(1, 4, FRAMES, 4, 4, seed=1), torch.Generator().manual_seed(5)
    for number, timestep in enumerate(scheduler.timesteps):
        prediction = scheduler.scale_model_input(latents, timestep) + randn(*latents.shape, seed=number)
        latents = scheduler.step(prediction, timestep, latents, generator=generator, return_dict=False)[0]
    assert torch.equal(stepped("euler-a"), latents)


def test_large_tensors_rest_in_files_with_the_same_result(monkeypatch, tmp_path):
    whole = stepped("dpm++")
    monkeypatch.setattr(stepping, "MAPPED_BYTES", 100)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    mapped = host_tensor((10, 10)).fill_(1)
    assert mapped.sum() == 100
    assert list(tmp_path.iterdir()) == []  # the file has no name any more and goes with the tensor
    assert torch.equal(stepped("dpm++"), whole)
