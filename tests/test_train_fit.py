"""Memory of the training stages: counts agree with real networks, and measuring runs."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import pytest
from benchmarks import train_fit
from benchmarks.sized_models import sized_model

LOW = train_fit.RECIPES / "low_memory"
SIZE, SMALL = "shallow", ["branches.window=4"]


@cache
def counted(folder: Path, stage: str, pixels: int) -> dict[str, dict[str, float]]:
    """Count with and without checkpointing, in bytes and weights instead of GiB and millions."""
    settings = train_fit.recipe(folder, stage, ["loop.batch=2", *SMALL])
    return {
        way: {name: value * (1e6 if "millions" in name else train_fit.GIB) for name, value in figures.items()}
        for way, figures in train_fit.count(settings, SIZE, pixels).items()
    }


@pytest.mark.parametrize("stage", train_fit.STAGES)
def test_counted_memory_adds_up(stage):
    """Weights and what belongs to them from real networks; activations grow with the picture and shrink when redone."""
    found = counted(train_fit.RECIPES, stage, 64)
    figures, plain = found["counted"], found["without checkpointing"]
    networks = sized_model(SIZE, "meta").networks
    weights = sum(p.numel() for network in networks.values() for p in network.parameters())
    copies = sum(p.numel() for p in networks["denoiser"].parameters()) if stage == "distill" else 0
    assert figures["weights"] == pytest.approx(4 * (weights + copies))
    assert figures["optimizer"] == 2 * figures["gradients"] == 2 * figures["average"]
    assert figures["gradients"] == pytest.approx(4 * figures["trained_millions"])
    assert counted(train_fit.RECIPES, stage, 128)["counted"]["activations"] > 3.5 * figures["activations"]
    assert figures["activations"] + figures["block"] < 0.8 * plain["activations"]


@pytest.mark.parametrize("stage", train_fit.STAGES)
def test_low_memory_is_counted_as_it_is_set(stage):
    usual, low = (counted(folder, stage, 64)["counted"] for folder in (train_fit.RECIPES, LOW))
    trained = usual["gradients"]
    assert low["gradients"] == trained
    assert low["average"] == 0
    assert low["optimizer"] < 0.1 * usual["optimizer"]
    frozen = usual["weights"] - trained
    assert trained + frozen / 2 <= low["weights"] < trained + 0.55 * frozen  # norms and first layers stay as they are


def test_measuring_trains(monkeypatch, capsys, tmp_path):
    arguments = ["--size", SIZE, "--pixels", "64", "--steps", "1", "--measure", "--recipes", str(LOW)]
    changes = ["--set", "branches.window=2", "loop.batch=1", "loop.accumulate=1"]
    monkeypatch.setattr(
        sys, "argv", ["train_fit.py", *arguments, *changes, "--device", "cpu", "--out", f"{tmp_path}/a"]
    )
    train_fit.main()
    results = json.loads((tmp_path / "a").read_text())
    assert all(results[stage]["measured"]["peak_gib"] > 0 for stage in train_fit.STAGES)
    assert "appearance" in capsys.readouterr().out
