"""Ways to run a model: 8-bit weights, weights on the host, compiled layers, a small decoder; each against the plain."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny

from magicanimate.engine import acceleration
from magicanimate.engine.acceleration import (
    accelerate_model,
    compile_model,
    offload_model,
    wants_channels_last,
)
from magicanimate.engine.fused import FusedResnet
from magicanimate.engine.onednn_layers import PackedConv2d, has_packed_layers
from magicanimate.engine.options import Acceleration
from magicanimate.errors import InputError
from magicanimate.models.fingerprint import model_fingerprint
from magicanimate.networks.vae import decode_latents
from magicanimate.sampling.loop import sample
from magicanimate.sampling.settings import SampleSettings
from random_models import random_model
from seeded import randn

CPU = torch.device("cpu")
QUICK = SampleSettings(steps=2, guidance=2.0, window=8, overlap=2)


def run(model):
    return sample(model, randn(1, 4, 8, 8, seed=1), randn(10, 3, 16, 16, seed=2), randn(1, 4, 10, 8, 8, seed=3), QUICK)


@pytest.fixture(scope="module")
def plain():
    return run(random_model("rgb"))


def test_int8_weights_are_near(plain):
    model = accelerate_model(random_model("rgb"), CPU, Acceleration(quantize="int8"))
    weight = model.denoiser.up_blocks[1].attentions[0].transformer_blocks[0].ff.net[2].weight
    assert "Int8" in type(weight).__name__ or "Int8" in type(weight.data).__name__
    error = (run(model) - plain).std() / plain.std()
    assert 1e-6 < error < 0.05
    assert model_fingerprint(model) != model_fingerprint(random_model("rgb"))


def test_sixteen_bit_weights_on_a_cpu_without_sixteen_bit_arithmetic(monkeypatch):
    """The result is that of the rounded weights in float32, and not that of rounding everything to 16 bit."""
    exact = run(random_model("rgb").to(dtype=torch.bfloat16).to(dtype=torch.float32))
    for options in (Acceleration(), Acceleration(compile=True)):
        monkeypatch.setattr(acceleration, "fast_on_cpu", lambda dtype: False)
        monkeypatch.setattr(acceleration, "compile_model", lambda model: model)
        model = accelerate_model(random_model("rgb").to(dtype=torch.bfloat16), CPU, options)
        assert model.dtype == torch.float32 == model.empty_prompt.dtype
        torch.testing.assert_close(run(model), exact)
        weight = model.denoiser.up_blocks[1].resnets[0].conv1.weight
        assert weight.dtype == (torch.float32 if options.compile else torch.bfloat16)
    rounded = random_model("rgb").to(dtype=torch.bfloat16)
    assert (run(rounded) - exact).abs().max() > 1e-3
    monkeypatch.setattr(acceleration, "fast_on_cpu", lambda dtype: True)
    assert accelerate_model(rounded, CPU, Acceleration()).dtype == torch.bfloat16


def test_channels_last_changes_nothing(plain):
    """Features keep that layout from layer to layer, since every change of it is a copy."""
    model = random_model("rgb")
    for network in model.networks.values():
        network.to(memory_format=torch.channels_last)
    seen = []
    for block in model.denoiser.up_blocks:
        for resnet in block.resnets:
            resnet.register_forward_hook(
                lambda _, given, made: seen.extend(
                    x.is_contiguous(memory_format=torch.channels_last) for x in (given[0], made)
                )
            )
    torch.testing.assert_close(run(model), plain, atol=1e-4, rtol=1e-3)
    assert all(seen)
    assert len(seen) > 8


def test_networks_want_channels_last_on_cpus_and_in_sixteen_bit():
    network = random_model("rgb").vae
    assert wants_channels_last(network, CPU)
    assert not wants_channels_last(network, torch.device("cuda"))  # float32
    assert wants_channels_last(network.half(), torch.device("cuda"))
    assert not wants_channels_last(network, torch.device("mps"))


def test_layers_are_put_together_anew_on_cpus(monkeypatch, plain):
    """Not if they are to be compiled, nor if every layer widens its own weights."""

    def layers(model):
        return {type(module).__name__ for module in model.denoiser.modules()}

    monkeypatch.setattr(acceleration, "compile_model", lambda model: model)
    model = accelerate_model(random_model("rgb"), CPU, Acceleration())
    torch.testing.assert_close(run(model), plain, atol=1e-4, rtol=1e-3)
    assert FusedResnet.__name__ in layers(model)
    assert FusedResnet.__name__ not in layers(accelerate_model(random_model("rgb"), CPU, Acceleration(compile=True)))
    monkeypatch.setattr(acceleration, "fast_on_cpu", lambda dtype: False)
    widened = accelerate_model(random_model("rgb").to(dtype=torch.bfloat16), CPU, Acceleration())
    assert FusedResnet.__name__ not in layers(widened)


@pytest.mark.skipif(not has_packed_layers(), reason="torch has no packed layers here")
def test_weights_are_packed_on_cpus_with_sixteen_bit_arithmetic(monkeypatch, plain):
    """Not if they are in 8 bit. What they were is still known, for runs that are resumed."""
    monkeypatch.setattr(acceleration, "can_pack", lambda dtype: True)
    model = accelerate_model(random_model("rgb"), CPU, Acceleration())
    assert isinstance(model.denoiser.conv_in, PackedConv2d)
    assert (model.dtype, model.device) == (torch.float32, CPU)
    torch.testing.assert_close(run(model), plain, atol=1e-4, rtol=1e-3)
    changed = random_model("rgb")
    changed.denoiser.conv_in.weight.data[0] += 1
    assert model_fingerprint(model) != model_fingerprint(accelerate_model(changed, CPU, Acceleration()))
    in_8_bit = accelerate_model(random_model("rgb"), CPU, Acceleration(quantize="int8"))
    assert not isinstance(in_8_bit.denoiser.conv_in, PackedConv2d)
    monkeypatch.setattr(acceleration, "can_pack", lambda dtype: False)
    assert model_fingerprint(model) == model_fingerprint(accelerate_model(random_model("rgb"), CPU, Acceleration()))


def test_offloaded_networks_compute_the_same(plain):
    """The layers only come and go on the host where there is no GPU."""
    model = offload_model(random_model("rgb"), CPU)
    torch.testing.assert_close(run(model), plain)
    assert model.device == CPU


def test_every_weight_has_somebody_who_moves_it():
    """The parts of the denoiser are called one by one, so no weight may depend on the whole network being called."""
    model = offload_model(random_model("rgb"), CPU)
    for network in model.networks.values():
        for name, module in network.named_modules():
            own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            assert not own or hasattr(module, "_diffusers_hook"), name


def test_compiled_layers_see_few_shapes(plain, monkeypatch):
    """They are traced as they would be compiled, which itself takes too long here; filled-up groups change nothing."""
    model = random_model("rgb")
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    monkeypatch.setattr(torch._dynamo.config, "fail_on_recompile_limit_hit", True)
    model = compile_model(model, backend="eager")
    rows = []
    model.control.conv_in.register_forward_hook(lambda _, given, __: rows.append(given[0].shape[0]))
    torch.testing.assert_close(run(model), plain)
    assert set(rows) == {8, 4}


def small_decoder(folder: Path, **changes) -> Path:
    """A folder in AutoencoderTiny's format with random weights."""
    config = {
        "in_channels": 3, "out_channels": 3, "latent_channels": 4, "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8), "num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1),
    } | changes  # fmt: skip
    AutoencoderTiny(**config).save_pretrained(folder)
    return folder


def test_a_small_decoder_decodes(tmp_path):
    model = random_model("rgb")
    latents = randn(2, 4, 8, 8)
    before = decode_latents(model.decoder, latents)
    model = accelerate_model(model, CPU, Acceleration(decoder=small_decoder(tmp_path / "small")))
    after = decode_latents(model.decoder, latents)
    assert after.shape == before.shape == (2, 3, 16, 16)
    assert (after - before).abs().max() > 1e-2


def test_a_decoder_that_does_not_fit(tmp_path):
    folder = small_decoder(tmp_path / "small", latent_channels=5)
    with pytest.raises(InputError, match="does not fit this model"):
        accelerate_model(random_model("rgb"), CPU, Acceleration(decoder=folder))
    with pytest.raises(InputError, match="missing"):
        accelerate_model(random_model("rgb"), CPU, Acceleration(decoder=tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offload": True}, "cpu is none"), ({"graphs": True}, "NVIDIA GPU"),
        ({"quantize": "fp8"}, "choose int8"), ({"quantize": "int3"}, "int3"),
    ],
)  # fmt: skip
def test_what_the_device_cannot_do(options, message):
    with pytest.raises(InputError, match=message):
        accelerate_model(random_model("rgb"), CPU, Acceleration(**options))
