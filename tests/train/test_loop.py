"""The loop when things go wrong, and what it keeps: kills, full disks, values that are not finite, the best weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

import children
from blocks import configuration, settings, write_blocks
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.train.checkpoints import BEST, CHECKPOINT
from magicanimate.train.config import read_settings
from magicanimate.train.data_parallel import buckets
from magicanimate.train.log import BOARD, LOG, keep_log_before
from magicanimate.train.loop import LoopSettings, train
from magicanimate.train.run import run

CPU = torch.device("cpu")
LOOP = LoopSettings(steps=6, batch=4, save_every=2, grid_every=2, log_every=1, warmup=1, tensorboard=False)


class Line:
    """Learns y = 2 x; its loss or its gradient is not finite at one step; held-out figures as given."""

    def __init__(self, poison: str = "", at: int = 3, held_out: list[dict[str, float]] | None = None) -> None:
        torch.manual_seed(0)
        self.line, self.count, self.poison, self.at = torch.nn.Linear(1, 1), 0, poison, at
        self.held_out = list(held_out or [])
        self.modules: dict[str, torch.nn.Module] = {"line": self.line}

    def trainable(self):
        return list(self.line.named_parameters())

    def clips(self, rng: np.random.Generator, batch: int) -> list[str]:
        return [f"clip-{rng.integers(1000)}"]

    def loss(self, rng, generator, batch):
        self.drawn = f"clip-{rng.integers(1000)}"
        x = torch.randn(batch, 1, generator=generator)
        loss = (self.line(x) - 2 * x).square().mean()
        if self.count == self.at and self.poison == "loss":
            loss = loss * float("inf")
        if self.count == self.at and self.poison == "gradient":
            loss = loss + 0 * (self.line.weight * 0).sqrt().sum()
        self.count += 1
        return loss, {}

    def grid(self, path):
        return self.held_out.pop(0) if self.held_out else {}


def weight(out: Path, name: str = CHECKPOINT) -> torch.Tensor:
    return torch.load(out / name, weights_only=True)["modules"]["line"]["weight"]


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_what_is_not_finite_stops_with_step_and_clips(tmp_path, poison):
    stage = Line(poison)
    with pytest.raises(InputError) as caught:
        train(stage, LOOP, tmp_path / "bad", CPU)
    assert f"The {poison} of step 3 (clips {stage.drawn}) is not finite" in str(caught.value)
    assert torch.load(tmp_path / "bad" / CHECKPOINT, weights_only=True)["step"] == 2
    train(Line(), LOOP.model_copy(update={"steps": 2, "decay": 0.0}), tmp_path / "good", CPU)
    assert torch.equal(weight(tmp_path / "bad"), weight(tmp_path / "good"))
    assert train(Line(), LOOP, tmp_path / "bad", CPU) == 6  # without the poison it goes on from there


def test_not_a_number_in_the_data_ends_the_command_with_code_2(trained, tmp_path):
    """A cached latent that is not a number: one sentence that names the clip, and the checkpoint before it stays."""
    write_blocks(tmp_path / "train", 6, 5)
    content = configuration(trained, "appearance", steps=40, batch=1, save_every=1, log_every=1)
    content |= {"out": str(tmp_path / "out"), "data": str(tmp_path / "train")}
    path = tmp_path / "nan.yaml"
    run(settings(path, content | {"loop": content["loop"] | {"steps": 1, "decay": 0.0}}), CPU)
    latents = np.load(tmp_path / "train" / "latents" / "latents.npy", mmap_mode="r+")
    latents[4] = np.nan
    latents.flush()
    path.write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(app, ["train", str(path), "--device", "cpu"])
    assert result.exit_code == 2
    assert "(clips 4) is not finite" in result.output
    assert "Traceback" not in result.output
    stopped = int(result.output.split(" of step ")[1].split()[0])
    assert torch.load(tmp_path / "out" / CHECKPOINT, weights_only=True)["step"] == stopped


def test_a_checkpoint_that_cannot_be_written_leaves_the_previous_one_whole(trained, tmp_path):
    """Files end after 100 kB, as on a full disk: the real command, the kernel's own error."""
    content = configuration(trained, "vae", steps=2, save_every=2)
    content["out"] = str(tmp_path / "vae")
    path = tmp_path / "vae.yaml"
    run(settings(path, content), CPU)
    before = (tmp_path / "vae" / CHECKPOINT).read_bytes()
    log = tmp_path / "printed.txt"
    child = children.start(["train", str(path), "--set", "loop.steps=6"], log, largest_file=100_000)
    assert children.codes([child]) == [2], log.read_text()
    assert "cannot be written (the disk is full" in " ".join(log.read_text().split())
    assert "Traceback" not in log.read_text()
    assert (tmp_path / "vae" / CHECKPOINT).read_bytes() == before
    assert not list((tmp_path / "vae").glob("*.part"))
    assert torch.load(tmp_path / "vae" / CHECKPOINT, weights_only=True)["step"] == 2


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(Line(), LOOP, tmp_path, CPU)
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:200])
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged"):
        train(Line(), LOOP, tmp_path, CPU)


def test_a_line_of_the_log_that_was_cut_off_is_dropped(tmp_path):
    log = tmp_path / LOG
    log.write_text('{"step": 0, "loss": 1}\n{"step": 1, "loss": 1}\n{"step": 2, "lo')
    keep_log_before(log, 5)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [0, 1]


def test_best_weights_by_held_out_figures(tmp_path):
    """The second of three grids is the best: its averaged weights are kept, and are the result if asked for."""
    figures = [{"part_accuracy": a, "psnr": 20.0} for a in (0.3, 0.6, 0.5)]
    last, best = Line(held_out=figures), Line(held_out=figures)
    train(last, LOOP, tmp_path / "last", CPU)
    content = torch.load(tmp_path / "last" / BEST, weights_only=True)
    assert set(content) == {"step", "modules", "figures"}  # no optimizer
    assert content["step"] == 4
    train(best, LOOP.model_copy(update={"result": "best"}), tmp_path / "best", CPU)
    assert torch.equal(best.line.weight, weight(tmp_path / "best", BEST))
    assert torch.equal(last.line.weight, torch.load(tmp_path / "last" / CHECKPOINT, weights_only=True)["ema"]["weight"])
    assert not torch.equal(last.line.weight, best.line.weight)


@pytest.mark.parametrize(("by", "step"), [(("part_accuracy", "psnr"), 6), (("-part_error",), 2), (("nothing",), None)])
def test_what_counts_as_best_is_chosen(tmp_path, by, step):
    figures = [
        {"part_accuracy": 0.5, "psnr": 20.0, "part_error": 10.0},
        {"part_accuracy": 0.5, "psnr": 19.0, "part_error": 12.0},
        {"part_accuracy": 0.5, "psnr": 21.0, "part_error": 11.0},
    ]
    train(Line(held_out=figures), LOOP.model_copy(update={"best": by}), tmp_path, CPU)
    found = torch.load(tmp_path / BEST, weights_only=True)["step"] if (tmp_path / BEST).exists() else None
    assert found == step


def test_tensorboard_has_scalars_and_sample_grids(trained, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    content = configuration(trained, "vae", steps=4, grid_every=2) | {"out": str(tmp_path / "vae")}
    run(settings(tmp_path / "vae.yaml", content), CPU)
    events = EventAccumulator(str(tmp_path / "vae" / BOARD)).Reload()
    tags = events.Tags()
    assert {"train/loss", "train/psnr", "held_out/psnr"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("train/loss")] == [0, 1, 2, 3]
    assert [event.step for event in events.Images("grid")] == [1, 3]
    losses = [json.loads(line).get("loss") for line in (tmp_path / "vae" / LOG).read_text().splitlines()]
    shown = [event.value for event in events.Scalars("train/loss")]
    assert shown == pytest.approx([loss for loss in losses if loss is not None], rel=1e-5)


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("temporal", {"branches": {"stage": "temporal", "window": 9}}, "window: stage temporal with clips of 9 frames"),
        ("temporal", {"branches": {"stage": "temporal", "window": 5}}, "need 6 frames, but the data has 5"),
        ("appearance", {"branches": {"stage": "appearance", "targets": 5}}, "5 targets and a reference"),
        ("appearance", {"branches": {"stage": "appearance", "unknown_weight": 2.0}}, "is not shown the warped picture"),
        ("temporal", {"branches": {"stage": "appearance"}}, "branches.stage must be temporal"),
        ("distill", {"distill": None}, "stage distill needs distill"),
        ("distill", {"distill": {"steps": 7}}, "7 few steps do not divide"),
        ("distill", {"distill": {"stepz": 4}}, "distill.stepz"),
        ("temporal", {"start": "nowhere"}, "nowhere"),
    ],
)
def test_a_stage_that_does_not_fit_is_one_sentence(trained, tmp_path, stage, changes, message):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(configuration(trained, stage) | {"out": str(tmp_path / "out")} | changes))
    result = CliRunner().invoke(app, ["train", str(path), "--device", "cpu"])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_pictures_that_do_not_fit_the_latents(trained, tmp_path):
    write_blocks(tmp_path / "odd", 2, 5, size=36)
    content = configuration(trained, "temporal") | {"out": str(tmp_path / "out"), "data": str(tmp_path / "odd")}
    with pytest.raises(InputError, match=r"data: pictures of 36 pixels do not fit the model"):
        run(settings(tmp_path / "odd.yaml", content), CPU)


def torchrun(path: Path) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, "-m", "magicanimate", "train", str(path), "--device", "cpu"],
        capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "ACCELERATE_USE_CPU": "true"},
    )  # fmt: skip


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def averages(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / CHECKPOINT, weights_only=True)["ema"]


def write_run(trained: Path, root: Path, name: str, **loop: object) -> Path:
    """The configuration of a run that is worth killing, with its results in `root / name`."""
    chosen = {"steps": 16, "batch": 2, "accumulate": 2, "save_every": 5, "grid_every": 100, "tensorboard": False}
    content = configuration(trained, "appearance", **(chosen | loop)) | {"out": str(root / name)}
    (root / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return root / f"{name}.yaml"


def start_training(processes: int, path: Path, log: Path) -> list[BaseProcess]:
    arguments = ["train", str(path), "--device", "cpu"]
    return children.start_ranks(processes, arguments, log) if processes > 1 else [children.start(arguments, log)]


def kill_after(steps: int, running: list[BaseProcess], out: Path) -> None:
    """Kill every process of a training, without warning, once the log shows so many steps."""
    end = time.monotonic() + 600
    while not (out / LOG).exists() or len((out / LOG).read_text().splitlines()) < steps:
        assert all(process.is_alive() for process in running), "training ended by itself"
        assert time.monotonic() < end, "training does not get on"
        time.sleep(0.02)
    for process in running:
        process.kill()
    assert children.codes(running) == [-signal.SIGKILL] * len(running)


@pytest.fixture(scope="module")
def alone(trained, tmp_path_factory) -> Path:
    """A run that nobody disturbed, in this one process."""
    root = tmp_path_factory.mktemp("alone")
    run(read_settings(write_run(trained, root, "alone")), CPU)
    return root / "alone"


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_repeated_is_as_good_as_uninterrupted(trained, alone, tmp_path, processes):
    """SIGKILL in the middle, then the same command: the loss curve and the weights of a run that nobody disturbed."""
    killed, log = write_run(trained, tmp_path, "killed"), tmp_path / "printed.txt"
    kill_after(7, start_training(processes, killed, log), tmp_path / "killed")
    assert 7 <= len(losses(tmp_path / "killed")) < 16
    if processes == 1:
        assert children.codes(start_training(1, killed, log)) == [0], log.read_text()
        whole = alone
    else:
        again = torchrun(killed)
        assert again.returncode == 0, again.stderr
        assert again.stdout.count("Wrote ") == 1
        undisturbed = start_training(2, write_run(trained, tmp_path, "whole"), log)
        assert children.codes(undisturbed) == [0, 0], log.read_text()
        whole = tmp_path / "whole"
    assert log.read_text().count("Wrote ") == 1
    assert losses(tmp_path / "killed") == losses(whole)
    assert len(losses(whole)) == 16
    resumed, uninterrupted = averages(tmp_path / "killed"), averages(whole)
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in resumed)
    if processes > 1:  # in one process: the same batches, summed in another order
        assert losses(alone) == pytest.approx(losses(whole), abs=2e-3)


def test_another_seed_is_another_run(trained, alone, tmp_path):
    """The equalities above notice other batches."""
    run(read_settings(write_run(trained, tmp_path, "other", seed=9)), CPU)
    assert losses(tmp_path / "other") != pytest.approx(losses(alone), abs=2e-3)
    own, others = averages(alone), averages(tmp_path / "other")
    assert not all(torch.equal(own[name], others[name]) for name in own)


def test_gradients_travel_in_order_and_not_all_at_once():
    tensors = [torch.full((size,), float(size)) for size in (3, 4, 5, 1, 2)]
    found = list(buckets(tensors, most=6))
    assert [tensor.numel() for bucket in found for tensor in bucket] == [3, 4, 5, 1, 2]
    assert [sum(tensor.numel() for tensor in bucket) for bucket in found] == [7, 6, 2]


def test_a_failure_of_several_processes_is_told_once(trained, tmp_path):
    """Too few batches for two processes, and clips that are not finite in one process only."""
    content = configuration(trained, "appearance") | {"out": str(tmp_path / "few")}
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(content))
    log = tmp_path / "printed.txt"
    codes = children.codes(start_training(2, tmp_path / "few.yaml", log))
    assert codes == [2, 2], log.read_text()
    assert " ".join(log.read_text().split()).count("2 processes cannot share 1 batch(es)") == 1
