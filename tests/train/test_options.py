"""Options of training: timestep weights, noise offset, frame gap, views, bf16, checkpointing, accumulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blocks import SCHEDULE, configuration, settings, write_blocks
from magicanimate.errors import InputError
from magicanimate.parts.densepose import FLIP_TABLE
from magicanimate.synth.dataset import open_dataset
from magicanimate.train.batches import batch_random
from magicanimate.train.cache import CacheSettings, LatentCache, cache_latents
from magicanimate.train.diffusion import BranchSettings, draw_batch
from magicanimate.train.loop import LoopSettings, train
from magicanimate.train.objective import Objective, offset_noise
from magicanimate.train.run import run
from magicanimate.train.vae import build_vae
from magicanimate.train.views import MIRRORED_PARTS, View, ViewSettings, apply_view, clip_view
from random_models import random_model
from stages import gradients, stage_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_min_snr_bounds_the_weight_of_an_error_of_the_clean_latents(kind):
    """Times what a prediction's error weighs in terms of x_0: min(SNR, gamma), or one more for velocities."""
    objective = Objective(SCHEDULE | {"prediction_type": kind}, CPU)
    t = torch.tensor([0, 200, 500, 800, 999])
    alpha = objective._scheduler.alphas_cumprod[t]
    snr, extra = alpha / (1 - alpha), float(kind == "v_prediction")
    plain = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones(5)}[kind]
    weight = objective.snr_weight(t, 5.0)
    assert torch.allclose(weight * plain, (snr + extra).clamp(max=5.0 + extra), rtol=1e-3, atol=1e-5)
    assert torch.isfinite(weight).all()
    if kind == "v_prediction":
        assert weight[-1] == 1  # the step with pure noise is not forgotten
        assert weight[0] < 0.1


def test_min_snr_changes_the_loss_of_little_noise_only():
    objective = Objective(SCHEDULE | {"prediction_type": "v_prediction"}, CPU)
    clean, noise, wrong = torch.randn(3, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for t, same in ((torch.tensor([900]), True), (torch.tensor([20]), False)):
        plain, weighted = (objective.loss(wrong, clean, noise, t, 1.0, gamma) for gamma in (None, 5.0))
        assert (weighted == pytest.approx(float(plain))) == same


def test_noise_offset_shifts_whole_channels():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(64, 4, 2, 8, 8, generator=generator)
    shifted = offset_noise(noise, 0.5, generator)
    shift = shifted - noise
    assert torch.allclose(shift, shift[:, :, :1, :1, :1].expand_as(shift), atol=1e-6)
    assert shift[:, :, 0, 0, 0].std() == pytest.approx(0.5, abs=0.06)
    assert offset_noise(noise, 0.0, generator) is noise


def timed(times: np.ndarray) -> LatentCache:
    shape = (len(times), times.shape[1], 1, 1, 1)
    return LatentCache(np.zeros(shape), np.zeros(shape), times, len(times))


def closest(data: LatentCache, batch) -> np.ndarray:
    """Seconds from each sample's reference to its nearest target."""
    times = data.times[batch.clips]
    reference = np.take_along_axis(times, batch.references[:, None], 1)
    return np.abs(np.take_along_axis(times, batch.targets, 1) - reference).min(1)


@pytest.mark.parametrize("stage", ["appearance", "temporal", "distill"])
def test_targets_keep_their_distance_from_the_reference(stage):
    data = timed(np.tile(np.arange(24) / 8, (5, 1)))
    choice = BranchSettings(stage=stage, tau_0=0, tau_1=0, tau_2=0.3, window=6, targets=3, min_gap=1.0)
    without = choice.model_copy(update={"min_gap": 0.0})
    drawn = [draw_batch(np.random.default_rng(i), choice, data, 4) for i in range(60)]
    near = [draw_batch(np.random.default_rng(i), without, data, 4) for i in range(60)]
    assert min(closest(data, batch).min() for batch in drawn) >= 1.0
    assert min(closest(data, batch).min() for batch in near) < 0.5
    assert len({int(r) for batch in drawn for r in batch.references}) > 8  # not always the same frame


def test_in_turn_all_clips_come_once_before_any_comes_again():
    data = timed(np.tile(np.arange(4) / 8, (10, 1)))
    choice = BranchSettings(stage="appearance", targets=1, in_turn=True)

    def clips(chosen: BranchSettings, turns: range) -> list[int]:
        batches = [draw_batch(np.random.default_rng(i), chosen, data, 4, turn=i) for i in turns]
        return [int(clip) for batch in batches for clip in batch.clips]

    shown = clips(choice, range(5))
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))
    assert shown[:10] != shown[10:], "in another order"
    assert clips(choice, range(3, 5)) == shown[12:], "whatever came before: a resumed run goes on"
    assert len(set(clips(choice.model_copy(update={"in_turn": False}), range(5))[:10])) < 10
    with pytest.raises(ValueError, match="single frames"):
        BranchSettings(stage="temporal", in_turn=True)


def test_short_clips_get_what_is_farthest():
    data = timed(np.arange(4)[None] / 8)
    choice = BranchSettings(stage="appearance", tau_0=0, targets=2, min_gap=9.0)
    for i in range(20):
        batch = draw_batch(np.random.default_rng(i), choice, data, 1)
        others = np.delete(data.times[0], batch.references[0])
        best = np.sort(np.abs(others - data.times[0][batch.references[0]]))[::-1][:2]
        found = np.abs(data.times[0][batch.targets[0]] - data.times[0][batch.references[0]])
        assert np.sort(found)[::-1] == pytest.approx(best)


def test_a_clip_that_begins_elsewhere_is_known():
    assert timed(np.array([[5.0, 0.0, 0.1, 0.2, 0.3]])).first_of_run == 1
    assert timed(np.array([[0.0, 0.1, 0.2, 0.3]])).first_of_run == 0
    with pytest.raises(InputError, match="min_gap"):
        LatentCache(np.zeros((1, 2)), np.zeros((1, 2))).distances(np.array([0]), np.array([[0]]))


def test_mirroring_swaps_left_and_right_and_is_its_own_inverse():
    rng = np.random.default_rng(0)
    rgb, parts = rng.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8), rng.integers(0, 25, (2, 8, 8), dtype=np.uint8)
    mirror = View(mirror=True)
    flipped = apply_view(mirror, rgb, parts)
    again = apply_view(mirror, *flipped)
    assert np.array_equal(again[0], rgb)
    assert np.array_equal(again[1], parts)
    assert np.array_equal(flipped[0][:, :, 0], rgb[:, :, -1])
    assert {3: 4, 5: 6, 23: 24, 1: 1, 0: 0}.items() <= dict(enumerate(MIRRORED_PARTS.tolist())).items()
    assert not np.array_equal(flipped[1], parts[:, :, ::-1])


def test_a_crop_is_the_same_for_all_frames_and_for_the_part_map():
    rows, columns = np.mgrid[0:32, 0:32]
    parts = np.broadcast_to((rows // 16 * 2 + columns // 16 + 1).astype(np.uint8), (2, 32, 32))
    rgb = np.repeat((parts * 40)[..., None], 3, -1)
    view = clip_view(7, 2, ViewSettings(count=3, crop=0.6))
    assert 0.6 <= view.side < 1
    assert not view.mirror
    assert view == clip_view(7, 2, ViewSettings(count=3, crop=0.6)) != clip_view(8, 2, ViewSettings(count=3, crop=0.6))
    cropped, labels = apply_view(view, rgb, parts)
    assert cropped.shape == rgb.shape
    assert np.array_equal(cropped[0], cropped[1])
    assert (np.abs(cropped[..., 0] / 40 - labels) < 0.3).mean() > 0.9  # colors stay with their labels
    assert not np.array_equal(labels, parts)


def test_views_are_cached_once_and_named(tmp_path):
    data = open_dataset(write_blocks(tmp_path / "data", 3, 2))
    vae = build_vae(4, (16, 16), 4)
    views = ViewSettings(count=2)
    cache = cache_latents(vae, data, tmp_path / "two", CPU, CacheSettings(patch=4, stride=4, views=views))
    plain = cache_latents(vae, data, tmp_path / "one", CPU, CacheSettings(patch=4, stride=4))
    assert (len(cache), len(plain)) == (6, 3)
    assert np.array_equal(cache.latents[:3], plain.latents)
    # pooled planes of a mirrored picture: the same cells in the other order, left and right exchanged
    assert np.array_equal(cache.planes[3:], plain.planes[..., ::-1][:, :, FLIP_TABLE])
    assert not np.array_equal(cache.planes[3:], plain.planes)
    assert (cache.name(1), cache.name(4)) == ("1", "1 (view 1)")
    with pytest.raises(InputError, match="another VAE or data set"):
        cache_latents(vae, data, tmp_path / "two", CPU, CacheSettings(patch=4, stride=4))


@pytest.mark.parametrize("stage", ["appearance", "temporal"])
def test_gradient_checkpointing_changes_memory_and_nothing_else(stage, tmp_path):
    choice = {"stage": stage, "window": 3, "tau_1": 0.0, "tau_2": 0.0}
    plain = gradients(stage_of(random_model("parts", reference_input=True), **choice))
    other = stage_of(random_model("parts", reference_input=True), **choice)
    train(other, LoopSettings(steps=1, batch=1, lr=1e-12, checkpointing=True, weight_decay=0.0), tmp_path, CPU)
    calls = []
    for module in other.modules.values():
        assert module.is_gradient_checkpointing
        for child in module.modules():
            if hasattr(child, "_gradient_checkpointing_func"):
                original = child._gradient_checkpointing_func
                child._gradient_checkpointing_func = lambda *a, f=original: calls.append(1) or f(*a)
    for _, p in other.trainable():
        p.grad = None
    found = gradients(other)
    assert len(calls) > 5
    assert set(found) == set(plain)
    assert all(torch.allclose(found[name], plain[name], atol=1e-4, rtol=1e-3) for name in plain)
    assert any(g.abs().max() > 1e-3 for g in plain.values())


def test_bf16_autocast_computes_nearly_the_same_gradient():
    exact, rounded = (gradients(stage_of(random_model("parts")), autocast=flag) for flag in (False, True))
    a, b = (torch.cat([g[name].flatten() for name in sorted(exact)]) for g in (exact, rounded))
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.98


def test_dropout_is_drawn_for_each_sample():
    stage = stage_of(random_model("parts"), drop_reference=0.5)
    with torch.no_grad():
        drawn = [
            stage.loss(np.random.default_rng(i), torch.Generator().manual_seed(i), 4)[1]["n_dropped"] for i in range(24)
        ]
    assert set(drawn) > {0.25, 0.5}
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.12)


def test_batches_that_are_drawn_ahead_are_the_same(tmp_path):
    """Also with several batches a step, and when the run is stopped and goes on."""

    def weights(workers: int, seed: int = 0, stops: tuple[int, ...] = (4,), echo: int = 1) -> torch.Tensor:
        torch.manual_seed(0)
        stage = stage_of(random_model("parts"), drop_reference=0.5)
        out = tmp_path / f"{workers}-{seed}-{len(stops)}-{echo}"
        for steps in stops:
            loop = LoopSettings(
                steps=4, batch=2, accumulate=2, seed=seed, workers=workers, echo=echo, decay=0, ema=0, tensorboard=False
            )
            train(stage, loop.model_copy(update={"steps": steps}), out, CPU)
        return torch.cat([p.detach().flatten() for _, p in stage.trainable()])

    plain = weights(0)
    assert torch.equal(weights(2), plain)
    assert torch.equal(weights(2, stops=(1, 4)), plain)
    assert not torch.equal(weights(2, seed=1), plain)
    echoed = weights(0, echo=2)
    assert torch.equal(weights(2, echo=2, stops=(1, 4)), echoed)
    assert not torch.equal(echoed, plain)


def test_an_echo_is_the_same_batch_with_other_noise():
    drawn = [batch_random(0, step, 0, echo=2) for step in range(4)]
    numbers = [float(rng.random()) for rng, _ in drawn]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]
    assert len({seed for _, seed in drawn}) == 4


class Mean:
    """A stage whose gradient is the mean of its batch."""

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.modules = {"line": torch.nn.ParameterList([self.weight])}

    def trainable(self):
        return [("line.0", self.weight)]

    def loss(self, rng, generator, batch):
        x = torch.randn(batch, generator=generator) + 3
        return (self.weight - x).square().mean(), {"seen": float(x.sum())}

    def grid(self, path):
        return {}


def test_accumulated_batches_are_different_and_count_alike(tmp_path):
    from magicanimate.engine.ranks import Ranks
    from magicanimate.train.loop import Loop

    def step(accumulate: int, batch: int) -> tuple[float, dict[str, float]]:
        stage = Mean()
        optimizer = torch.optim.SGD([stage.weight], 1.0)
        loop = LoopSettings(steps=10, batch=batch, accumulate=accumulate, lr=1.0, warmup=0, clip_norm=1e9)
        return Loop(stage, loop, CPU, Ranks(), optimizer).step(0), float(stage.weight.grad)

    (whole, gradient), (one, _) = step(3, 4), step(1, 4)
    assert gradient == pytest.approx(-2 * whole["seen"] / 12, rel=1e-5)
    assert whole["seen"] != pytest.approx(3 * one["seen"])


def test_options_in_a_configuration(trained, tmp_path):
    """All at once, through the command's own way."""
    content = configuration(trained, "appearance", accumulate=2, precision="bfloat16", checkpointing=True, steps=2)
    content |= {"out": str(tmp_path / "run"), "views": {"count": 2, "crop": 0.8}}
    content["branches"] |= {"snr_gamma": 5.0, "noise_offset": 0.05, "min_gap": 0.3, "drop_reference": 0.4}
    folder = run(settings(tmp_path / "all.yaml", content), CPU)
    assert (folder / "model.json").exists()
    assert (trained / "train" / "latents-2-views" / "cache.json").exists()
