"""Stage 3: the few-step grid, the teacher's targets, and a distilled model folder that animates without guidance."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from blocks import SCHEDULE, configuration, settings, weights
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.models.model import load_model
from magicanimate.sampling.solvers import build_solver, set_steps
from magicanimate.synth.dataset import open_dataset
from magicanimate.train.cache import LatentCache
from magicanimate.train.diffusion import BranchSettings
from magicanimate.train.distill import DistillSettings, DistillStage
from magicanimate.train.forward import predict_guided, predict_noisy
from magicanimate.train.loop import LoopSettings, train
from magicanimate.train.preview import held_out
from magicanimate.train.run import run
from magicanimate.train.trajectory import Trajectory, few_step_schedule
from random_models import random_model

CPU = torch.device("cpu")
KINDS = {
    "v_prediction": SCHEDULE,
    "sample": SCHEDULE,
    "epsilon": SCHEDULE | {"rescale_betas_zero_snr": False, "timestep_spacing": "leading"},
}


def trajectory(kind: str, steps: int = 4, fine: int = 3) -> Trajectory:
    return Trajectory(KINDS[kind] | {"prediction_type": kind}, steps, fine, CPU)


def perfect(path: Trajectory, clean, noise, place):
    signal, spread = path._signal[place].float(), path._noise[place].float()
    velocity = signal.view(-1, 1, 1) * noise - spread.view(-1, 1, 1) * clean
    return {"v_prediction": velocity, "epsilon": noise, "sample": clean}[path.kind]


@pytest.mark.parametrize("kind", KINDS)
def test_steps_follow_the_schedule_and_can_be_inverted(kind):
    path = trajectory(kind)
    clean, noise, other = torch.randn(3, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    start, end = torch.tensor([0, 3, 7]), torch.tensor([3, 4, 12])
    x, x_end = path.noisy(clean, noise, start), path.noisy(clean, noise, end)
    output = perfect(path, clean, noise, start)
    assert torch.allclose(path.step(x, output, start, end), x_end, atol=2e-5)
    assert torch.allclose(x_end[2], clean[2], atol=1e-6)  # the last place is clean
    wanted = path.wanted(x, other, start, end)
    assert torch.allclose(path.step(x, wanted, start, end), other, atol=1e-4)
    assert path.loss(wanted, x, other, start, end).max() < 1e-6
    assert path.loss(output, x, other, start, end).mean() > 0.1


def test_loss_is_the_squared_error_of_the_velocity():
    path = trajectory("v_prediction")
    x, x_end, output = torch.randn(3, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    start, end = torch.tensor([0, 6]), torch.tensor([3, 9])
    expected = (output - path.wanted(x, x_end, start, end)).square()
    assert torch.allclose(path.loss(output, x, x_end, start, end), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_few_steps_are_those_of_the_sampler(kind):
    """The student's target is what diffusers' DDIM does with the distilled model's schedule."""
    schedule = KINDS[kind] | {"prediction_type": kind}
    path, solver = trajectory(kind), build_solver(few_step_schedule(schedule))
    set_steps(solver, 4)
    assert path.time(torch.arange(4) * 3).tolist() == solver.timesteps.tolist() == [999, 749, 499, 249]
    x, output = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    for number, t in enumerate(solver.timesteps):
        place = torch.tensor([3 * number])
        expected = solver.step(output, t, x).prev_sample
        assert torch.allclose(path.step(x, output, place, place + 3), expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(path.step(x, output, place, place + 2), expected, rtol=1e-4, atol=1e-4)


def test_steps_that_do_not_fit_the_schedule():
    with pytest.raises(InputError, match="3 few steps do not divide"):
        trajectory("v_prediction", steps=3)
    with pytest.raises(InputError, match="zero terminal SNR"):
        Trajectory(SCHEDULE | {"prediction_type": "epsilon"}, 4, 1, CPU)


def batch(model, samples: int = 3, frames: int = 2):
    generator = torch.Generator().manual_seed(4)
    noisy = torch.randn(samples, model.latent_channels, frames, 4, 4, generator=generator)
    reference = torch.randn(samples, model.latent_channels, 4, 4, generator=generator)
    planes = torch.rand(samples * frames, 25, 8, 8, generator=generator)
    return noisy, torch.tensor([900, 500, 100]), reference, planes


@torch.no_grad()
def test_dropped_samples_see_no_reference_and_the_others_do():
    model = random_model("parts", reference_input=True)
    noisy, t, reference, planes = batch(model)
    dropped = torch.tensor([False, True, False])
    mixed = predict_noisy(model, noisy, t, reference, planes, True, dropped)
    with_it = predict_noisy(model, noisy, t, reference, planes, True)
    without = predict_noisy(model, noisy, t, reference, planes, True, torch.ones(3, dtype=torch.bool))
    assert torch.allclose(mixed[[0, 2]], with_it[[0, 2]], atol=1e-5)
    assert torch.allclose(mixed[1], without[1], atol=1e-5)
    assert not torch.allclose(with_it[1], without[1], atol=1e-2)
    other = predict_noisy(model, noisy, t, reference.roll(1, 0), planes, True, dropped)
    assert torch.equal(other[1], mixed[1])
    guided = predict_guided(model, noisy, t, reference, planes, True, 3.0)
    assert torch.allclose(guided, without + 3 * (with_it - without), atol=1e-4)
    assert torch.equal(predict_guided(model, noisy, t, reference, planes, True, 1.0), with_it)


def distillation(root, window: int = 3, guidance: float = 3.0, teacher_steps: int = 2, **changes: object):
    teacher = load_model(root / "temporal" / "model")
    data = LatentCache(*(np.load(root / "train" / "latents" / f"{n}.npy") for n in ("latents", "planes")))
    branches = BranchSettings(stage="distill", window=window, tau_1=0.0, tau_2=0.3, targets=2)
    chosen = DistillSettings(steps=4, teacher_steps=teacher_steps, guidance=guidance, **changes)
    held = held_out(open_dataset(root / "test"), 2, slice(1, 4))
    return DistillStage(teacher, data, branches, chosen, held, {"temporal": window > 1}, CPU)


@torch.no_grad()
def losses(stage: DistillStage, count: int = 6) -> float:
    seeded = [(np.random.default_rng(i), torch.Generator().manual_seed(i)) for i in range(count)]
    return float(np.mean([float(stage.loss(*pair, 4)[0]) for pair in seeded]))


@pytest.mark.parametrize("window", [1, 3])
def test_nothing_to_learn_from_a_teacher_without_guidance_and_finer_steps(trained, window):
    assert losses(distillation(trained, window, guidance=1.0, teacher_steps=1), 3) < 1e-8
    assert losses(distillation(trained, window, guidance=3.0, teacher_steps=1), 3) > 1e-5


class OneTrajectory(DistillStage):
    """One picture and one noise, so that seconds of training are enough."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        latents = rng.normal(size=(1, 1, 6, 4, 4)).astype(np.float16).repeat(3, 1)
        planes = rng.integers(0, 255, (1, 1, 25, 8, 8), dtype=np.uint8).repeat(3, 1)
        self.data = LatentCache(latents, planes)
        branches = BranchSettings(stage="distill", window=1, targets=1)
        chosen = DistillSettings(steps=4, teacher_steps=2, guidance=3.0, on_policy=1.0)
        super().__init__(random_model("parts", reference_input=True), self.data, branches, chosen, None, {}, CPU)

    def _noise(self, clean, generator):
        return torch.randn(1, *clean.shape[1:], generator=torch.Generator().manual_seed(7)).expand(clean.shape)

    def grid(self, path):
        return {}

    @torch.no_grad()
    def apart(self) -> float:
        """Squared distance of the student's sample, in 4 steps, from the teacher's, in 8 with guidance."""
        clean, planes = self.data.take(np.array([0]), np.array([[0]]), CPU)
        noise, conditions = self._noise(clean, None), (clean[:, :, 0], planes, False)
        mine = self._rollout(noise, torch.tensor([4]), torch.tensor([True]), *conditions)
        its = noise
        for place in (0, 2, 4, 6):
            its = self._teach(its, torch.tensor([place]), *conditions)
        return float((mine - its).square().mean())


def test_the_student_arrives_where_its_teacher_does(tmp_path):
    """A quarter of the calls, on its own trajectory from pure noise; and not without a learning rate."""
    loop = LoopSettings(
        steps=40, batch=4, lr=3e-3, warmup=1, decay=0.5, ema=0.5, save_every=99, log_every=40, tensorboard=False
    )
    stage = OneTrajectory()
    before = stage.apart()
    train(stage, loop, tmp_path / "run", CPU)
    assert stage.apart() < 0.1 * before
    idle = OneTrajectory()
    train(idle, loop.model_copy(update={"lr": 1e-12, "steps": 2}), tmp_path / "idle", CPU)
    assert idle.apart() == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "window", "spatial", "temporal"),
    [({}, 3, True, True), ({"spatial": False}, 3, False, True), ({}, 1, True, False)],
)
def test_what_is_trained_is_chosen(trained, changes, window, spatial, temporal):
    names = [name for name, _ in distillation(trained, window, **changes).trainable()]
    assert any(".motion_modules." in name for name in names) == temporal
    assert any(".motion_modules." not in name for name in names) == spatial


def test_a_distilled_folder_animates_in_few_steps_without_guidance(trained, tmp_path, picture_path, motion_path):
    content = configuration(trained, "distill") | {"out": str(tmp_path / "few")}
    folder = run(settings(tmp_path / "few.yaml", content), CPU)
    description = json.loads((folder / "model.json").read_text())
    assert (description["steps"], description["guidance"]) == (2, 1.0)
    assert description["scheduler"]["timestep_spacing"] == "trailing"
    assert description["training"]["distilled"]["guidance"] == 1.5
    before, after = weights(trained / "temporal" / "model"), weights(folder)
    changed = {name.partition(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"denoiser"}
    lines = [json.loads(line) for line in (tmp_path / "few" / "log.jsonl").read_text().splitlines()]
    assert {"psnr", "teacher_psnr", "to_teacher"} <= set(lines[-1]["grid"])
    arguments = ["animate", "--image", str(picture_path), "--motion", str(motion_path), "--model", str(folder)]
    more = ["--device", "cpu", "--size", "32x32", "--max-frames", "4", "-o", str(tmp_path / "video.mp4")]
    result = CliRunner().invoke(app, [*arguments, *more])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "video.mp4.json").read_text())
    assert (written["settings"]["steps"], written["settings"]["guidance"]) == (2, 1.0)
