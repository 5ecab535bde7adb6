"""What the training stages need: counting agrees with real networks, and measuring runs."""

from __future__ import annotations

import json
import sys

import pytest
from benchmarks import train_fit
from benchmarks.sizes import sized_model


@pytest.mark.parametrize("stage", train_fit.STAGES)
def test_counted_memory_adds_up(stage):
    """Weights and what belongs to them from real networks; activations grow with the picture and shrink when redone."""
    figures = train_fit.count(stage, "small", 64, 2, 4, False)
    networks = sized_model("small").networks
    weights = sum(p.numel() for network in networks.values() for p in network.parameters())
    copies = sum(p.numel() for p in networks["denoiser"].parameters()) if stage == "distill" else 0
    assert figures["weights"] * train_fit.GIB == pytest.approx(4 * (weights + copies))
    assert figures["optimiser"] == 2 * figures["gradients"] == 2 * figures["average"]
    assert figures["gradients"] * train_fit.GIB == pytest.approx(4e6 * figures["trained_millions"])
    larger = train_fit.count(stage, "small", 128, 2, 4, False)["activations"]
    assert larger > 3.5 * figures["activations"]
    assert train_fit.count(stage, "small", 64, 2, 4, True)["activations"] < 0.8 * figures["activations"]


def test_measuring_trains(monkeypatch, capsys, tmp_path):
    arguments = ["--size", "small", "--pixels", "64", "--frames", "2", "--batch", "1", "--steps", "1", "--measure"]
    out = ["--device", "cpu", "--out", str(tmp_path / "fit.json")]
    monkeypatch.setattr(sys, "argv", ["train_fit.py", *arguments, *out])
    train_fit.main()
    results = json.loads((tmp_path / "fit.json").read_text())
    assert all(results[stage]["measured"]["peak_gib"] > 0 for stage in train_fit.STAGES)
    assert "appearance" in capsys.readouterr().out
