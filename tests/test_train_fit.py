"""What the training stages need: counting agrees with real networks, and measuring runs."""

from __future__ import annotations

import json
import sys

import pytest
from benchmarks import train_fit
from benchmarks.sizes import sized_model

LOW = train_fit.RECIPES / "low_memory"
SMALL = ["branches.window=4"]


def counted(folder, stage: str, pixels: int, *changes: str) -> dict[str, float]:
    """In bytes and weights instead of GiB and millions."""
    settings = train_fit.recipe(folder, stage, ["loop.batch=2", *SMALL, *changes])
    figures = train_fit.count(settings, "small", pixels)
    return {name: value * (1e6 if "millions" in name else train_fit.GIB) for name, value in figures.items()}


@pytest.mark.parametrize("stage", train_fit.STAGES)
def test_counted_memory_adds_up(stage):
    """Weights and what belongs to them from real networks; activations grow with the picture and shrink when redone."""
    figures = counted(train_fit.RECIPES, stage, 64)
    networks = sized_model("small", "meta").networks
    weights = sum(p.numel() for network in networks.values() for p in network.parameters())
    copies = sum(p.numel() for p in networks["denoiser"].parameters()) if stage == "distill" else 0
    assert figures["weights"] == pytest.approx(4 * (weights + copies))
    assert figures["optimiser"] == 2 * figures["gradients"] == 2 * figures["average"]
    assert figures["gradients"] == pytest.approx(4 * figures["trained_millions"])
    assert counted(train_fit.RECIPES, stage, 128)["activations"] > 3.5 * figures["activations"]
    plain = counted(train_fit.RECIPES, stage, 64, "loop.checkpointing=false")
    assert figures["activations"] + figures["block"] < 0.8 * plain["activations"]


@pytest.mark.parametrize("stage", train_fit.STAGES)
def test_low_memory_is_counted_as_it_is_set(stage):
    usual, low = (counted(folder, stage, 64, "loop.batch=2") for folder in (train_fit.RECIPES, LOW))
    trained = usual["gradients"]
    assert low["gradients"] == trained
    assert low["average"] == 0
    assert low["optimiser"] < 0.1 * usual["optimiser"]
    frozen = usual["weights"] - trained
    assert trained + frozen / 2 <= low["weights"] < trained + 0.55 * frozen  # norms and first layers stay as they are


def test_measuring_trains(monkeypatch, capsys, tmp_path):
    arguments = ["--size", "small", "--pixels", "64", "--steps", "1", "--measure", "--recipes", str(LOW)]
    changes = ["--set", "branches.window=2", "loop.batch=1", "loop.accumulate=1"]
    monkeypatch.setattr(
        sys, "argv", ["train_fit.py", *arguments, *changes, "--device", "cpu", "--out", f"{tmp_path}/a"]
    )
    train_fit.main()
    results = json.loads((tmp_path / "a").read_text())
    assert all(results[stage]["measured"]["peak_gib"] > 0 for stage in train_fit.STAGES)
    assert "appearance" in capsys.readouterr().out
