"""The stage decoder: a small decoder for a finished model's latents, on colored blocks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from blocks import configuration, settings, weights
from magicanimate.engine.acceleration import accelerate_model
from magicanimate.engine.options import Acceleration
from magicanimate.errors import InputError
from magicanimate.models.model import load_model
from magicanimate.networks.vae import decode_latents, encode_images
from magicanimate.train.run import run

CPU = torch.device("cpu")


def decoder_settings(trained: Path, folder: Path, blocks: tuple[int, ...] = (1, 1), **loop: object):
    base = configuration(trained, "vae", **loop)
    del base["vae"]
    return settings(
        folder / "decoder.yaml",
        base | {
            "stage": "decoder", "out": str(folder / "decoder"), "start": str(trained / "appearance" / "model"),
            "decoder": {"channels": 16, "blocks": list(blocks)},
        },
    )  # fmt: skip


def test_it_learns_and_its_result_decodes(trained, tmp_path):
    result = run(decoder_settings(trained, tmp_path, steps=60, batch=4, grid_every=30, lr=3e-3, decay=0.0), CPU)
    log = [json.loads(line) for line in (tmp_path / "decoder" / "log.jsonl").read_text().splitlines()]
    first, last = (line["loss"] for line in (log[0], log[-2]))
    assert last < first / 2
    assert [line["grid"]["psnr"] for line in log if "grid" in line][-1] > 8

    model = load_model(trained / "appearance" / "model")
    latents = encode_images(model.vae, torch.rand(2, 3, 32, 32), model.config.patch)
    own = decode_latents(model.decoder, latents, model.config.patch)
    small = decode_latents(
        accelerate_model(model, CPU, Acceleration(decoder=result)).decoder, latents, model.config.patch
    )
    assert small.shape == own.shape
    assert not torch.allclose(small, own, atol=1e-3)


def test_an_interrupted_run_ends_the_same(trained, tmp_path):
    folders = [tmp_path / name for name in ("whole", "interrupted", "other")]
    for folder in folders:
        folder.mkdir()
    whole, interrupted, other = folders
    run(decoder_settings(trained, whole, decay=0.0), CPU)
    run(decoder_settings(trained, interrupted, decay=0.0, steps=2), CPU)
    run(decoder_settings(trained, interrupted, decay=0.0), CPU)
    run(decoder_settings(trained, other, decay=0.0, seed=1), CPU)
    a, b, c = (weights(folder / "decoder" / "decoder") for folder in folders)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_levels_that_do_not_fit_the_vae(trained, tmp_path):
    with pytest.raises(InputError, match=r"decoder\.blocks needs 2 numbers"):
        run(decoder_settings(trained, tmp_path, blocks=(1, 1, 1)), CPU)
