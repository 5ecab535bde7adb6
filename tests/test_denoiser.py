"""The denoiser's edits against slow, obvious twins, and its options."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import AttnProcessor2_0

from magicanimate.errors import InputError
from magicanimate.networks.appearance import build_appearance, reference_bank
from magicanimate.networks.attention import attend, expand_rows, install_attention, project_bank
from magicanimate.networks.control import build_control, control_residuals
from magicanimate.networks.denoiser import WindowGroupNorm, build_denoiser, predict
from magicanimate.train.model_surgery import without_motion_modules
from random_models import awaken, random_model
from seeded import randn


@pytest.fixture(scope="module")
def model():
    """A model whose norms run over the window (rgb style)."""
    return random_model("rgb")


@pytest.fixture(scope="module")
def framewise():
    """A model whose norms run over single frames (parts style), without coordinates in the calls below."""
    return random_model("parts")


def call(model, bank=None, seed=0, frames=3, batch=2, tokens=2, **options):
    c = model.latent_channels
    x = randn(batch, c, frames, 8, 8, seed=seed)
    text = randn(1, tokens, 8, seed=99)
    time = torch.tensor([500, 20][:batch])
    return predict(model.denoiser, x, time, text, bank, coordinates=model.config.coordinates, **options)


def bank_of(model, seed=0, batch=2):
    ref = randn(batch, model.latent_channels, 8, 8, seed=seed + 50)
    coordinates = model.config.coordinates
    return reference_bank(model.appearance, ref, torch.tensor([500, 20][:batch]), randn(1, 2, 8, seed=99), coordinates)


@torch.no_grad()
def test_text_and_bank_of_few_rows_equal_repeated_ones(model):
    """One row per sample gives what the library's own processor gives with a row per frame."""
    ours = call(model)
    stock = UNetMotionModel(**{k: v for k, v in model.denoiser.config.items() if k != "motion_norm_num_groups"})
    stock.load_state_dict(model.denoiser.state_dict())
    x, text = randn(2, 4, 3, 8, 8), randn(1, 2, 8, seed=99).expand(6, -1, -1)
    norms_differ = stock(x, torch.tensor([500, 20]), text).sample
    model.denoiser.set_attn_processor(AttnProcessor2_0())
    repeated = model.denoiser(x, torch.tensor([500, 20]), text)
    install_attention(model.denoiser)
    torch.testing.assert_close(ours, repeated, atol=1e-5, rtol=1e-4)
    assert (ours - norms_differ).abs().max() > 1e-2


@torch.no_grad()
def test_a_single_token_is_its_value(model):
    """Attention over one token skips queries and keys, and that changes nothing."""
    attn = model.denoiser.mid_block.attentions[0].transformer_blocks[0].attn2
    hidden, text = randn(6, 4, 32), randn(2, 1, 8)
    twin = AttnProcessor2_0()(attn, hidden, encoder_hidden_states=text.repeat_interleave(3, 0))
    torch.testing.assert_close(attn(hidden, text), twin, atol=1e-6, rtol=1e-5)
    assert (attn(hidden, text.flip(0)) - twin).abs().max() > 1e-3


@torch.no_grad()
def test_reference_attention_against_its_definition(model):
    """K' = W_K [h, y], V' = W_V [h, y], with the bank repeated for each frame."""
    path = "mid_block.attentions.0.transformer_blocks.0.attn1"
    attn = model.denoiser.get_submodule(path)
    hidden, entry = randn(6, 5, 32), randn(2, 4, 32, seed=1)
    ours = attn(hidden, bank=project_bank(model.denoiser, {path: entry}))
    source = torch.cat([hidden, entry.repeat_interleave(3, 0)], dim=1)
    twin = AttnProcessor2_0()(attn, hidden, encoder_hidden_states=source)
    torch.testing.assert_close(ours, twin, atol=1e-6, rtol=1e-5)
    assert (attn(hidden) - twin).abs().max() > 1e-3
    swapped = attn(hidden, bank=project_bank(model.denoiser, {path: entry.flip(0)}))
    assert (swapped - twin).abs().max() > 1e-3


def test_plain_attention_equals_the_fused_kernel():
    q, k, v = (randn(2, 2, n, 8, seed=n) for n in (5, 7, 7))
    fused = attend(q, k, v)
    plain = attend(q.bfloat16().requires_grad_(), k.bfloat16(), v.bfloat16())
    assert (fused - plain).abs().max() < 0.05


@torch.no_grad()
def test_bank_matters_and_is_read_by_samples_own_rows(framewise):
    bank = bank_of(framewise)
    with_bank, without = call(framewise, bank), call(framewise)
    assert (with_bank - without).abs().max() > 1e-3
    changed = {path: torch.cat([entry[:1], entry[1:] + 1]) for path, entry in bank.items()}
    other = call(framewise, changed)
    torch.testing.assert_close(other[0], with_bank[0])
    assert (other[1] - with_bank[1]).abs().max() > 1e-3


@torch.no_grad()
def test_projected_bank_equals_bank(model):
    bank = bank_of(model)
    projected = project_bank(model.denoiser, bank)
    torch.testing.assert_close(call(model, bank), call(model, projected), atol=0, rtol=0)
    assert project_bank(model.denoiser, projected) == projected


@torch.no_grad()
def test_window_norm_is_over_all_frames(model):
    norm = model.denoiser.mid_block.resnets[0].norm1
    assert isinstance(norm, WindowGroupNorm)
    x = randn(6, 32, 4, 4) * 3 + 1
    model.denoiser.window.frames = 3
    ours = norm(x).unflatten(0, (2, 3))
    for sample in range(2):
        groups = x.unflatten(0, (2, 3))[sample].unflatten(1, (8, 4)).transpose(0, 1)  # g, K, c/g, h, w
        mean, var = groups.flatten(1).mean(1), groups.flatten(1).var(1, unbiased=False)
        normed = (groups - mean[:, None, None, None, None]) / (var[:, None, None, None, None] + norm.eps).sqrt()
        twin = normed.transpose(0, 1).flatten(1, 2) * norm.weight[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(ours[sample], twin, atol=1e-5, rtol=1e-4)
    model.denoiser.window.frames = 1
    assert (norm(x).unflatten(0, (2, 3)) - ours).abs().max() > 1e-2


@torch.no_grad()
def test_frames_influence_each_other_only_where_they_should(model, framewise):
    """Changing the last frame: with window norms or motion modules the first frame changes, else it does not."""

    def change(model, temporal):
        x = randn(1, model.latent_channels, 3, 8, 8)
        y = x.clone()
        y[:, :, 2] += 1
        run = [
            predict(model.denoiser, z, 10, randn(1, 2, 8), temporal=temporal, coordinates=model.config.coordinates)
            for z in (x, y)
        ]
        return (run[0] - run[1])[:, :, 0].abs().max()

    assert change(framewise, temporal=False) < 1e-5
    assert change(framewise, temporal=True) > 1e-3
    assert change(model, temporal=False) > 1e-3


@torch.no_grad()
def test_without_motion_modules_frames_are_a_batch(framewise):
    together = call(framewise, bank_of(framewise, batch=1), batch=1, temporal=False)
    x = randn(1, framewise.latent_channels, 3, 8, 8)
    for k in range(3):
        alone = predict(
            framewise.denoiser, x[:, :, k : k + 1], torch.tensor([500]), randn(1, 2, 8, seed=99),
            bank_of(framewise, batch=1), temporal=False, coordinates=8,
        )  # fmt: skip
        torch.testing.assert_close(together[:, :, k : k + 1], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_fresh_motion_modules_change_nothing(framewise):
    fresh = replace(framewise, denoiser=build_denoiser(framewise.denoiser.config, "frame"))
    torch.testing.assert_close(call(fresh, temporal=True), call(fresh, temporal=False))
    assert (call(framewise, temporal=True) - call(framewise, temporal=False)).abs().max() > 1e-2


@torch.no_grad()
def test_a_denoiser_without_motion_modules_has_none_of_their_weights(framewise):
    model = without_motion_modules(framewise)
    spatial = model.denoiser.eval()
    own = {name: value for name, value in framewise.denoiser.state_dict().items() if ".motion_modules." not in name}
    assert set(own) == set(spatial.state_dict())
    assert (spatial.has_motion_modules, framewise.denoiser.has_motion_modules) == (False, True)
    bank = bank_of(framewise)
    assert torch.equal(call(model, bank), call(framewise, bank, temporal=False))
    assert (call(model, bank) - call(framewise, bank)).abs().max() > 1e-2


def test_gradients_flow_through_bank_and_residuals(framewise):
    c = framewise.latent_channels
    ref, x = randn(2, c, 8, 8), randn(2, c, 3, 8, 8)
    text, time = randn(1, 2, 8), torch.tensor([500, 20])
    bank = reference_bank(framewise.appearance, ref, time, text, 8)
    residuals = control_residuals(
        framewise.control, x.transpose(1, 2).flatten(0, 1), randn(6, 25, 16, 16), time, text, coordinates=8
    )
    predict(framewise.denoiser, x, time, text, bank, residuals, coordinates=8).square().mean().backward()
    for network in (framewise.denoiser, framewise.appearance, framewise.control):
        without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        # Softmax cannot see a constant that is added to all its arguments, and our linear layers for keys have none.
        assert without == []
        network.zero_grad()


def test_position_table_limits_the_window(framewise):
    with pytest.raises(InputError, match="17 frames is too long"):
        call(framewise, frames=17, batch=1)
    with torch.no_grad():
        assert call(framewise, frames=17, batch=1, temporal=False).shape[2] == 17
        assert call(framewise, frames=16, batch=1).shape[2] == 16


def test_motion_norm_has_its_own_groups():
    config = {k: v for k, v in random_model("rgb").denoiser.config.items() if k != "motion_norm_num_groups"}
    for given, expected in ((None, 8), (4, 4)):
        network = build_denoiser(config if given is None else {**config, "motion_norm_num_groups": given})
        groups = {m.norm.num_groups for n, m in network.named_modules() if n.endswith("motion_modules.0")}
        assert groups == {expected}
        assert network.config["motion_norm_num_groups"] == expected


def test_names_are_the_librarys_own(model):
    config = {k: v for k, v in model.denoiser.config.items() if k != "motion_norm_num_groups"}
    assert set(model.denoiser.state_dict()) == set(UNetMotionModel(**config).state_dict())


def test_copies_are_independent(framewise):
    """An averaged copy of the weights has its own window, not the original's."""
    copy = deepcopy(framewise.denoiser)
    assert copy.window is not framewise.denoiser.window
    modules = [m for m in copy.modules() if hasattr(m, "window")]
    assert len(modules) > 1
    assert all(m.window is copy.window for m in modules)


@pytest.mark.parametrize("build", [build_denoiser, build_appearance, build_control])
def test_unknown_arguments_are_refused(build):
    with pytest.raises(InputError, match="configuration cannot be used"):
        build({"no_such_argument": 1})


def test_three_levels_of_one_layer():
    """The shipped model's shape: three levels, one layer each, sixteen latent channels, a narrow text."""
    widths = (16, 24, 32)
    network = build_denoiser(
        {
            "in_channels": 16, "out_channels": 16, "block_out_channels": widths, "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlockMotion",) * 3, "up_block_types": ("CrossAttnUpBlockMotion",) * 3,
            "cross_attention_dim": 4, "num_attention_heads": 2, "motion_num_attention_heads": 2,
            "norm_num_groups": 8, "use_motion_mid_block": False,
        },
        "frame",
    )  # fmt: skip
    encoder = build_appearance(
        {
            "in_channels": 16, "block_out_channels": widths, "layers_per_block": 1, "norm_num_groups": 8,
            "down_block_types": ("CrossAttnDownBlock2D",) * 3, "up_block_types": ("CrossAttnUpBlock2D",) * 3,
            "cross_attention_dim": 4, "attention_head_dim": 2,
        }
    )  # fmt: skip
    awaken(network)
    with torch.no_grad():
        bank = reference_bank(encoder, randn(1, 16, 8, 12), 3, randn(1, 1, 4))
        assert len(bank) == 7
        assert predict(network, randn(1, 16, 2, 8, 12), 3, randn(1, 1, 4), bank).shape == (1, 16, 2, 8, 12)


def test_rows_have_to_divide():
    with pytest.raises(ValueError, match="cannot be divided"):
        expand_rows(randn(2, 3), 5)
