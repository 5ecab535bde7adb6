"""Low-rank changes of a finished model, trained, written, and added again."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from blocks import configuration, settings, weights
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.models.lora import fuse_lora
from magicanimate.models.model import load_model
from magicanimate.networks.appearance import reference_bank
from magicanimate.networks.denoiser import predict
from magicanimate.train.lora import LoraSettings, add_lora, write_lora
from magicanimate.train.run import run

CPU = torch.device("cpu")


def lora_configuration(trained, out) -> dict:
    content = configuration(trained, "appearance", precision="bfloat16") | {"out": str(out), "lora": {"rank": 2}}
    return {name: value for name, value in content.items() if name not in ("vae_folder", "model", "networks")} | {
        "start": str(trained / "temporal" / "model")
    }


def test_training_writes_a_file_that_convert_adds(trained, tmp_path):
    path = run(settings(tmp_path / "lora.yaml", lora_configuration(trained, tmp_path / "run")), CPU)
    state = load_file(path)
    assert {name.split(".")[0] for name in state} == {"unet", "appearance"}
    assert all(min(value.shape[:2]) <= 2 for value in state.values())
    assert sum(value.any() for name, value in state.items() if ".lora_B." in name) > 20, "they were trained"
    source = trained / "temporal" / "model"
    arguments = ["models", "convert", str(source), str(tmp_path / "mine"), "--dtype", "float32", "--lora", str(path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    before, after = weights(source), weights(tmp_path / "mine")
    changed = {name for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"denoiser", "appearance"}
    assert not any(".motion_modules." in name for name in changed)


@torch.no_grad()
def test_added_changes_are_the_trained_ones(trained, tmp_path):
    torch.manual_seed(0)
    source = trained / "temporal" / "model"

    def output(model) -> torch.Tensor:
        z, text, time = torch.ones(1, 4, 2, 8, 8), model.empty_prompt[None], torch.tensor([500])
        bank = reference_bank(model.appearance, z[:, :, 0] / 2, time, text, coordinates=8)
        return predict(model.denoiser, z, time, text, bank, coordinates=8, reference_Bchw=z[:, :, 0] / 2)

    model = load_model(source)
    add_lora(model, LoraSettings(rank=2))
    for network in (model.denoiser, model.appearance):
        for name, parameter in network.named_parameters():
            if name.endswith(".up"):
                parameter.normal_(std=0.1)
    path = tmp_path / "lora.safetensors"
    write_lora(model, path)
    torch.testing.assert_close(output(fuse_lora(load_model(source), path)), output(model), atol=1e-4, rtol=1e-3)
    half = output(fuse_lora(load_model(source), path, 0.5))
    assert (half - output(model)).abs().max() > 1e-2
    assert (output(load_model(source)) - output(model)).abs().max() > 1e-2
    renamed = {n.replace("appearance.", "appearance.none.", 1): value for n, value in load_file(path).items()}
    save_file(renamed, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="the appearance encoder has no none"):
        fuse_lora(load_model(source), tmp_path / "other.safetensors")


def test_a_lora_needs_a_finished_model(trained, tmp_path):
    content = configuration(trained, "appearance") | {"lora": {}}
    with pytest.raises(InputError, match="needs stage appearance and start"):
        settings(tmp_path / "bad.yaml", content)
