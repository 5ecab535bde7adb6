"""Plans of steps, and what reusing features and differences does to a run: work, result, and where it stops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from magicanimate.errors import InputError
from magicanimate.sampling.loop import sample
from magicanimate.sampling.reuse import EXACT, FeatureReuse, GuidanceInterval, Policies, Reuse, StepCache, plan_step
from magicanimate.sampling.settings import SampleSettings
from random_models import random_model
from seeded import randn

BASE = SampleSettings(steps=4, guidance=2.0, window=8, overlap=2)
FULL_KEPT = {"conditional": torch.zeros(1), "unconditional": torch.zeros(1), "difference": torch.zeros(1)}


@pytest.fixture(scope="module")
def model():
    return random_model("rgb")


def run(model, policies=EXACT, frames=10, **changes):
    planes = randn(frames, 3, 16, 16, seed=2)
    noise = randn(1, 4, frames, 8, 8, seed=3)
    settings = replace(BASE, policies=policies, **changes)
    return sample(model, randn(1, 4, 8, 8, seed=1), planes, noise, settings)


def kept(**tensors):
    return StepCache({}, {(0, 1): tensors or dict(FULL_KEPT)})


def test_everything_is_computed_by_default():
    plans = [plan_step(EXACT, step, 4, 2.0, kept()) for step in range(4)]
    assert all(p.guidance == 2 and p.new_difference and p.new_bank and not p.shallow for p in plans)
    assert not any(p.keep_features or p.keep_difference for p in plans)


def test_guidance_acts_inside_its_interval():
    policies = Policies(interval=GuidanceInterval(0.25, 0.75))
    assert [plan_step(policies, step, 8, 3.0, StepCache()).guidance for step in range(8)] == [1, 1, 3, 3, 3, 3, 1, 1]


def test_features_are_kept_for_the_steps_that_reuse_them():
    policies = Policies(features=FeatureReuse(3, 2))
    plans = [plan_step(policies, step, 5, 2.0, kept()) for step in range(5)]
    assert [p.shallow for p in plans] == [False, True, True, False, True]
    assert [p.keep_features for p in plans] == [True, False, False, True, False]
    assert [p.new_bank for p in plans] == [True, False, False, True, False]
    assert not plan_step(policies, 3, 4, 2.0, kept()).keep_features  # nobody would read them


def test_differences_are_kept_likewise():
    plans = [plan_step(Policies(difference=Reuse(2)), step, 4, 2.0, kept()) for step in range(4)]
    assert [p.new_difference for p in plans] == [True, False, True, False]
    assert [p.keep_difference for p in plans] == [True, False, True, False]


def test_what_is_missing_is_computed():
    """Behind an interruption, or where the last full step had no unconditional half."""
    policies = Policies(features=FeatureReuse(2), difference=Reuse(2))
    plan = plan_step(policies, 1, 4, 2.0, StepCache())
    assert (plan.shallow, plan.new_difference, plan.new_bank) == (False, True, True)
    assert not plan_step(Policies(features=FeatureReuse(2)), 1, 4, 2.0, kept(conditional=torch.zeros(1))).shallow
    assert plan_step(policies, 1, 4, 1.0, kept(conditional=torch.zeros(1))).shallow


@pytest.mark.parametrize(
    "policies",
    [
        Policies(features=FeatureReuse(2)), Policies(features=FeatureReuse(4, 2)), Policies(difference=Reuse(2)),
        Policies(interval=GuidanceInterval(0.0, 0.5)),
        Policies(features=FeatureReuse(2), difference=Reuse(2), interval=GuidanceInterval(0.0, 0.75)),
    ],
)  # fmt: skip
def test_approximations_are_near_and_not_equal(model, policies):
    exact, ours = run(model), run(model, policies)
    assert ours.isfinite().all()
    error = (ours - exact).std() / exact.std()
    assert 1e-4 < error < 0.5
    torch.testing.assert_close(run(model, policies), ours)


def test_reuse_saves_work(model):
    def rows(policies):
        counted = []
        hooks = [
            layer.register_forward_hook(lambda _, given, __: counted.append(given[0].shape[0]))
            for layer in (model.control.mid_block.resnets[0], model.denoiser.mid_block.resnets[1])
        ]
        run(model, policies)
        for hook in hooks:
            hook.remove()
        return sum(counted)

    assert rows(Policies(features=FeatureReuse(2))) == rows(EXACT) // 2
    assert rows(Policies(difference=Reuse(2))) < rows(EXACT)
    assert rows(Policies(interval=GuidanceInterval(0, 0.5))) < rows(EXACT)


@pytest.mark.parametrize("layers", [0, 3])
def test_too_many_layers(model, layers):
    with pytest.raises(InputError, match="the last 1 to 2 layers of this model"):
        run(model, Policies(features=FeatureReuse(2, layers)))


def test_impossible_policies():
    with pytest.raises(InputError, match="rise within 0 to 1"):
        GuidanceInterval(0.5, 0.25)
    with pytest.raises(InputError, match="1 step or more"):
        Reuse(0)
