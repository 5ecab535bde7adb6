"""The denoiser in parts (trunk, branch, head) and prompts projected beforehand, against diffusers' forward."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import FeedForward

from magicanimate.networks.appearance import reference_bank
from magicanimate.networks.attention import project_bank, project_text
from magicanimate.networks.control import control_residuals, embed_control
from magicanimate.networks.denoiser import SLICE_ROWS, SlicedFeedForward, predict, stem_input
from random_models import random_model
from seeded import randn

TIME = torch.tensor(500)
ATOL = 3e-6  # the same operations in the same order, but the time embedding is one row for all frames or one for each


class Call:
    """One call's inputs for a random model; sizes need not be multiples of what the network shrinks by."""

    def __init__(self, style, height, width, tokens=5, batch=1):
        self.model = model = random_model(style)
        c, self.n = model.latent_channels, model.config.coordinates
        strides = 2 ** (len(model.control.config["conditioning_embedding_out_channels"]) - 1)
        planes = model.control.config["conditioning_channels"]
        self.x = randn(batch, c, 4, height, width, seed=1)
        self.text = randn(batch, tokens, 8, seed=3)
        self.bank = project_bank(
            model.denoiser,
            reference_bank(model.appearance, randn(batch, c, height, width, seed=2), TIME, self.text, self.n),
        )
        self.features = embed_control(
            model.control, randn(batch * 4, planes, height * strides, width * strides, seed=4)
        )

    def residuals(self, text, shallow=None):
        rows = self.x.transpose(1, 2).flatten(0, 1)
        return control_residuals(self.model.control, rows, self.features, TIME, text, 0.7, self.n, shallow)

    def sample(self):
        return stem_input(self.model.denoiser, self.x, coordinates=self.n)

    def whole(self, bank):
        residuals = self.residuals(self.text)
        return predict(self.model.denoiser, self.x, TIME, self.text, bank, residuals, coordinates=self.n)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("style", ["rgb", "parts"])
@pytest.mark.parametrize(("height", "width", "batch"), [(8, 8, 1), (7, 10, 2)])
@pytest.mark.parametrize("head", [1, 2])
def test_parts_make_the_whole(style, height, width, batch, head):
    call = Call(style, height, width, batch=batch)
    network = call.model.denoiser
    trunk = network.trunk(call.sample(), TIME, call.text, call.residuals(call.text))
    halves = {}
    for name, bank in (("conditional", call.bank), ("unconditional", None)):
        deep = network.branch(trunk, call.text, bank, head)
        halves[name] = network.head(trunk, deep, call.text, bank, head)
        torch.testing.assert_close(halves[name], call.whole(bank), atol=ATOL, rtol=0)
    assert (halves["conditional"] - halves["unconditional"]).abs().max() > 1e-3


@pytest.mark.parametrize("style", ["rgb", "parts"])
@pytest.mark.parametrize("head", [1, 2])
def test_a_shallow_call_with_its_own_deep_features_changes_nothing(style, head):
    call = Call(style, 8, 8)
    network = call.model.denoiser
    full = network.trunk(call.sample(), TIME, call.text, call.residuals(call.text))
    deep = network.branch(full, call.text, call.bank, head)
    shallow = network.trunk(call.sample(), TIME, call.text, call.residuals(call.text, head), shallow=head)
    assert len(shallow.skips) == head
    ours = network.head(shallow, deep, call.text, call.bank, head)
    torch.testing.assert_close(ours, call.whole(call.bank), atol=ATOL, rtol=0)
    assert (network.head(shallow, deep.flip(0), call.text, call.bank, head) - ours).abs().max() > 1e-2


@pytest.mark.parametrize("tokens", [1, 5])
def test_prompts_may_be_projected_beforehand(tokens):
    call = Call("rgb", 8, 8, tokens)
    model = call.model
    projected = project_text(model.denoiser, call.text)
    assert set(projected) == {name for name, _ in model.denoiser.named_modules() if _is_cross_attention(name)}
    residuals = call.residuals(project_text(model.control, call.text))
    ours = model.denoiser(call.x, TIME, projected, call.bank, residuals)
    torch.testing.assert_close(ours, call.whole(call.bank), atol=ATOL, rtol=0)
    other = model.denoiser(call.x, TIME, project_text(model.denoiser, call.text + 1), call.bank, residuals)
    assert (other - ours).abs().max() > 1e-3


def _is_cross_attention(name):
    return ".attentions." in name and name.endswith(".attn2")


def test_feed_forward_layers_work_in_slices():
    stock = FeedForward(8)
    sliced = SlicedFeedForward(stock)
    x, rows = randn(5, SLICE_ROWS // 2, 8), []
    whole = stock(x)
    handle = stock.net[0].register_forward_hook(lambda _, given, __: rows.append(given[0].shape[0]))
    made = sliced(x)
    handle.remove()
    assert rows == [SLICE_ROWS, SLICE_ROWS, SLICE_ROWS // 2]
    torch.testing.assert_close(made, whole)
    assert made.shape == x.shape
    assert (sliced(x.flip(0)) - whole).abs().max() > 0.1
