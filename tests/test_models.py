"""Model folders: what is written is what is read, and everything wrong is said in one sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from magicanimate.errors import InputError
from magicanimate.models.config import ModelConfig
from magicanimate.models.model import DIFFUSERS_CLASSES, check_sizes, load_model, save_model
from magicanimate.models.weights import (
    dequantize,
    load_strict,
    quantize_int8,
    read_safetensors,
    stored_state,
    to_storage,
    write_safetensors,
)
from magicanimate.networks.denoiser import build_denoiser, predict
from random_models import random_model
from seeded import randn

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def original():
    return random_model("parts")


@pytest.fixture(scope="module")
def saved(original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(original, folder, "float32")
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "model")


@torch.no_grad()
def run(model):
    c = model.latent_channels
    return predict(model.denoiser, randn(1, c, 3, 8, 8), 5, model.empty_prompt[None], coordinates=8)


def test_round_trip_is_exact(original, saved):
    loaded = load_model(saved)
    for name in DIFFUSERS_CLASSES:
        ours, theirs = original.networks[name].state_dict(), loaded.networks[name].state_dict()
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert torch.equal(loaded.empty_prompt, original.empty_prompt)
    assert loaded.config == original.config.model_copy(update={"storage": "float32"})
    torch.testing.assert_close(run(loaded), run(original), atol=1e-6, rtol=1e-5)
    assert not loaded.denoiser.training
    assert not any(p.requires_grad for p in loaded.denoiser.parameters())


@pytest.mark.parametrize(
    ("storage", "bytes_per_weight", "error"), [("float16", 2, 0.02), ("bfloat16", 2, 0.2), ("int8", 1, 0.5)]
)
def test_smaller_storage(original, tmp_path, storage, bytes_per_weight, error):
    save_model(original, tmp_path, storage)
    loaded = load_model(tmp_path)
    assert loaded.config.storage == storage
    assert loaded.dtype == torch.float32
    difference = (run(loaded) - run(original)).abs().max().item()
    assert 0 < difference < error * run(original).std().item()
    weights = sum(p.numel() for p in original.denoiser.parameters())
    assert (tmp_path / "denoiser" / WEIGHTS).stat().st_size < 1.5 * bytes_per_weight * weights + 1e5


def test_config_is_diffusers_own(saved):
    for name, class_name in DIFFUSERS_CLASSES.items():
        assert json.loads((saved / name / "config.json").read_text())["_class_name"] == class_name


def test_position_tables_are_not_stored_but_computed(original, saved):
    assert not any("pos_embed" in name for name in load_file(saved / "denoiser" / WEIGHTS))
    tables = [name for name in load_model(saved).denoiser.state_dict() if name.endswith("pos_embed.pe")]
    assert len(tables) > 0
    for name in tables:
        table = load_model(saved).denoiser.get_buffer(name)
        assert torch.equal(table, original.denoiser.get_buffer(name))


def test_dtype_and_device(saved):
    model = load_model(saved, torch.float16)
    assert model.dtype == model.empty_prompt.dtype == torch.float16
    assert {t.dtype for network in model.networks.values() for t in network.state_dict().values()} == {torch.float16}
    assert model.to("cpu", torch.float32).dtype == torch.float32


def test_every_wrong_name_is_listed(folder):
    path = folder / "control" / WEIGHTS
    state = load_file(path)
    removed = [name for name in state if name.startswith("conv_in")]
    changed = {name: value for name, value in state.items() if name not in removed}
    changed["surplus"] = torch.zeros(1)
    changed["time_embedding.linear_1.bias"] = torch.zeros(3)
    save_file(changed, path)
    with pytest.raises(InputError) as error:
        load_model(folder)
    message = str(error.value)
    assert all(f"missing {name}" in message for name in removed)
    assert "unexpected surplus" in message
    assert "time_embedding.linear_1.bias has shape [3]" in message
    assert str(path) in message


@pytest.mark.parametrize("name", ["denoiser", "appearance", "control", "vae"])
def test_missing_and_damaged_weights(folder, name):
    path = folder / name / WEIGHTS
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:5], b"", b"not safetensors at all" * 10):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.*damaged"):
            load_model(folder)
    path.unlink()
    with pytest.raises(InputError, match=f"{name}.*missing"):
        load_model(folder)


@pytest.mark.parametrize("name", ["denoiser/config.json", "vae/config.json", "empty_prompt.safetensors", "model.json"])
def test_missing_and_damaged_descriptions(folder, name):
    (folder / name).write_text("{")
    with pytest.raises(InputError, match=name.rpartition("/")[2]):
        load_model(folder)
    (folder / name).unlink()
    with pytest.raises(InputError):
        load_model(folder)


def test_descriptions_of_the_wrong_kind(folder):
    (folder / "vae" / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="not a JSON object"):
        load_model(folder)


def test_wrong_prompt(folder):
    save_file({"something": torch.zeros(1, 8)}, folder / "empty_prompt.safetensors")
    with pytest.raises(InputError, match="embedding"):
        load_model(folder)


def test_fields_of_the_description_are_checked(folder):
    path = folder / "model.json"
    content = json.loads(path.read_text())
    for change, named in (({"window": "many"}, "window"), ({"color": 1}, "color"), ({"overlap": 9}, "overlap")):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(InputError, match=named):
            load_model(folder)


def test_unfit_parts_are_named():
    model = random_model("parts")
    check_sizes(model, "x")
    model = replace(model, config=model.config.model_copy(update={"coordinates": 4, "window": 64}))
    with pytest.raises(InputError) as error:
        check_sizes(model, "x")
    assert "denoiser's in_channels is 14 instead of 10" in str(error.value)
    assert "position table of 16" in str(error.value)


def test_unwritable_folder(original, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save_model(original, tmp_path / "file" / "model")


def test_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "weights").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_safetensors(tmp_path / "weights", {"x": torch.zeros(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_description_is_written_last(original, tmp_path, monkeypatch):
    """An interrupted save leaves a folder without a description, which is no model folder."""
    from magicanimate.models import model as models

    def interrupted(path, tensors):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "write_safetensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_model(original, tmp_path)
    assert not (tmp_path / "model.json").exists()


def test_what_all_latents_pass_is_not_rounded_to_int8(tmp_path):
    save_model(random_model("parts"), tmp_path / "model", storage="int8")
    stored = read_safetensors(tmp_path / "model" / "vae" / "diffusion_pytorch_model.safetensors")
    assert stored["decoder.conv_in.weight"].dtype == torch.float16
    assert stored["quant_conv.weight"].dtype == torch.float16
    assert stored["decoder.up_blocks.0.resnets.0.conv1.weight"].dtype == torch.int8
    stored = read_safetensors(tmp_path / "model" / "denoiser" / "diffusion_pytorch_model.safetensors")
    assert stored["conv_out.weight"].dtype == torch.int8


def test_int8_rounds_to_half_a_level():
    state = {"w": randn(6, 5, 3), "zero": torch.zeros(2, 3), "b": randn(6), "n": torch.arange(3)}
    stored = quantize_int8(state)
    assert {name: str(value.dtype) for name, value in stored.items()} == {
        "w": "torch.int8", "w.scale": "torch.float16", "zero": "torch.int8", "zero.scale": "torch.float16",
        "b": "torch.float16", "n": "torch.int64",
    }  # fmt: skip
    full = dequantize(stored)
    assert set(full) == set(state)
    step = state["w"].flatten(1).abs().amax(1)[:, None, None] / 127
    assert ((full["w"] - state["w"]).abs() <= 0.56 * step).all()
    assert (full["w"] - state["w"]).abs().max() > 0
    assert not full["zero"].any()
    assert torch.equal(full["n"], state["n"])


def test_a_weight_called_scale_is_not_a_factor():
    state = {"norm.scale": torch.ones(3)}
    assert torch.equal(dequantize(state)["norm.scale"], torch.ones(3))


def test_storage_keeps_whole_numbers():
    assert to_storage({"n": torch.arange(3)}, "float16")["n"].dtype == torch.int64


def test_read_safetensors_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.safetensors are missing"):
        read_safetensors(tmp_path / "nothing.safetensors")


def test_computed_tables_may_be_present(original):
    with torch.device("meta"):
        empty = build_denoiser(original.denoiser.config, "frame")
    state = original.denoiser.state_dict()
    assert len(stored_state(original.denoiser)) < len(state)
    load_strict(empty, state, "memory")
    assert not any(tensor.is_meta for tensor in empty.state_dict().values())


def test_defaults_are_the_originals():
    config = ModelConfig(name="x", resolution=(512, 512))
    assert (config.window, config.overlap, config.steps, config.guidance, config.norm_scope, config.fps) == (
        16, 4, 25, 7.5, "window", 25.0,
    )  # fmt: skip
