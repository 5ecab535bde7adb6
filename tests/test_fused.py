"""Fused layers compute what diffusers' do, in every network and memory format; kernels are compared where Triton is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from magicanimate.engine import fused as layers
from magicanimate.engine import operations
from magicanimate.engine.fused import (
    FusedBlock,
    FusedGEGLU,
    FusedGroupNorm,
    FusedResnet,
    FusedTransformer,
    fuse_network,
    join_products,
    pack_network,
)
from magicanimate.engine.onednn_layers import PackedConv2d, PackedGEGLU, has_packed_layers
from magicanimate.models.weights import stored_state
from magicanimate.networks import denoiser
from magicanimate.networks.vae import decode_latents, encode_images
from magicanimate.sampling.loop import sample
from magicanimate.sampling.settings import SampleSettings
from random_models import random_model
from seeded import randn

QUICK = SampleSettings(steps=2, guidance=2.0, window=8, overlap=2)


def run(model):
    with torch.no_grad():
        latents = sample(
            model, randn(1, 4, 8, 8, seed=1), randn(10, 3, 16, 16, seed=2), randn(1, 4, 10, 8, 8, seed=3), QUICK
        )
        pictures = decode_latents(model.vae, latents[0].transpose(0, 1))
        return latents, pictures, encode_images(model.vae, pictures)


def fused(style="rgb", **config):
    model = random_model(style, **config)
    for network in model.networks.values():
        network.to(memory_format=torch.channels_last)
        fuse_network(network.eval())
    return model


@pytest.fixture(scope="module")
def plain():
    return run(random_model("rgb"))


def test_the_result_is_the_same(plain):
    for made, expected in zip(run(fused()), plain, strict=True):
        torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-3)


def test_every_kind_of_layer_is_replaced():
    model = fused()
    found = [{type(module).__name__ for module in network.modules()} for network in model.networks.values()]
    kinds = {
        FusedBlock.__name__,
        FusedGEGLU.__name__,
        FusedGroupNorm.__name__,
        FusedResnet.__name__,
        FusedTransformer.__name__,
    }
    assert kinds | {"FusedFrameNorm"} <= found[0]
    assert all(kinds <= names for names in found[1:3])
    assert {"FusedGroupNorm", "FusedResnet"} <= found[3]
    assert not any(
        {"ResnetBlock2D", "Transformer2DModel", "GEGLU", "BasicTransformerBlock", "WindowGroupNorm"} & names
        for names in found
    )


def test_weights_keep_their_names():
    before, after = random_model("rgb"), fused()
    for name, network in before.networks.items():
        state = stored_state(after.networks[name])
        assert stored_state(network).keys() == state.keys()
        assert all(torch.equal(value, state[key]) for key, value in stored_state(network).items())


@pytest.mark.parametrize("sums", [False, True])
def test_joined_products_make_the_same(plain, sums):
    model = fused()
    for network in model.networks.values():
        join_products(network, sums)
    torch.testing.assert_close(run(model)[0], plain[0], atol=1e-4, rtol=1e-3)
    block = model.denoiser.mid_block.attentions[0].transformer_blocks[0]
    assert block.sums == sums
    assert stored_state(model.denoiser).keys() == stored_state(random_model("rgb").denoiser).keys()
    block.attn1.to_v.weight.data += randn(*block.attn1.to_v.weight.shape, seed=4)  # negative control: it is shared
    assert (run(model)[0] - plain[0]).abs().max() > 1e-2


@pytest.mark.skipif(not has_packed_layers(), reason="torch has no packed layers here")
def test_packed_layers_make_the_same(plain):
    model = fused()
    for network in model.networks.values():
        pack_network(network)
    for made, expected in zip(run(model), plain, strict=True):
        torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-3)
    left = {type(m) for network in model.networks.values() for m in network.modules()} & {nn.Conv2d, nn.Linear}
    assert not left
    assert {m.by_windows for m in model.denoiser.modules() if isinstance(m, PackedConv2d)} == {True, False}
    block = model.denoiser.mid_block.attentions[0].transformer_blocks[0]
    assert isinstance(block.ff.net[0], PackedGEGLU)
    for bias in (block.ff.net[0].gate_bias, block.ff.net[0].value_bias, model.denoiser.conv_in.bias):
        before = run(model)[0]
        bias.data += randn(*bias.shape, seed=4)  # negative control
        assert (run(model)[0] - before).abs().max() > 1e-3


@pytest.mark.skipif(not has_packed_layers(), reason="torch has no packed layers here")
@pytest.mark.parametrize("first", [4, 8])
def test_a_packed_convolution_takes_pictures_of_any_size(first):
    """And what a picture gives does not depend on those before it."""
    stock = nn.Conv2d(32, 48, 3, padding=1).requires_grad_(False)
    packed = PackedConv2d(stock)
    for size in (first, 4, 8, 5, 3):
        x = randn(3, 32, size, size, seed=size)
        torch.testing.assert_close(packed(x), stock(x), atol=1e-5, rtol=1e-4)
        assert (packed(x) - stock(x.transpose(2, 3)).transpose(2, 3)).abs().max() > 0.1  # negative control
        assert torch.equal(packed(x), PackedConv2d(stock)(x))
        assert packed.by_windows == (size <= 4)


@pytest.mark.parametrize("part", ["norm1.weight", "conv1.bias", "conv2.bias", "time_emb_proj.bias"])
def test_every_part_of_a_block_counts(plain, part):
    """Negative control: a change of one weight is seen, and is the one that the stock block would show."""
    results = []
    for model in (random_model("rgb"), fused()):
        weight = model.denoiser.up_blocks[1].resnets[0].get_parameter(part)
        weight.data += randn(*weight.shape, seed=4)
        results.append(run(model)[0])
    torch.testing.assert_close(results[1], results[0], atol=1e-4, rtol=1e-3)
    assert (results[1] - plain[0]).abs().max() > 1e-2


def test_kernels_run_on_gpus_in_sixteen_bit_only(monkeypatch):
    assert not operations.takes_kernel(randn(2).half())

    class Elsewhere:
        is_cuda, requires_grad = True, False

        def __init__(self, x):
            self.numel, self.element_size = x.numel, x.element_size

    monkeypatch.setattr(operations, "has_triton", lambda: True)
    assert [operations.takes_kernel(Elsewhere(x)) for x in (randn(2), randn(2).half())] == [False, True]
    monkeypatch.setattr(Elsewhere, "requires_grad", True)
    assert not operations.takes_kernel(Elsewhere(randn(2).half()))


@torch.no_grad()
def test_what_is_given_stays_as_it_is():
    """Results are written over other results only: what enters a layer may be a skip, or be read by both halves."""
    network = fused().denoiser
    network.window.frames = 5
    x, emb, bias = (
        randn(5, 32, 8, 8, seed=1).to(memory_format=torch.channels_last),
        randn(1, 64, seed=2),
        randn(32, seed=3),
    )
    rows = randn(5, 64, 32, seed=4)
    wide = randn(1, 72, seed=5)
    calls = {
        "resnet": (network.mid_block.resnets[0], x, emb),
        "transformer": (network.mid_block.attentions[0], x, randn(5, 1, 8, seed=6)),
        "motion": (network.down_blocks[1].motion_modules[0], x),
        "block": (network.mid_block.attentions[0].transformer_blocks[0], rows, None, randn(5, 2, 8, seed=7)),
        "gelu": (operations.gated_gelu, wide),
        "sum": (operations.add_biased, x, x + 1, bias),
        "norm": (lambda *given: operations.add_norm(*given, bias, bias, 1e-5), rows, rows + 1),
    }
    for name, (layer, *given) in calls.items():
        before = [None if t is None else t.clone() for t in given]
        layer(*given)
        assert all(t is None or torch.equal(t, old) for t, old in zip(given, before, strict=True)), name
    taken = x.clone()
    layers.add_to(taken, x)
    assert not torch.equal(taken, x)  # negative control: this one does write


def test_slices_make_the_whole(monkeypatch, plain):
    for rows in (100, 7):
        monkeypatch.setattr(denoiser, "SLICE_ROWS", rows)
        torch.testing.assert_close(run(fused())[0], plain[0], atol=1e-4, rtol=1e-3)
    monkeypatch.setattr(layers, "add_feed_forward", lambda layer, x, normed: x)
    assert (run(fused())[0] - plain[0]).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gelu_in_one_piece_is_that_in_two(dtype):
    x = randn(7, 5, 72, seed=1).to(dtype)
    with torch.enable_grad():
        expected = operations.gated_gelu(x)
    with torch.no_grad():
        made = operations.gated_gelu(x)
    within = {"atol": 5e-6, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 1e-3, "rtol": 1.6e-2}
    torch.testing.assert_close(made, expected, **within)
    assert (made - expected.roll(1, -1)).abs().max() > 0.1


def test_other_norm_scopes_and_inputs():
    inputs = randn(1, 6, 8, 8, seed=1), randn(10, 25, 16, 16, seed=2).abs(), randn(1, 6, 10, 8, 8, seed=3)
    torch.testing.assert_close(
        sample(fused("parts"), *inputs, QUICK), sample(random_model("parts"), *inputs, QUICK), atol=1e-4, rtol=1e-3
    )
