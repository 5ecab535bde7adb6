"""The script for one GPU: stages find each other's results, limits hold."""

from __future__ import annotations

import pytest
import torch
from scripts import gpu_session
from scripts.gpu_session import read_arguments, stage_settings

from magicanimate.errors import InputError
from magicanimate.train.loop import CHECKPOINT


def test_settings_of_a_stage(tmp_path):
    given = [
        "vae",
        "--work",
        str(tmp_path),
        "--device",
        "cpu",
        "--set",
        "vae.loop.batch=3",
        "--set",
        "temporal.loop.lr=1",
    ]
    settings = stage_settings(read_arguments(given), "vae")
    assert settings.loop.batch == 3
    assert settings.loop.lr < 1
    assert settings.out == tmp_path / "runs" / "vae"
    assert settings.loop.minutes is None
    limited = stage_settings(read_arguments([*given, "--minutes", "8.5"]), "vae")
    assert 7 < limited.loop.minutes < 8
    with pytest.raises(InputError, match="No time is left"):
        stage_settings(read_arguments([*given, "--minutes", "0.5"]), "vae")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["vae", "--minutes", "0"], "--minutes"),
        (["vae", "--set", "loop.batch=3"], "--set loop.batch=3"),
        (["vae", "--device", "nonsense"], "device"),
    ],
)
def test_bad_arguments(given, message):
    with pytest.raises(InputError, match=message):
        read_arguments(given)


def test_rendering_and_training_in_one_call(tmp_path, opengl):
    few = [
        "--scale",
        "0.0002",
        "--size",
        "32",
        "--device",
        "cpu",
        "--set",
        "vae.loop.steps=1",
        "--set",
        "vae.loop.batch=2",
    ]
    assert gpu_session.main(["render", "vae", *few, "--work", str(tmp_path)]) == 0
    assert torch.load(tmp_path / "runs" / "vae" / CHECKPOINT, weights_only=True)["step"] == 1
    assert (tmp_path / "runs" / "vae" / "vae" / "config.json").is_file()
