"""Training in less memory: factored moments, no average, frozen layers in bfloat16."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from blocks import configuration, settings, weights
from magicanimate.errors import InputError
from magicanimate.train.checkpoints import CHECKPOINT
from magicanimate.train.diffusion import DiffusionStage
from magicanimate.train.frozen_layers import StoredConv2d, StoredLinear, store_frozen
from magicanimate.train.loop import LOG, LoopSettings, train
from magicanimate.train.optimizer import build_optimizer
from magicanimate.train.run import run
from random_models import random_model
from stages import Line, gradients, line_weights, stage_of

CPU = torch.device("cpu")
LOW = {"optimizer": "adafactor", "ema": 0.0, "frozen": "bfloat16", "checkpointing": True}


def test_factored_moments_are_small_and_learn():
    """A convolution counts as a matrix; its step is as long as AdamW's, and leads downhill."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(32, 2))
    optimizer = build_optimizer("adafactor", list(net.parameters()), 1e-2, 0.0)
    x, y = torch.randn(16, 4, 4, 4), torch.randn(16, 2)
    before, losses = [p.detach().clone() for p in net.parameters()], []
    for step in range(60):
        for p in net.parameters():
            p.grad = None
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step == 0:
            lengths = [(p - b).square().mean().sqrt().item() for p, b in zip(net.parameters(), before, strict=True)]
    assert lengths == pytest.approx([1e-2] * 4, rel=0.25)
    assert losses[-1] < 0.2 * losses[0]
    moments = [value.numel() for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    assert sum(moments) == (8 + 36) + 8 + (2 + 32) + 2


def adamw_weights(optimizer_of, later_of=None, forget: bool = False) -> torch.Tensor:
    """After 10 steps, or 5 with each optimizer, the second one with the state of the first unless that is forgotten."""
    torch.manual_seed(0)
    net, x, y = nn.Linear(6, 3), torch.randn(16, 6), torch.randn(16, 3)
    optimizer = optimizer_of(list(net.parameters()))
    for step in range(10):
        if later_of and step == 5:
            state, optimizer = optimizer.state_dict(), later_of(list(net.parameters()))
            if not forget:
                optimizer.load_state_dict(state)
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()
    return net.weight.detach()


def test_adamw_in_one_pass_is_torchs_own_and_goes_on_from_its_state():
    def ours(weights):
        return build_optimizer("adamw", weights, 1e-2, 0.1)

    def plain(weights, betas=(0.9, 0.99)):
        return torch.optim.AdamW(weights, 1e-2, betas=betas, weight_decay=0.1, foreach=False, fused=False)

    expected = adamw_weights(plain)
    torch.testing.assert_close(adamw_weights(ours), expected)
    torch.testing.assert_close(adamw_weights(plain, ours), expected)
    assert not torch.allclose(adamw_weights(lambda weights: plain(weights, (0.9, 0.9))), expected)
    assert not torch.allclose(adamw_weights(plain, ours, forget=True), expected)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_interrupted_at_every_step_is_as_good_as_uninterrupted(tmp_path, optimizer):
    loop = LoopSettings(steps=5, batch=4, save_every=100, log_every=2, optimizer=optimizer, ema=0.0)
    train(Line(), loop, tmp_path / "whole", CPU)
    hasty = loop.model_copy(update={"minutes": 1e-9})
    stages = [Line() for _ in range(5)]
    assert [train(stage, hasty, tmp_path / "pieces", CPU) for stage in stages] == [1, 2, 3, 4, 5]
    assert torch.equal(line_weights(tmp_path / "pieces"), line_weights(tmp_path / "whole"))
    content = torch.load(tmp_path / "whole" / CHECKPOINT, weights_only=True)
    assert content["ema"] == {}  # no copy is kept, and the result is the weights themselves
    assert torch.equal(stages[-1].line.weight, line_weights(tmp_path / "whole"))
    other = LoopSettings(**(loop.model_dump() | {"optimizer": "adafactor" if optimizer == "adamw" else "adamw"}))
    train(Line(), other, tmp_path / "other", CPU)
    assert not torch.equal(line_weights(tmp_path / "other"), line_weights(tmp_path / "whole"))


def stored(stage: DiffusionStage, model) -> DiffusionStage:
    store_frozen(model.networks.values(), [p for _, p in stage.trainable()])
    return stage


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("choice", [{"train_denoiser": False}, {"stage": "temporal", "window": 3, "tau_2": 0.0}])
def test_frozen_layers_in_bfloat16(choice, autocast):
    """Under autocast the same gradients to the bit; else those of rounded weights. What is trained stays float32."""
    plain = random_model("parts", reference_input=True)
    exact = gradients(stage_of(plain, **choice), autocast=autocast)
    model = random_model("parts", reference_input=True)
    stage = stored(stage_of(model, **choice), model)
    layers = [m for n in model.networks.values() for m in n.modules() if isinstance(m, (StoredLinear, StoredConv2d))]
    assert len(layers) > 30
    trained = {name for name, p in stage.trainable()}
    for part, network in model.networks.items():
        for name, p in network.named_parameters():
            assert p.dtype == torch.float32 or f"{part}.{name}" not in trained
    size = [
        sum(p.numel() * p.element_size() for n in m.networks.values() for p in n.parameters()) for m in (model, plain)
    ]
    assert size[0] < 0.9 * size[1]
    assert model.dtype == torch.float32  # what previews send to the networks
    found = gradients(stage, autocast=autocast)
    assert set(found) == set(exact)
    if autocast:
        assert all(torch.equal(found[name], exact[name]) for name in exact)
    else:
        a, b = (torch.cat([g[name].flatten() for name in sorted(exact)]) for g in (exact, found))
        assert not torch.equal(a, b)
        assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.99


@pytest.mark.parametrize(("stage", "precision"), [("temporal", "float32"), ("distill", "bfloat16")])
def test_low_memory_stages_resume_and_leave_the_rest_exact(trained, tmp_path, stage, precision):
    """Three runs of one step equal one of three; what was not trained is in the result to the bit as it was before."""
    content = configuration(trained, stage, **LOW, precision=precision, steps=3, grid_every=2)
    whole = run(settings(tmp_path / "a.yaml", content | {"out": str(tmp_path / "whole")}), CPU)
    half = content["loop"] | {"minutes": 1e-9}
    for _ in range(3):
        run(settings(tmp_path / "b.yaml", content | {"out": str(tmp_path / "half"), "loop": half}), CPU)
    before = weights(Path(content["start"]))
    found, again = weights(whole), weights(tmp_path / "half" / "model")
    assert all(torch.equal(found[name], again[name]) for name in found)
    changed = {name for name in found if not torch.equal(found[name], before[name])}
    assert changed
    assert all(name.startswith("denoiser.") and (stage == "distill" or ".motion_modules." in name) for name in changed)
    losses = [json.loads(line).get("loss") for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    assert np.isfinite([loss for loss in losses if loss is not None]).all()


def test_stages_that_keep_nothing_frozen_say_so(trained, tmp_path):
    with pytest.raises(InputError, match="stage vae keeps nothing in loop"):
        settings(tmp_path / "vae.yaml", configuration(trained, "vae", frozen="bfloat16"))
