"""Condition features by frame: kept while there is room, and the same when there is none."""

from __future__ import annotations

import pytest
import torch

from magicanimate.sampling.control_features import ControlSource, FrameFeatures
from magicanimate.sampling.loop import sample
from magicanimate.sampling.settings import SampleSettings
from random_models import random_model
from seeded import randn

PLANES = randn(6, 3, 16, 16, seed=2)


@pytest.fixture(scope="module")
def model():
    return random_model("rgb").to("cpu")


@torch.no_grad()
def test_only_so_many_are_held(model):
    asked: list[list[int]] = []

    def planes(frames: list[int]) -> torch.Tensor:
        asked.append(frames)
        return PLANES[None, frames]

    one = 16 * 8 * 8 * 4  # bytes of a frame's features
    features = FrameFeatures(model, ControlSource(1, 6, planes), held_bytes=2 * one)
    for frames in ([0, 1], [2, 3], [4, 5]):
        features.hold(frames)
    assert asked == [[0, 1]]
    for frames in ([0, 1], [2, 3]):
        assert torch.equal(features(frames), FrameFeatures(model, ControlSource.of(PLANES))(frames))
    assert asked == [[0, 1], [2, 3]]
    assert torch.equal(features([1]), features([0, 1])[1:])
    assert not torch.equal(features([0]), features([1]))


def test_the_result_does_not_depend_on_the_room(model, monkeypatch):
    inputs = (randn(1, 4, 8, 8, seed=1), PLANES, randn(1, 4, 6, 8, 8, seed=3))
    settings = SampleSettings(steps=2, guidance=2.0, window=4, overlap=1)
    whole = sample(model, *inputs, settings)
    monkeypatch.setattr(FrameFeatures.__init__, "__defaults__", (0,))
    assert torch.equal(sample(model, *inputs, settings), whole)
