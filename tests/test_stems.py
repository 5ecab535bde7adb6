"""Inputs of the networks: coordinates, latents, noise, control planes, the bank's extent."""

from __future__ import annotations

import math

import pytest
import torch

from magicanimate.conditions.planes import control_planes, nearest_parts
from magicanimate.errors import InputError
from magicanimate.networks.appearance import FUSION_BLOCKS, reference_bank
from magicanimate.networks.attention import reads_reference
from magicanimate.networks.control import build_control, control_residuals, embed_control
from magicanimate.networks.coordinates import append_coordinates, coordinate_planes
from magicanimate.networks.pixels import depth_to_space, parts_to_planes, space_to_depth
from magicanimate.networks.vae import decode_latents, encode_images, initial_noise
from magicanimate.parts.densepose import PALETTE_25
from random_models import random_model
from seeded import randn


def test_coordinates_follow_their_definition():
    planes = coordinate_planes(4, 6, 8)
    for y in range(4):
        for x in range(6):
            u, v = (2 * x + 1) / 6 - 1, (2 * y + 1) / 4 - 1
            expected = [f(math.pi / 2 * 2**i * axis) for i in range(2) for axis in (u, v) for f in (math.sin, math.cos)]
            assert planes[:, y, x].tolist() == pytest.approx(expected, abs=1e-6)


def test_coordinates_are_appended_to_pictures_and_videos():
    picture, video = randn(2, 3, 4, 6), randn(2, 3, 5, 4, 6)
    planes = coordinate_planes(4, 6, 4)
    torch.testing.assert_close(append_coordinates(picture, 4)[1, 3:], planes)
    torch.testing.assert_close(append_coordinates(video, 4)[1, 3:, 4], planes)
    assert append_coordinates(video, 4).shape == (2, 7, 5, 4, 6)
    assert append_coordinates(picture, 0) is picture
    with pytest.raises(ValueError, match="fours"):
        coordinate_planes(4, 6, 6)


def test_space_to_depth_keeps_every_pixel():
    x = randn(2, 3, 8, 12)
    folded = space_to_depth(x, 4)
    assert folded.shape == (2, 48, 2, 3)
    assert folded[1, 2 * 16 + 1 * 4 + 3, 1, 2] == x[1, 2, 4 + 1, 8 + 3]
    torch.testing.assert_close(depth_to_space(folded, 4), x)
    assert space_to_depth(x, 1) is x
    with pytest.raises(InputError, match="multiple of 5"):
        space_to_depth(x, 5)


@torch.no_grad()
def test_images_to_latents_and_back():
    model = random_model("parts")
    images = torch.rand(2, 3, 64, 32)
    latents = encode_images(model.vae, images, 4)
    assert latents.shape == (2, model.latent_channels, 8, 4)
    torch.testing.assert_close(encode_images(model.vae, images, 4), latents)  # the mean, not a sample
    pixels = decode_latents(model.vae, latents * 100, 4)
    assert pixels.shape == images.shape
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    with pytest.raises(InputError, match="multiple of 8"):
        encode_images(model.vae, images[..., :60, :], 4)


def test_shared_noise_repeats_and_independent_noise_does_not():
    shared, independent = (initial_noise(1, 20, (4, 3, 5), mode) for mode in ("shared", "independent"))
    assert shared.shape == independent.shape == (1, 4, 20, 3, 5)
    assert torch.equal(shared[:, :, :4], shared[:, :, 16:])
    assert not torch.equal(independent[:, :, :4], independent[:, :, 16:])
    assert not torch.equal(shared[:, :, 0], shared[:, :, 1])
    assert abs(independent.std().item() - 1) < 0.1


@pytest.mark.parametrize("mode", ["shared", "independent", "static"])
def test_noise_follows_the_seed_and_not_the_length(mode):
    assert torch.equal(initial_noise(1, 5, (4, 3, 5), mode), initial_noise(1, 30, (4, 3, 5), mode)[:, :, :5])
    assert not torch.equal(initial_noise(1, 5, (4, 3, 5), mode), initial_noise(2, 5, (4, 3, 5), mode))


def test_static_noise_is_the_same_in_all_frames():
    static, shared = (initial_noise(1, 5, (4, 3, 5), mode) for mode in ("static", "shared"))
    assert torch.equal(static[:, :, :1].expand_as(static), static)
    assert not torch.equal(shared[:, :, :1].expand_as(shared), shared)


def test_unknown_noise():
    with pytest.raises(InputError, match="shared, independent or static"):
        initial_noise(1, 5, (4, 3, 5), "pink")


def test_planes_hold_each_parts_share():
    parts = torch.randint(0, 25, (2, 8, 12), dtype=torch.uint8)
    planes = parts_to_planes(parts, 4)
    assert planes.shape == (2, 25, 2, 3)
    torch.testing.assert_close(planes.sum(1), torch.ones(2, 2, 3))
    for part in range(25):
        assert planes[1, part, 1, 2] == pytest.approx((parts[1, 4:8, 8:12] == part).float().mean().item())


def test_control_frames_are_encoded_as_the_model_wants():
    parts = torch.arange(25, dtype=torch.uint8).repeat(16).reshape(1, 20, 20)
    rgb = torch.as_tensor(PALETTE_25)[parts.long()].movedim(-1, 1).float() / 255
    noisy = (rgb + 2 / 255 * randn(*rgb.shape).clamp(-1, 1)).clamp(0, 1)
    assert torch.equal(nearest_parts(noisy.movedim(1, -1)), parts)
    config = random_model("parts").config
    torch.testing.assert_close(
        control_planes(noisy.movedim(1, -1), "parts", config.control_stride), parts_to_planes(parts, 4)
    )
    assert torch.equal(control_planes(rgb.movedim(1, -1), "rgb", 1), rgb)
    assert not torch.equal(nearest_parts(rgb.flip(1).movedim(1, -1)), parts)


@torch.no_grad()
def test_condition_embedding_can_be_computed_before():
    model = random_model("parts")
    latents, planes, text = randn(4, 6, 8, 8), randn(4, 25, 16, 16), randn(1, 2, 8)
    time = torch.tensor([500, 20])
    at_once = control_residuals(model.control, latents, planes, time, text, coordinates=8)
    before = control_residuals(model.control, latents, embed_control(model.control, planes), time, text, coordinates=8)
    for a, b in zip((*at_once.down, at_once.mid), (*before.down, before.mid), strict=True):
        assert torch.equal(a, b)
    repeated = control_residuals(model.control, latents, planes, time.repeat_interleave(2), text, coordinates=8)
    torch.testing.assert_close(at_once.mid, repeated.mid)
    swapped = control_residuals(model.control, latents, planes, time.flip(0), text, coordinates=8)
    assert (swapped.mid - at_once.mid).abs().max() > 1e-4


def test_fresh_control_adds_nothing():
    fresh = build_control(random_model("parts").control.config)
    residuals = control_residuals(fresh, randn(1, 6, 8, 8), randn(1, 25, 16, 16), 5, randn(1, 2, 8), 1.0, 8)
    assert not any(x.any() for x in (*residuals.down, residuals.mid))


def test_other_channel_orders_are_refused():
    with pytest.raises(InputError, match="rgb"):
        build_control({"controlnet_conditioning_channel_order": "bgr"})


@torch.no_grad()
def test_bank_holds_the_fusion_blocks_only():
    model = random_model("rgb")
    ref, text = randn(1, 4, 8, 8), randn(1, 2, 8)
    bank = reference_bank(model.appearance, ref, 5, text)
    everything = reference_bank(model.appearance, ref, 5, text, blocks=("down_blocks", *FUSION_BLOCKS))
    assert set(bank) < set(everything)
    assert {path.partition(".")[0] for path in bank} == set(FUSION_BLOCKS)
    spatial = {name for name, _ in model.denoiser.named_modules() if reads_reference(name, FUSION_BLOCKS)}
    assert set(bank) == spatial
    assert not any("motion_modules" in path for path in everything)


def test_what_the_encoder_does_not_need_is_not_there():
    names = set(random_model("rgb").appearance.state_dict())
    last = "up_blocks.1.attentions.1.transformer_blocks.0."
    assert {name.removeprefix(last) for name in names if name.startswith(last)} == {"norm1.weight", "norm1.bias"}
    assert not any(name.startswith(("conv_norm_out", "conv_out")) for name in names)
