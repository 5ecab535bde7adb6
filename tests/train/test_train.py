"""Training: the stages, one loss, exact resume. On a tiny data set of colored blocks, so no renderer is needed."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from blocks import SCHEDULE, configuration, settings, weights
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.models.model import load_model
from magicanimate.train.cache import LatentCache
from magicanimate.train.config import read_settings
from magicanimate.train.diffusion import BranchSettings, draw_batch
from magicanimate.train.loop import CHECKPOINT, LOG, LoopSettings, learning_rate, save_weights, train
from magicanimate.train.objective import Objective, cell_weight
from magicanimate.train.run import run
from stages import Line, line_weights

CPU = torch.device("cpu")


def test_stages_end_with_a_model_that_loads(trained):
    model = load_model(trained / "temporal" / "model")
    assert model.pixel_factor == 8
    assert model.denoiser.config["in_channels"] == 4 + 8 + 4  # noisy latents, coordinates, reference latents
    assert (trained / "temporal" / "grid-0000004.png").stat().st_size > 200


def test_temporal_stage_changes_motion_modules_only(trained):
    before, after = (weights(trained / stage / "model") for stage in ("appearance", "temporal"))
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert all(".motion_modules." in name for name in changed)


def test_a_model_may_go_on_with_other_noise(trained, tmp_path):
    """The model is trained with the new noise, and keeps it."""
    content = configuration(trained, "temporal") | {"out": str(tmp_path / "same"), "noise": "static"}
    folders = [trained / "temporal" / "model", run(settings(tmp_path / "same.yaml", content), CPU)]
    assert [load_model(folder).config.noise for folder in folders] == ["shared", "static"]
    before, after = (weights(folder) for folder in folders)
    assert any(not torch.equal(after[name], before[name]) for name in after)


def test_appearance_stage_changes_everything_but_motion_modules(trained):
    content = torch.load(trained / "appearance" / CHECKPOINT, weights_only=True)
    trainable = set(content["ema"])
    assert {name.split(".")[0] for name in trainable} == {"denoiser", "appearance", "control"}
    assert not any("motion_modules" in name for name in trainable)


@pytest.mark.parametrize("stage", ["vae", "appearance", "temporal"])
def test_resumed_run_equals_an_uninterrupted_one(trained, tmp_path, stage):
    """Two steps, then the rest from the checkpoint: same weights, same log. Another seed: others."""
    content = configuration(trained, stage) | {"out": str(tmp_path / "resumed")}
    whole = configuration(trained, stage)
    checkpoint = tmp_path / "resumed" / CHECKPOINT

    class Killed(Exception):
        pass

    import magicanimate.train.loop as loop

    original = loop._save

    def save_then_die(path, what):
        original(path, what)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_save", save_then_die)
        with pytest.raises(Killed):
            run(settings(tmp_path / "a.yaml", content), CPU)
    assert torch.load(checkpoint, weights_only=True)["step"] == 2
    run(settings(tmp_path / "a.yaml", content), CPU)

    expected = torch.load(Path(whole["out"]) / CHECKPOINT, weights_only=True)["ema" if stage != "vae" else "modules"]
    found = torch.load(checkpoint, weights_only=True)["ema" if stage != "vae" else "modules"]

    def flat(weights: dict) -> dict[str, torch.Tensor]:
        return weights["vae"] if stage == "vae" else weights

    assert all(torch.equal(flat(expected)[k], flat(found)[k]) for k in flat(expected))
    losses = [
        [json.loads(s).get("loss") for s in (p / LOG).read_text().splitlines()]
        for p in (Path(whole["out"]), tmp_path / "resumed")
    ]
    assert losses[0] == losses[1]

    content["loop"]["seed"] = 5
    content["out"] = str(tmp_path / "other")
    run(settings(tmp_path / "b.yaml", content), CPU)
    other = torch.load(tmp_path / "other" / CHECKPOINT, weights_only=True)["ema" if stage != "vae" else "modules"]
    assert any(not torch.equal(flat(expected)[k], flat(other)[k]) for k in flat(expected))


LINE = LoopSettings(steps=5, batch=4, save_every=100, log_every=2)


def test_time_limit_stops_with_a_checkpoint_and_repeating_gets_there(tmp_path):
    """Each call without time does one step and saves it; five of them are as good as one long call."""
    assert train(Line(), LINE, tmp_path / "whole", CPU) == 5
    hasty = LINE.model_copy(update={"minutes": 1e-9})
    assert [train(Line(), hasty, tmp_path / "pieces", CPU) for _ in range(6)] == [1, 2, 3, 4, 5, 5]
    assert torch.equal(line_weights(tmp_path / "pieces"), line_weights(tmp_path / "whole"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "pieces" / LOG).read_text().splitlines()]
    assert steps == [0, 1, 2, 3, 4, 4]  # the last one has the grid's figures too
    relaxed = LINE.model_copy(update={"minutes": 60.0})
    assert train(Line(), relaxed, tmp_path / "relaxed", CPU) == 5
    assert train(Line(), relaxed, tmp_path / "late", CPU, began=time.perf_counter() - 3601) == 1


def test_checkpoints_by_the_clock(tmp_path):
    for out, limits, there in (
        (tmp_path / "a", LINE.model_copy(update={"save_minutes": 1e-9}), True),
        (tmp_path / "b", LINE, False),
    ):
        with pytest.raises(ArithmeticError):
            train(Line(broken=3), limits, out, CPU)
        assert (out / CHECKPOINT).exists() == there
    assert torch.load(tmp_path / "a" / CHECKPOINT, weights_only=True)["step"] == 2


def test_weights_alone_are_gone_on_from_with_a_new_warm_up(tmp_path):
    settings = LINE.model_copy(update={"warmup": 2, "steps": 8, "minutes": 1e-9})
    stage = Line()
    checkpoint = tmp_path / CHECKPOINT
    save_weights(checkpoint, stage.modules, 4)
    assert train(Line(), settings.model_copy(update={"steps": 4}), tmp_path, CPU) == 4
    assert torch.equal(line_weights(tmp_path), stage.line.weight)  # nothing left to do: as they were
    for step in (5, 6):  # the second call knows when the first one began
        assert train(Line(), settings, tmp_path, CPU) == step
        content = torch.load(checkpoint, weights_only=True)
        assert content["first"] == 4
        assert content["optimizer"]["param_groups"][0]["lr"] == pytest.approx(learning_rate(step - 1, settings, 4))
    assert learning_rate(4, settings, 4) == pytest.approx(learning_rate(4, settings) / 2)
    assert not torch.equal(line_weights(tmp_path), stage.line.weight)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_perfect_prediction_has_no_loss(kind):
    objective = Objective(SCHEDULE | {"prediction_type": kind}, CPU)
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 4, 3, 2, 2, 2, generator=generator)
    t = objective.timesteps(generator, 4)
    perfect = objective.target(clean, noise, t)
    assert objective.loss(perfect, clean, noise, t) == 0
    assert objective.loss(perfect + 0.5, clean, noise, t) == pytest.approx(0.25, abs=1e-5)
    assert objective.loss(clean + noise, clean, noise, t) > 0.1


def test_sampler_undoes_what_the_objective_did():
    """The sampler's own scheduler recovers the clean latents from z_t and the training target."""
    from magicanimate.sampling.solvers import build_solver, set_steps

    schedule = SCHEDULE | {"prediction_type": "v_prediction"}
    objective, scheduler = Objective(schedule, CPU), build_solver(schedule)
    set_steps(scheduler, 4)
    clean, noise = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    for t in scheduler.timesteps:
        t_B = t[None]
        result = scheduler.step(objective.target(clean, noise, t_B), t, objective.noisy(clean, noise, t_B))
        assert torch.allclose(result.pred_original_sample, clean, atol=1e-4)


def test_reference_at_the_stem_reaches_the_prediction(trained):
    from magicanimate.networks.denoiser import predict

    model = load_model(trained / "appearance" / "model")
    noisy, reference = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    arguments = (model.denoiser, noisy[:, :, None], torch.tensor([500]), model.empty_prompt[None])
    with torch.no_grad():
        with_it, again, without = (
            predict(*arguments, coordinates=8, reference_Bchw=r) for r in (reference, reference, reference * 0)
        )
    assert torch.equal(with_it, again)
    assert not torch.allclose(with_it, without, atol=1e-5)


def test_timesteps_may_favor_high_noise():
    objective = Objective(SCHEDULE, CPU)
    generator = torch.Generator().manual_seed(0)
    even, biased = (objective.timesteps(generator, 400, bias).float().mean() for bias in (0.0, 1.0))
    assert even == pytest.approx(500, abs=5)
    assert biased == pytest.approx(667, abs=5)


def test_timesteps_are_spread_over_the_schedule():
    objective = Objective(SCHEDULE, CPU)
    t = objective.timesteps(torch.Generator().manual_seed(0), 10)
    assert (t // 100).tolist() == list(range(10))


def test_person_weight_has_mean_one_and_favors_the_person():
    planes = torch.zeros(2, 25, 8, 8)
    planes[:, 0] = 1
    planes[:, 0, :4, :4], planes[:, 2, :4, :4] = 0, 1
    weight = cell_weight(planes, torch.zeros(1, 4, 2, 4, 4), 1.0)
    assert weight.shape == (1, 1, 2, 4, 4)
    assert weight.mean() == pytest.approx(1)
    assert weight[0, 0, 0, 0, 0] == pytest.approx(2 * weight[0, 0, 0, 3, 3])
    known = torch.ones(2, 1, 8, 8)
    known[:, :, 4:, 4:] = 0
    both = cell_weight(planes, torch.zeros(1, 4, 2, 4, 4), 1.0, unknown=3.0, known_N1hw=known)
    assert both.mean() == pytest.approx(1)
    assert both[0, 0, :, 3, 3] / both[0, 0, :, 0, 3] == pytest.approx(4)
    assert both[0, 0, :, 0, 0] / both[0, 0, :, 0, 3] == pytest.approx(2)


def branches(stage: str, count: int, **changes: object) -> list:
    data = LatentCache(np.zeros((20, 9, 1, 1, 1)), np.zeros((20, 9, 25, 1, 1)))
    choice = BranchSettings(stage=stage, window=4, **changes)
    return [draw_batch(np.random.default_rng(i), choice, data, 4) for i in range(count)]


def test_stage_2_draws_its_branches_in_the_stated_shares():
    drawn = branches("temporal", 400, tau_1=0.2, tau_2=0.5)
    shares = {name: np.mean([b.branch == name for b in drawn]) for name in ("image", "pair", "clip")}
    assert shares == pytest.approx({"image": 0.2, "pair": 0.3, "clip": 0.5}, abs=0.08)
    for batch in drawn:
        if batch.branch == "image":
            assert (batch.targets[:, 0] == batch.references).all()
        elif batch.branch == "pair":
            assert batch.targets.shape[1] == 1
            assert (batch.targets[:, 0] != batch.references).all()
        else:
            assert (np.diff(batch.targets, axis=1) == 1).all()
            assert batch.targets.shape == (4, 4)


def test_stage_1_reconstructs_with_probability_tau_0():
    drawn = branches("appearance", 300, tau_0=0.25, targets=3)
    same = np.mean([(b.targets[:, 0] == b.references).mean() for b in drawn])
    assert same == pytest.approx(0.25, abs=0.05)
    assert all((b.targets[:, 1:] != b.references[:, None]).all() for b in drawn)


def test_learning_rate_rises_holds_and_falls():
    loop = LoopSettings(steps=100, lr=1.0, warmup=10, decay=0.5)
    rates = [learning_rate(step, loop) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[20] == rates[49] == 1.0
    assert all(a >= b for a, b in pairwise(rates[50:]))
    assert rates[-1] < 0.1
    late = [learning_rate(20, loop, passed=passed) for passed in (0.1, 0.5, 0.75, 1.0, 2.0)]
    assert late == pytest.approx([1.0, 1.0, 0.525, 0.05, 0.05])


def test_other_vae_is_noticed(trained, tmp_path):
    content = configuration(trained, "appearance") | {"out": str(tmp_path / "x"), "vae_folder": str(tmp_path / "vae")}
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(trained / "vae" / "vae")
    vae.register_to_config(scaling_factor=3.0)
    vae.save_pretrained(tmp_path / "vae")
    with pytest.raises(InputError, match="another VAE"):
        run(settings(tmp_path / "c.yaml", content), CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "nonsense"}, "stage"),
        ({"vae": None}, "needs vae"),
        ({"surprise": 1}, "surprise"),
        ({"loop": {"steps": 0}}, "loop.steps"),
        ({"vae_folder": "somewhere"}, "vae_folder"),
        ({"vae": {"further_channels": 8}}, "vae.start"),
        ({"noise": "static"}, "without start"),
    ],
)
def test_bad_configuration_is_one_sentence(tmp_path, change, message):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(configuration(tmp_path, "vae") | change))
    result = CliRunner().invoke(app, ["train", str(path)])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_missing_configuration_and_data(tmp_path):
    assert CliRunner().invoke(app, ["train", str(tmp_path / "none.yaml")]).exit_code == 2
    path = tmp_path / "vae.yaml"
    path.write_text(yaml.safe_dump(configuration(tmp_path, "vae")))
    result = CliRunner().invoke(app, ["train", str(path)])
    assert result.exit_code == 2
    assert "no data set" in result.output


def test_shipped_configurations_parse_and_take_overrides():
    configs = Path(__file__).resolve().parents[2] / "configs" / "tiny"
    found = {path.stem: read_settings(path, ["loop.steps=7"]) for path in sorted(configs.glob("*.yaml"))}
    stages = {"warp": "appearance", "temporal_warp": "temporal", "pose": "appearance", "depth": "appearance"}
    stages |= {"lora": "appearance", "unknown": "temporal"}
    named = ("vae", "appearance", "temporal", "detail", "distill", "decoder")
    stages |= {"vae_decoder": "vae"} | {name: name for name in named}
    stages |= {"wide_vae": "vae", "wide_decoder": "vae", "wide": "appearance"}
    stages |= {"gpu_vae": "vae", "gpu": "appearance", "gpu_temporal": "temporal", "gpu_detail": "detail"}
    assert {name: s.stage for name, s in found.items()} == stages
    assert all(s.loop.steps == 7 for s in found.values())
