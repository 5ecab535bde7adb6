"""The engine against its plain twin, the twin against the original, and the work that both are counted to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.counting import count_step
from einops import rearrange

from golden_cases import LATENT_TOLERANCE, golden_model
from magicanimate.models.weights import read_safetensors
from magicanimate.networks.attention import SharedSourceAttention
from magicanimate.networks.vae import encode_images
from magicanimate.sampling.loop import sample
from magicanimate.sampling.settings import Run, SampleSettings
from plain import plain_sample
from random_models import random_model
from seeded import randn

GOLDENS = Path(__file__).resolve().parent / "golden"
QUICK = SampleSettings(steps=2, guidance=2.0, window=8, overlap=2)
ATOL = 1e-4


def inputs(model, frames, size=8):
    """Reference latents, control planes and noise."""
    planes = model.control.config["conditioning_channels"]
    side = size * model.pixel_factor // model.config.control_stride
    shape = (model.latent_channels, frames, size, size)
    return randn(1, shape[0], size, size, seed=1), randn(frames, planes, side, side, seed=2), randn(1, *shape, seed=3)


@pytest.mark.parametrize(
    ("style", "frames", "wrap", "config"),
    [
        ("rgb", 5, False, {}), ("parts", 8, True, {}), ("rgb", 13, False, {}), ("parts", 13, True, {}),
        ("rgb", 9, True, {}), ("parts", 20, False, {}), ("parts", 9, False, {"reference_input": True}),
    ],
)  # fmt: skip
def test_equals_the_plain_twin(style, frames, wrap, config):
    model = random_model(style, **config)
    settings = replace(QUICK, wrap=wrap)
    arguments = inputs(model, frames)
    twin = plain_sample(model, *arguments, settings)
    ours = sample(model, *arguments, settings)
    torch.testing.assert_close(ours, twin, atol=ATOL, rtol=1e-3)
    if frames > settings.window:
        for other in (replace(settings, wrap=not wrap), replace(settings, fusion="triangular")):
            assert (sample(model, *arguments, other) - twin).abs().max() > 1e-3
    assert (sample(model, *arguments, replace(settings, guidance=1.0)) - twin).abs().max() > 1e-2


def test_prompts_that_differ():
    """The halves then have nothing in common, and must not be taken to."""
    model = random_model("rgb")
    arguments = inputs(model, 9)
    text = randn(3, 8, seed=4), randn(3, 8, seed=5)
    twin = plain_sample(model, *arguments, QUICK, text)
    torch.testing.assert_close(sample(model, *arguments, QUICK, Run(text=text)), twin, atol=ATOL, rtol=1e-3)
    assert (sample(model, *arguments, QUICK, Run(text=(text[1], text[1]))) - twin).abs().max() > 1e-3


def test_the_twin_is_the_original():
    model, golden = golden_model(GOLDENS), read_safetensors(GOLDENS / "d_p16.safetensors")
    given = read_safetensors(GOLDENS / "d_inputs.safetensors")
    with torch.no_grad():
        ref = encode_images(model.vae, rearrange(given["reference_image"], "h w c -> 1 c h w") / 255)
    planes = rearrange(given["control_frames"][:16], "f h w c -> f c h w") / 255
    negative, positive = golden["prompt_embeds"]
    settings = SampleSettings(steps=4, guidance=7.5, wrap=True)
    latents = plain_sample(model, ref, planes, golden["initial_latents"], settings, (negative, positive))
    assert (latents - golden["final_latents"]).abs().max() < LATENT_TOLERANCE
    assert type(model.denoiser.mid_block.attentions[0].transformer_blocks[0].attn1.processor) is SharedSourceAttention
    mirrored = plain_sample(model, ref, planes.flip(-1), golden["initial_latents"], settings, (negative, positive))
    assert (mirrored - golden["final_latents"]).abs().max() > 100 * LATENT_TOLERANCE


def test_work_at_the_official_size():
    """Count the work of one guided step for 16 frames of 512x512; nothing is computed."""
    counted = count_step("official", 512, 16)
    assert counted["plain step"] == pytest.approx(46.0e12, rel=0.005)
    assert counted["engine step"] + counted["engine once"] <= 36.0e12


def test_work_at_a_small_size():
    counted = count_step("shallow", 128, 20)
    assert counted["engine step"] < 0.8 * counted["plain step"]
