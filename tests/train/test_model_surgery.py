"""Models that go on with another VAE: nothing changes until they are trained."""

from __future__ import annotations

import pytest
import torch

from magicanimate.errors import InputError
from magicanimate.models.model import load_model
from magicanimate.networks.vae import decode_latents, encode_images
from magicanimate.sampling.loop import sample
from magicanimate.sampling.settings import SampleSettings
from magicanimate.train.model_surgery import with_motion_modules, with_vae, without_motion_modules
from magicanimate.train.vae import build_vae, with_further_channels
from random_models import random_model

FURTHER = 3


@torch.no_grad()
def test_a_vae_with_further_channels_keeps_its_own():
    torch.manual_seed(1)
    vae = build_vae(4, (16, 32), 6)
    wide = with_further_channels(vae, FURTHER)
    assert wide.config["latent_channels"] == 6 + FURTHER
    pictures = torch.rand(2, 3, 32, 32)
    before, after = encode_images(vae, pictures, 4), encode_images(wide, pictures, 4)
    torch.testing.assert_close(after[:, :6], before)
    assert after[:, 6:].std() > 0, "the further ones say something"
    after[:, 6:] = 0
    torch.testing.assert_close(decode_latents(wide, after, 4), decode_latents(vae, before, 4))
    posterior = wide.encode(torch.randn(1, 48, 8, 8)).latent_dist
    assert (posterior.logvar[:, 6:] == -6).all()


@torch.no_grad()
@pytest.mark.parametrize("reference_input", [False, True])
def test_a_model_does_not_see_further_channels_before_it_is_trained(reference_input):
    torch.manual_seed(2)
    model = random_model("parts", reference_input=reference_input)
    wide = with_vae(model, with_further_channels(model.vae, FURTHER))
    assert wide.latent_channels == model.latent_channels + FURTHER
    reference, noise = torch.randn(1, wide.latent_channels, 8, 8), torch.randn(1, wide.latent_channels, 2, 8, 8)
    planes = torch.rand(1, 2, model.config.control_planes, 16, 16)
    settings = SampleSettings.for_model(model, steps=2, guidance=1.5)
    own = slice(0, model.latent_channels)
    expected = sample(model, reference[:, own], planes, noise[:, own], settings)
    torch.testing.assert_close(sample(wide, reference, planes, noise, settings)[:, own], expected)
    for network in (wide.denoiser, wide.appearance, wide.control):
        network.conv_in.weight += 0.1
        assert not torch.allclose(sample(wide, reference, planes, noise, settings)[:, own], expected)
        network.conv_in.weight -= 0.1


@torch.no_grad()
def test_fresh_motion_modules_of_the_shipped_model_change_nothing_yet():
    tiny = load_model("tiny")
    assert not tiny.denoiser.has_motion_modules
    model = with_motion_modules(tiny)
    assert with_motion_modules(model) is model
    x, time, text = torch.randn(1, 56, 3, 8, 8), torch.tensor([500]), tiny.empty_prompt[None]
    expected = tiny.denoiser(x, time, text)
    torch.testing.assert_close(model.denoiser.eval()(x, time, text), expected)
    for module in model.denoiser.modules():
        if hasattr(module, "proj_out") and hasattr(module, "window"):
            module.proj_out.weight.normal_(std=0.1)
    assert not torch.allclose(model.denoiser(x, time, text), expected)
    assert torch.equal(without_motion_modules(model).denoiser.eval()(x, time, text), expected)


def test_a_vae_that_does_not_fit_is_named():
    model = random_model("parts")
    with pytest.raises(InputError, match=r"has 4 latent channels .* at least 6"):
        with_vae(model, build_vae(4, (16, 32), 4))
    with pytest.raises(InputError, match="12 folded pixels"):
        with_vae(model, build_vae(2, (16, 32), 6))
