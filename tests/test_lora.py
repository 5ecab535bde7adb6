"""LoRAs added to a model's weights, key by key, under the three ways in which their layers are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.models.lora import fuse_lora
from magicanimate.models.model import load_model
from official_folder import write_official_folder

RANK, ALPHA, SCALE = 2, 1.0, 0.5
Factors = dict[str, tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Networks with the layers of Stable Diffusion 1.5, small."""
    return write_official_folder(tmp_path_factory.mktemp("lora") / "weights")


def factors(network: nn.Module) -> Factors:
    """Random changes of every linear layer and convolution outside the temporal layers, as LCM-LoRA has them."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and "motion_modules" not in name and "." in name:
            rows, *columns = layer.weight.shape
            down = torch.randn(RANK, *columns, generator=generator) / 10
            up = torch.randn(rows, RANK, *[1] * (len(columns) - 1), generator=generator) / 10
            found[name] = (down, up)
    return found


def kohya(changes: Factors) -> dict[str, Tensor]:
    state = {}
    for name, (down, up) in changes.items():
        flat = f"lora_unet_{name.replace('.', '_')}"
        state |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(ALPHA)}
    return state


def peft(changes: Factors) -> dict[str, Tensor]:
    downs = {f"unet.{name}.lora_A.weight": down for name, (down, _) in changes.items()}
    return downs | {f"unet.{name}.lora_B.weight": up for name, (_, up) in changes.items()}


def processors(changes: Factors) -> dict[str, Tensor]:
    """Attention only, as diffusers named it first."""
    state = {}
    for name, (down, up) in changes.items():
        if ".attn" in name:
            parent, _, last = name.removesuffix(".0").rpartition(".")
            plain = f"unet.{parent}.processor.{last}_lora"
            state |= {f"{plain}.down.weight": down, f"{plain}.up.weight": up}
    return state


@pytest.mark.parametrize(("names", "factor"), [(kohya, ALPHA / RANK), (peft, 1.0), (processors, 1.0)])
def test_every_layer_gets_its_own_change(folder, tmp_path, names, factor):
    before, model = load_model(folder), load_model(folder)
    changes = factors(model.denoiser)
    state = names(changes)
    text = {} if names is not kohya else {
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(1, 1),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(1, 1),
    }  # fmt: skip
    save_file(state | text, tmp_path / "lora.safetensors")
    fused = fuse_lora(model, tmp_path / "lora.safetensors", SCALE)
    changed = {name for name in changes if names is not processors or ".attn" in name}
    assert len(changed) > 40
    for network in ("denoiser", "appearance"):
        old, new = (m.networks[network].state_dict() for m in (before, fused))
        for key in old:
            layer = key.removesuffix(".weight")
            expected = old[key]
            if key.endswith(".weight") and layer in changed:
                down, up = changes[layer]
                expected = expected + SCALE * factor * (up.flatten(1) @ down.flatten(1)).reshape(expected.shape)
                assert not torch.equal(new[key], old[key])
            torch.testing.assert_close(new[key], expected, rtol=1e-5, atol=1e-6, msg=key)
    assert all(torch.equal(a, b) for a, b in zip(before.control.parameters(), fused.control.parameters(), strict=True))
    assert "lora.safetensors, scale 0.5" in fused.config.limits[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {"x": torch.ones(1)}, "other than pairs"),
        (lambda state: dict(list(state.items())[1:]), "is not a LoRA"),
        (lambda state: {name: v[:, :1] if "lora_down" in name else v for name, v in state.items()}, "another network"),
        (lambda state: {name.replace("blocks_0", "blocks_9"): v for name, v in state.items()}, "for another network"),
    ],
)
def test_other_files_are_refused(folder, tmp_path, change, message):
    model = load_model(folder)
    state = kohya(factors(model.denoiser))
    save_file({name: v.contiguous() for name, v in change(state).items()}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=message):
        fuse_lora(model, tmp_path / "x.safetensors")


def test_convert_adds_it(folder, tmp_path):
    changes = factors(load_model(folder).denoiser)
    save_file(kohya(changes), tmp_path / "lora.safetensors")
    out = tmp_path / "fused"
    arguments = ["models", "convert", str(folder), str(out), "--dtype", "float32", "--lora-scale", str(SCALE)]
    result = CliRunner().invoke(app, [*arguments, "--lora", str(tmp_path / "lora.safetensors")])
    assert result.exit_code == 0, result.output
    expected = fuse_lora(load_model(folder), tmp_path / "lora.safetensors", SCALE)
    found = load_model(out)
    assert found.config.limits == expected.config.limits
    assert all(
        torch.equal(a, b) for a, b in zip(found.denoiser.parameters(), expected.denoiser.parameters(), strict=True)
    )
