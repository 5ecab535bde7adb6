"""Several processes on one job: what each does, that the result is the same, and how failures end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import children
from magicanimate.cli.main import app
from magicanimate.engine.ranks import Ranks
from magicanimate.errors import InputError
from magicanimate.media import open_clip
from magicanimate.sampling.control_features import ControlSource
from magicanimate.sampling.settings import Run, SampleSettings
from magicanimate.sampling.video import VideoDenoiser, check_ranks
from magicanimate.sampling.windows import plan_windows
from random_models import random_model
from seeded import randn


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # whole lines, whoever else writes


def meet(how: str) -> None:
    """Run one of several processes: exchange something, after which the second one may fail or die."""
    ranks = Ranks.from_environment()
    try:
        with ranks.together():
            own = [torch.full((2,), float(i)) for i in ranks.shard(5)]
            say("order", ranks.rank, [int(t[0]) for t in ranks.ordered_all_gather(own, 5)])
            say("first", ranks.rank, ranks.gather(ranks.rank), ranks.broadcast(ranks.rank + 7))
            if ranks.rank == 1 and how == "fails":
                raise InputError("Something is wrong here.")
            if ranks.rank == 1 and how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            ranks.barrier()
    except InputError as error:
        say("told", ranks.rank, error)
        sys.exit(2)
    say("fine", ranks.rank)


def met(processes: int, how: str, log: Path) -> tuple[list[int | None], str]:
    """Exit codes of so many processes that meet, and what they said."""
    places = children.rank_environments(processes)
    running = [children.start_function(meet, how, log=log, **place) for place in places]
    return children.codes(running), log.read_text()


@pytest.mark.parametrize("count", [0, 1, 5, 9])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_are_runs_that_cover_everything_once(count, size):
    shares = [Ranks(rank, size).shard(count) for rank in range(size)]
    assert [index for share in shares for index in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert Ranks(0, size).shard(count, size - 1) == shares[-1]


def test_alone_nothing_is_exchanged():
    alone = Ranks.from_environment()
    own = iter(["a", "b"])
    passed = alone.ordered_all_gather(own, 2)
    assert next(passed) == "a"
    assert next(own) == "b"  # they are not collected first
    assert (alone.gather(3), alone.broadcast(4), alone.first) == ([3], 4, True)


def test_more_processes_than_windows_are_one_sentence():
    check_ranks(Ranks(0, 3), 3)
    with pytest.raises(InputError, match="3 processes cannot share 2 windows"):
        check_ranks(Ranks(0, 3), 2)


def test_what_processes_exchange(tmp_path):
    codes, said = met(3, "works", tmp_path / "said.txt")
    assert codes == [0, 0, 0], said
    for rank, first in enumerate(["[0, 1, 2]", "[]", "[]"]):
        assert f"order {rank} [0, 1, 2, 3, 4]" in said.splitlines()
        assert f"first {rank} {first} 7" in said.splitlines()
        assert f"fine {rank}" in said.splitlines()


def test_a_process_that_fails_ends_all_with_its_sentence(tmp_path):
    codes, said = met(2, "fails", tmp_path / "said.txt")
    assert codes == [2, 2], said
    assert "told 0 Process 2 of 2: Something is wrong here." in said
    assert "fine" not in said


def test_a_process_that_is_killed_ends_all(tmp_path):
    codes, said = met(2, "dies", tmp_path / "said.txt")
    assert codes == [2, -signal.SIGKILL], said
    assert "fine" not in said
    assert said.count("told 0 Another process of this job ended without a word") == 1


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("wrap", [False, True])
def test_a_share_of_the_windows_is_computed_to_the_same_bit(size, wrap):
    """Windows of any overlap: what one process computes does not depend on which windows it computes beside."""
    model = random_model("parts")
    settings = SampleSettings(window=6, overlap=4, wrap=wrap, guidance=2.0)
    latents = randn(1, 6, 14, 8, 8, seed=1)
    control = ControlSource.of(randn(14, 25, 16, 16, seed=2))
    time = torch.tensor(500)

    def predicted(own: range | None = None) -> list[torch.Tensor]:
        denoise = VideoDenoiser(model, settings, time[None], 14, Run())
        with torch.no_grad():
            denoise.prepare(randn(1, 6, 8, 8, seed=3), control, latents.shape)
            return list(denoise.predictions(latents, time, denoise.plan(0), denoise.own if own is None else own))

    windows = plan_windows(14, 6, 4, wrap)
    alone = predicted()
    assert len(alone) == len(windows)
    shared = [tensor for rank in range(size) for tensor in predicted(Ranks(rank, size).shard(len(windows)))]
    assert all(torch.equal(one, other) for one, other in zip(alone, shared, strict=True))
    assert not torch.equal(alone[0], alone[1])


@pytest.mark.slow
def test_the_same_video_on_several_processes(picture_path, motion_path, model_folder, tmp_path):
    def arguments(out: Path, *more: str) -> list[str]:
        return [
            "animate", "--image", str(picture_path), "--motion", str(motion_path), "--model", str(model_folder),
            "--device", "cpu", "--steps", "2", "--window", "4", "--overlap", "2", "--loop", "-o", str(out), *more,
        ]  # fmt: skip

    log = tmp_path / "printed.txt"
    shared = children.start_ranks(3, arguments(tmp_path / "shared"), log)
    assert children.codes(shared) == [0, 0, 0], log.read_text()
    assert log.read_text().count("Wrote ") == 1
    assert log.read_text().count("Denoising") == 1
    assert CliRunner().invoke(app, arguments(tmp_path / "alone")).exit_code == 0
    assert CliRunner().invoke(app, arguments(tmp_path / "other", "--seed", "2")).exit_code == 0
    videos = {name: np.stack(list(open_clip(tmp_path / name))) for name in ("shared", "alone", "other")}
    assert np.array_equal(videos["shared"], videos["alone"])
    assert not np.array_equal(videos["other"], videos["alone"])


@pytest.mark.parametrize(("rank", "told"), [("0", 1), ("1", 0)])
def test_bad_input_is_told_by_the_first_process(monkeypatch, rank, told):
    monkeypatch.setenv("RANK", rank)
    result = CliRunner().invoke(app, ["animate", "--image", "nobody.png", "--motion", "none.mp4"])
    assert (result.exit_code, result.stderr.count("Error: ")) == (2, told)
