"""Interrupted runs: what is kept, what is refused, and that the result is the same."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import children
from magicanimate import InputError, MagicAnimatePipeline
from magicanimate.cli.main import app
from magicanimate.media import open_clip
from magicanimate.sampling.checkpoint import (
    STEP_NAME,
    Checkpoint,
    check_resume,
    differences,
    discard_steps,
    resume_folder,
)
from magicanimate.sampling.loop import sample, sample_steps
from magicanimate.sampling.reuse import FeatureReuse, Policies, Reuse
from magicanimate.sampling.settings import Run, SampleSettings
from magicanimate.sampling.solvers import SOLVERS
from random_models import random_model
from seeded import randn

FAST = SampleSettings(steps=5, guidance=2.0, window=4, overlap=1, seed=3)
ABOUT = {"settings": {"seed": 1, "steps": 2}, "picture": "abc"}


@pytest.fixture(scope="module")
def model():
    return random_model("rgb")


def inputs(frames=5):
    return randn(1, 4, 8, 8, seed=1), randn(frames, 3, 16, 16, seed=2), randn(1, 4, frames, 8, 8, seed=3)


def interrupted(model, settings, folder, after):
    """Take some steps with a checkpoint and forget everything else."""
    steps = sample_steps(model, *inputs(), settings, Run(checkpoint=Checkpoint(folder, ABOUT)))
    for _ in range(after):
        next(steps)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_continued_run_gives_the_same_bits_whatever_the_solver(model, solver, tmp_path):
    settings = replace(FAST, solver=solver, eta=0.5 if solver == "ddim" else 0.0)
    whole = sample(model, *inputs(), settings)
    interrupted(model, settings, tmp_path / "steps", after=3)
    calls: list[tuple[str, int, int]] = []
    continued = sample(
        model,
        *inputs(),
        settings,
        Run(progress=lambda *call: calls.append(call), checkpoint=Checkpoint(tmp_path / "steps", ABOUT)),
    )
    assert torch.equal(continued, whole)
    denoised = [done for stage, done, _ in calls if stage == "denoise"]
    assert denoised[0] == 3 * 2  # steps times windows
    assert not torch.equal(sample(model, *inputs(), replace(settings, steps=4)), whole)


def test_without_its_history_a_multistep_solver_goes_another_way(model, tmp_path):
    """Negative control: the latents alone are not enough."""
    settings = replace(FAST, solver="dpm++")
    interrupted(model, settings, tmp_path, after=3)
    fresh = Checkpoint(tmp_path / "first", ABOUT)
    interrupted(model, settings, tmp_path / "first", after=1)
    kept = Checkpoint(tmp_path, ABOUT).load()
    kept["solver"]["schedulers"][0]["model_outputs"] = fresh.load()["solver"]["schedulers"][0]["model_outputs"]
    Checkpoint(tmp_path, ABOUT).save(kept)
    continued = sample(model, *inputs(), settings, Run(checkpoint=Checkpoint(tmp_path, ABOUT)))
    assert not torch.equal(continued, sample(model, *inputs(), settings))


@pytest.mark.parametrize("policies", [Policies(features=FeatureReuse(2)), Policies(difference=Reuse(2))])
def test_steps_that_take_over_from_the_one_before_are_not_resumed_at(model, policies, tmp_path):
    settings = replace(FAST, policies=policies)
    whole = sample(model, *inputs(), settings)
    interrupted(model, settings, tmp_path, after=4)
    held = Checkpoint(tmp_path, ABOUT).load()
    assert held is None or held["finished"] == 4 - 4 % 2
    assert torch.equal(sample(model, *inputs(), settings, Run(checkpoint=Checkpoint(tmp_path, ABOUT))), whole)


def test_a_finished_run_is_not_computed_again(model, tmp_path):
    whole = sample(model, *inputs(), FAST, Run(checkpoint=Checkpoint(tmp_path, ABOUT)))
    rows: list[int] = []
    handle = model.denoiser.conv_in.register_forward_hook(lambda *call: rows.append(1))
    assert torch.equal(sample(model, *inputs(), FAST, Run(checkpoint=Checkpoint(tmp_path, ABOUT))), whole)
    handle.remove()
    assert rows == []


def test_other_settings_are_one_sentence_that_names_them(tmp_path):
    Checkpoint(tmp_path, ABOUT).save({"finished": 1})
    assert Checkpoint(tmp_path, ABOUT).load() == {"finished": 1}
    with pytest.raises(InputError, match=r"\(picture, seed\);"):
        Checkpoint(tmp_path, {"settings": {"seed": 2, "steps": 2}, "picture": "abd"}).load()
    assert differences(ABOUT, ABOUT) == []


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    Checkpoint(tmp_path, ABOUT).save({"latents": torch.zeros(1000)})
    path = tmp_path / STEP_NAME
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match="is damaged"):
        Checkpoint(tmp_path, ABOUT).load()


def test_a_checkpoint_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="could not be written"):
        Checkpoint(tmp_path / "taken", ABOUT).save({})


def test_patience(tmp_path):
    Checkpoint(tmp_path / "steps", ABOUT, patience=60).save({})
    assert not (tmp_path / "steps").exists()


def test_finished_steps_are_neither_overlooked_nor_deleted_unasked(tmp_path):
    out = tmp_path / "dance.mp4"
    check_resume(out, resume=False, overwrite=False)
    Checkpoint(resume_folder(out), ABOUT).save({})
    check_resume(out, resume=True, overwrite=False)
    with pytest.raises(InputError, match="--resume to go on"):
        check_resume(out, resume=False, overwrite=False)
    assert resume_folder(out).is_dir()
    check_resume(out, resume=False, overwrite=True)
    assert not resume_folder(out).exists()


def test_a_folder_with_other_things_stays(tmp_path):
    Checkpoint(tmp_path / "steps", ABOUT).save({})
    (tmp_path / "steps" / "mine.txt").write_text("mine")
    discard_steps(tmp_path / "steps")
    assert [path.name for path in (tmp_path / "steps").iterdir()] == ["mine.txt"]


def test_the_pipeline_knows_its_job_again(model_folder, picture_path, motion_path, tmp_path):
    from magicanimate.animation.settings import make_settings

    pipe = MagicAnimatePipeline.from_pretrained(model_folder, device="cpu")

    def frames(**settings):
        job = pipe.prepare(picture_path, motion_path, make_settings(steps=1, **settings))
        return np.stack(list(pipe.frames(job, resume_folder=tmp_path / "steps")))

    first = frames()
    assert np.array_equal(frames(), first)
    for other in ({"seed": 2}, {"size": "32x32"}, {"max_frames": 3}):
        with pytest.raises(InputError, match="other settings or inputs"):
            frames(**other)
    with torch.no_grad():
        next(pipe.model.denoiser.parameters()).add_(1)
    with pytest.raises(InputError, match=r"\(model\)"):
        frames()


def command(picture, motion, model, out: Path, *options: str) -> list[str]:
    return [
        "animate", "--image", str(picture), "--motion", str(motion), "--model", str(model), "--device", "cpu",
        "--steps", "16", "--scheduler", "euler-a", "-o", str(out), *options,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(picture_path, motion_path, model_folder, tmp_path_factory) -> np.ndarray:
    out = tmp_path_factory.mktemp("whole") / "out.mp4"
    assert CliRunner().invoke(app, command(picture_path, motion_path, model_folder, out)).exit_code == 0
    return np.stack(list(open_clip(out)))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 3)])
def test_killed_and_resumed(picture_path, motion_path, model_folder, uninterrupted, tmp_path, sent, code):
    arguments = command(picture_path, motion_path, model_folder, tmp_path / "out.mp4", "--resume")
    log = tmp_path / "printed.part"
    process = children.start(arguments, log)
    step = resume_folder(tmp_path / "out.mp4") / STEP_NAME
    deadline = time.monotonic() + 120
    while not step.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, sent)
    assert children.codes([process], 60) == [code], log.read_text()
    told = log.read_text()
    assert ("--resume goes on" in told) == (code == 3)
    assert "Traceback" not in told
    assert step.exists()
    assert not (tmp_path / "out.mp4").exists()

    refused = CliRunner().invoke(app, arguments[:-1])
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    other = CliRunner().invoke(app, [*arguments, "--seed", "9"])
    assert (other.exit_code, "(seed)" in other.stderr) == (2, True)

    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(np.stack(list(open_clip(tmp_path / "out.mp4"))), uninterrupted)
    assert json.loads((tmp_path / "out.mp4.json").read_text())["settings"]["steps"] == 16
    left = {path.name for path in tmp_path.iterdir() if not path.name.endswith(".part")}
    assert left == {"out.mp4", "out.mp4.json"}
