"""Recorded work, with a recorder that runs it again where it was recorded: on a CPU there are no CUDA graphs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from magicanimate.engine import cuda_graphs as graphs
from magicanimate.engine.acceleration import accelerate_model
from magicanimate.engine.cuda_graphs import GraphCompute, Graphs
from magicanimate.engine.options import Acceleration
from magicanimate.models.compute import Compute
from magicanimate.sampling.loop import sample
from magicanimate.sampling.reuse import FeatureReuse, Policies, Reuse
from magicanimate.sampling.settings import Run, SampleSettings
from random_models import random_model
from recorders import EagerRecorder
from seeded import randn


def double(x, more, scale):
    return {"twice": 2 * x, "scaled": more["y"] * scale, "nothing": None}


def graphs_of(recorder=None, expected=10):
    made = Graphs(recorder or EagerRecorder())
    made.expected = expected
    return made


def test_results_stay_right_when_they_are_kept():
    recorder = EagerRecorder()
    called = graphs_of(recorder)
    results = [called(double, torch.full((2,), float(i)), {"y": torch.full((3,), float(i))}, 3) for i in range(5)]
    assert [r["twice"].tolist() for r in results] == [[2.0 * i] * 2 for i in range(5)]
    assert [r["scaled"].tolist() for r in results] == [[3 * i] * 3 for i in range(5)]
    assert all(r["nothing"] is None for r in results)
    assert (recorder.recorded, recorder.replayed, len(called)) == (1, 4, 1)


def test_results_that_are_not_copied_are_overwritten(monkeypatch):
    """The trap that the test before is about."""
    monkeypatch.setattr(torch.Tensor, "clone", lambda x: x)
    called = graphs_of()
    results = [called(double, torch.full((2,), float(i)), {"y": torch.ones(3)}, 3)["twice"] for i in range(5)]
    assert results[1].tolist() == results[4].tolist() == [8.0, 8.0]


@pytest.mark.parametrize(
    "other",
    [
        (torch.ones(3), {"y": torch.ones(3)}, 3), (torch.ones(2), {"y": torch.ones(3)}, 4),
        (torch.ones(2, dtype=torch.float64), {"y": torch.ones(3)}, 3),
        (torch.ones(2), {"y": torch.ones(3), "z": 1}, 3), (torch.ones(4)[::2], {"y": torch.ones(3)}, 3),
    ],
)  # fmt: skip
def test_other_arguments_are_other_work(other):
    recorder = EagerRecorder()
    called = graphs_of(recorder)
    for given in [(torch.ones(2), {"y": torch.ones(3)}, 3), other] * 3:
        torch.testing.assert_close(called(double, *given), double(*given))
    assert (recorder.recorded, len(called)) == (2, 2)


def test_inputs_of_one_kind_have_places_of_their_own():
    called = graphs_of()
    for i in range(4):
        made = called(torch.sub, torch.tensor([9.0]), torch.tensor([float(i)]))
        assert made.item() == 9 - i


def test_recorded_is_what_comes_again():
    recorder = EagerRecorder()
    called = graphs_of(recorder, expected=graphs.FEWEST_USES - 1)
    for _ in range(graphs.OFTEN):
        called(double, torch.ones(2), {"y": torch.ones(1)}, 1)
    assert recorder.recorded == 0
    for _ in range(2):
        called(double, torch.ones(2), {"y": torch.ones(1)}, 1)
    assert (recorder.recorded, recorder.replayed) == (1, 2)


def test_the_least_recently_used_is_dropped(monkeypatch):
    monkeypatch.setattr(graphs, "MOST", 2)
    recorder = EagerRecorder()
    called = graphs_of(recorder)
    for scale in (1, 1, 2, 2, 1, 3, 3, 1, 2):  # 2 is dropped for 3, and 3 for 2
        assert called(double, torch.ones(2), {"y": torch.ones(1)}, scale)["scaled"] == scale
        assert len(called) <= 2
    assert recorder.recorded == 4
    called.begin("size")
    assert len(called) == 0


def test_what_cannot_be_recorded_runs_as_it_is():
    def broken(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    called = graphs_of(broken)
    assert called(torch.add, torch.ones(1), 1) == 2
    with pytest.warns(UserWarning, match="not permitted"):
        assert called(torch.add, torch.ones(1), 1) == 2
    assert called(torch.add, torch.ones(1), 1) == 2
    assert called.recorder is None


def test_who_counts_sees_everything():
    called = graphs_of()
    for _ in range(3):
        called(torch.mm, torch.ones(2, 2), torch.ones(2, 2))
    with FlopCounterMode(display=False) as counter:
        called(torch.mm, torch.ones(2, 2), torch.ones(2, 2))
    assert counter.get_total_flops() == 16
    assert len(called) == 1


REUSING = Policies(features=FeatureReuse(2), difference=Reuse(4))
INPUTS = [
    [randn(1, 4, 8, 8, seed=i), randn(10, 3, 16, 16, seed=i + 1), randn(1, 4, 10, 8, 8, seed=i + 2)] for i in (0, 9)
]


@pytest.mark.parametrize("policies", [Policies(), REUSING])
@pytest.mark.parametrize("text", [None, (randn(1, 8, seed=7), randn(1, 8, seed=8))])
def test_a_video_is_the_same(policies, text):
    """Two videos, one after the other, in two windows: features, banks and residuals are kept across replays."""
    model = random_model("rgb")
    settings = SampleSettings(steps=6, guidance=2.0, window=8, overlap=4, policies=policies)
    plain = [sample(model, *given, settings, Run(text=text)) for given in INPUTS]
    recorder = EagerRecorder()
    graphs = Graphs(recorder)
    model = replace(model, compute=GraphCompute(graphs=graphs, bank_steps=2))
    made = [sample(model, *given, settings, Run(text=text)) for given in INPUTS]
    for ours, theirs in zip(made, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert (made[0] - plain[1]).abs().max() > 0.1
    assert recorder.replayed > 3 * recorder.recorded > 0
    model.to(dtype=torch.float32)
    assert len(graphs) == 0


@pytest.mark.parametrize("config", [{}, {"reference_input": True}])
def test_models_with_coordinates_and_a_reference_at_the_stem(config):
    model = random_model("parts", **config)
    settings = SampleSettings(steps=6, guidance=2.0, window=8, overlap=2)
    inputs = randn(1, 6, 8, 8, seed=1), randn(8, 25, 16, 16, seed=2), randn(1, 6, 8, 8, 8, seed=3)
    plain = sample(model, *inputs, settings)
    graphs = Graphs(EagerRecorder())
    model = replace(model, compute=GraphCompute(graphs=graphs))
    torch.testing.assert_close(sample(model, *inputs, settings), plain)
    assert len(graphs) == 3


def test_there_are_none_on_a_cpu():
    assert type(accelerate_model(random_model("rgb"), torch.device("cpu"), Acceleration()).compute) is Compute
