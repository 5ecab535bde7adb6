"""The global embedding in the appearance encoder's place: one vector for the picture, read by the same layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from magicanimate.errors import InputError
from magicanimate.models.model import load_model, save_model
from magicanimate.networks.appearance import reference_bank
from magicanimate.networks.global_embedding import GlobalEmbedding, build_global_embedding, reading_layers
from magicanimate.sampling.loop import sample
from magicanimate.sampling.settings import SampleSettings
from random_models import random_model
from seeded import randn

FAST = SampleSettings(steps=2, guidance=2.0, window=4, overlap=1)


@pytest.fixture(scope="module")
def model():
    whole = random_model("parts")
    config = {
        "in_channels": whole.latent_channels + 8, "cross_attention_dim": 8, "channels": (16, 16), "width": 16,
        "layers": reading_layers(whole.denoiser), "tokens": 2,
    }  # fmt: skip
    return replace(whole, appearance=build_global_embedding(config).eval())


def video(model, seed: int):
    reference = randn(1, model.latent_channels, 8, 8, seed=seed)
    planes, noise = randn(4, 25, 16, 16, seed=2), randn(1, model.latent_channels, 4, 8, 8, seed=3)
    return sample(model, reference, planes, noise, FAST)


def test_it_fills_the_bank_of_the_encoder_it_replaces(model):
    encoder = random_model("parts").appearance
    reference, text = randn(2, model.latent_channels, 8, 8, seed=1), torch.randn(1, 1, 8)
    own, theirs = (reference_bank(network, reference, 5, text, 8) for network in (model.appearance, encoder))
    assert set(own) == set(theirs)
    assert {path: entry.shape[2] for path, entry in own.items()} == {p: e.shape[2] for p, e in theirs.items()}
    assert {entry.shape[1] for entry in own.values()} == {2}


def test_the_result_follows_the_reference(model):
    assert (video(model, 1) == video(model, 1)).all()
    assert (video(model, 1) - video(model, 9)).abs().max() > 1e-4


def test_a_model_folder_keeps_it(model, tmp_path):
    save_model(model, tmp_path / "model", storage="float32")
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded.appearance, GlobalEmbedding)
    torch.testing.assert_close(video(loaded, 1), video(model, 1))


def test_unknown_arguments_are_refused():
    with pytest.raises(InputError, match="cannot be used"):
        build_global_embedding({"in_channels": 4, "layers": {}, "depth": 3})
