"""Promises of the sampling loop; its results are judged by the plain twin in test_plain.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from magicanimate.errors import InputError
from magicanimate.networks.vae import initial_noise
from magicanimate.sampling.loop import sample, sample_steps
from magicanimate.sampling.settings import Run, SampleSettings
from magicanimate.sampling.solvers import SOLVERS, build_solver
from random_models import random_model
from seeded import randn

FAST = SampleSettings(steps=2, guidance=2.0, window=8, overlap=2)


@pytest.fixture(scope="module")
def rgb():
    return random_model("rgb")


@pytest.fixture(scope="module")
def parts():
    return random_model("parts")


def inputs(model, frames, batch=1, size=8):
    """Reference latents, control planes and noise for `batch` videos."""
    c = model.latent_channels
    planes = model.control.config["conditioning_channels"]
    scale = 2 ** (len(model.control.config["conditioning_embedding_out_channels"]) - 1)
    return (
        randn(batch, c, size, size, seed=1),
        randn(batch, frames, planes, size * scale, size * scale, seed=2),
        randn(batch, c, frames, size, size, seed=3),
    )


@pytest.mark.parametrize("frames", [1, 2, 7, 9])
def test_any_number_of_frames(parts, frames):
    ref, control, noise = inputs(parts, frames)
    latents = sample(parts, ref, control[0], noise, FAST)
    assert latents.shape == noise.shape
    assert latents.isfinite().all()


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0])
def test_guidance_up_to_one_is_the_conditional_half(parts, guidance):
    ref, control, noise = inputs(parts, 3)
    once = sample(parts, ref, control, noise, replace(FAST, guidance=guidance))
    nearly = sample(parts, ref, control, noise, replace(FAST, guidance=1 + 1e-6))
    torch.testing.assert_close(once, nearly, atol=1e-4, rtol=1e-4)
    assert (sample(parts, ref, control, noise, replace(FAST, guidance=3.0)) - once).abs().max() > 1e-2


def test_results_do_not_depend_on_the_batch(parts):
    ref, control, noise = inputs(parts, 10, batch=2)
    both = sample(parts, ref, control, noise, FAST)
    for i in range(2):
        alone = sample(parts, ref[i : i + 1], control[i : i + 1], noise[i : i + 1], FAST)
        torch.testing.assert_close(both[i : i + 1], alone, atol=1e-4, rtol=1e-4)
    swapped = sample(parts, ref.flip(0), control, noise, FAST)
    assert (swapped - both).abs().max() > 1e-2


def test_control_and_reference_matter(parts):
    ref, control, noise = inputs(parts, 3)
    ours = sample(parts, ref, control, noise, FAST)
    for changed in (
        sample(parts, ref + 1, control, noise, FAST),
        sample(parts, ref, control.flip(1), noise, FAST),
        sample(parts, ref, control, noise, replace(FAST, control_scale=0.0)),
        sample(parts, ref, control, noise, replace(FAST, temporal=False)),
    ):
        assert (changed - ours).abs().max() > 1e-3


def test_every_control_frame_is_evaluated_once_per_step(parts):
    """Counted in rows that go through ControlNet; the denoiser sees overlapping frames twice."""
    rows: list[int] = []
    handle = parts.control.conv_in.register_forward_hook(lambda module, args, out: rows.append(args[0].shape[0]))
    ref, control, noise = inputs(parts, 20)
    sample(parts, ref, control, noise, FAST)
    handle.remove()
    assert sum(rows) == 20 * FAST.steps
    assert max(rows) <= FAST.window


@pytest.mark.parametrize("solver", [s for s in SOLVERS if s not in ("lcm", "tcd")])
def test_solvers(parts, solver):
    ref, control, noise = inputs(parts, 2)
    settings = replace(FAST, solver=solver, steps=4)
    latents = sample(parts, ref, control, noise, settings)
    assert latents.isfinite().all()
    torch.testing.assert_close(sample(parts, ref, control, noise, settings), latents)


def test_solvers_differ(rgb):
    ref, control, noise = inputs(rgb, 2)
    ddim, dpm, again = (
        sample(rgb, ref, control, noise, replace(FAST, solver=s, steps=4)) for s in ("ddim", "dpm++", "ddim")
    )
    torch.testing.assert_close(ddim, again)
    assert (ddim - dpm).abs().max() > 1e-2


def test_a_diffusers_class_is_a_solver_too():
    assert type(build_solver({}, "KDPM2DiscreteScheduler")).__name__ == "KDPM2DiscreteScheduler"


def test_added_noise_follows_the_seed(parts):
    ref, control, noise = inputs(parts, 2)
    runs = [
        sample(parts, ref, control, noise, replace(FAST, solver="euler-a", steps=3, seed=seed)) for seed in (1, 1, 2)
    ]
    torch.testing.assert_close(runs[0], runs[1])
    assert (runs[0] - runs[2]).abs().max() > 1e-3


def test_progress_counts_to_the_end(parts):
    calls: list[tuple[str, int, int]] = []
    ref, control, noise = inputs(parts, 10)
    sample(parts, ref, control, noise, FAST, Run(progress=lambda *call: calls.append(call)))
    assert calls == [("control", done, 10) for done in (2, 8, 10)] + [("denoise", k + 1, 4) for k in range(4)]


def test_progress_may_cancel(parts):
    class CancelledError(Exception):
        pass

    def cancel(stage, step, total):
        if (stage, step) == ("denoise", 2):
            raise CancelledError

    ref, control, noise = inputs(parts, 10)
    with pytest.raises(CancelledError):
        sample(parts, ref, control, noise, FAST, Run(progress=cancel))


def test_steps_are_yielded(parts):
    ref, control, noise = inputs(parts, 2)
    steps = list(sample_steps(parts, ref, control, noise, FAST))
    assert [step.number for step in steps] == [0, 1]
    torch.testing.assert_close(steps[-1].latents_BcFhw, sample(parts, ref, control, noise, FAST))


def test_settings_come_from_the_model(parts):
    settings = SampleSettings.for_model(parts, guidance=3.0)
    assert (settings.steps, settings.window, settings.overlap, settings.guidance) == (2, 8, 2, 3.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "at least 1"), ({"guidance": -1.0}, "negative"), ({"solver": "magic"}, "Unknown solver"),
        ({"solver": "MagicScheduler"}, "Unknown solver"), ({"steps": 2000}, "2000 steps"),
        ({"fusion": "median"}, "fusion"), ({"overlap": 8}, "overlap"),
    ],
)  # fmt: skip
def test_impossible_settings(parts, changes, message):
    ref, control, noise = inputs(parts, 10)
    with pytest.raises(InputError, match=message):
        sample(parts, ref, control, noise, replace(FAST, **changes))


def test_shapes_that_do_not_match(parts):
    ref, control, noise = inputs(parts, 3)
    with pytest.raises(InputError, match="2 control frames for 3"):
        sample(parts, ref, control[:, :2], noise, FAST)
    with pytest.raises(InputError, match="channels"):
        sample(parts, ref, control, noise[:, :1], FAST)
    with pytest.raises(InputError, match="Reference latents"):
        sample(parts, ref[..., :4], control, noise, FAST)


def test_unusable_schedule():
    with pytest.raises(InputError, match="noise schedule"):
        build_solver({"beta_schedule": "no such"})


def test_shared_noise_through_the_loop(parts):
    """The default as published: frames one window apart start alike, so without neighbors they end alike."""
    ref, control, _ = inputs(parts, 12)
    noise = initial_noise(1, 12, (parts.latent_channels, 8, 8), "shared", 8)
    still = control[:, :1].expand(-1, 12, -1, -1, -1)
    latents = sample(parts, ref, still, noise, replace(FAST, temporal=False))
    torch.testing.assert_close(latents[:, :, :4], latents[:, :, 8:], atol=1e-4, rtol=1e-4)
