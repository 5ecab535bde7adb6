"""The official layout: inventories at real size, every quirk at tiny size, and what damaged folders say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from golden_networks import golden_appearance, golden_denoiser, golden_vae, original_state, read_json
from magicanimate.errors import InputError
from magicanimate.models.official import MOTION, on_meta, read_denoiser, read_empty_prompt, read_official, read_vae
from magicanimate.models.official_files import PARTS, locate_all
from magicanimate.models.weights import map_original_key, original_denoiser_config
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import build_control
from magicanimate.networks.denoiser import build_denoiser
from official_folder import GOLDENS, decorated, save, save_pickle, spatial_config, temporal_state, write_official_folder

TEMPORAL = "MagicAnimate/temporal_attention/temporal_attention.ckpt"


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> Path:
    return write_official_folder(tmp_path_factory.mktemp("pretrained_models"))


@pytest.fixture
def folder(complete, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(complete, tmp_path / "pretrained_models"))


# Real size: names and shapes, on the meta device.


def shapes_of(network: nn.Module) -> dict[str, list[int]]:
    """Names and shapes, without position tables, which are computed."""
    state = network.state_dict()
    return {name: list(tensor.shape) for name, tensor in state.items() if not name.endswith("pos_embed.pe")}


def real_denoiser(**changes) -> dict[str, list[int]]:
    config = spatial_config(read_json(GOLDENS / "inventory_unet3d.json.gz")["config"]) | changes
    return shapes_of(on_meta(lambda: build_denoiser(original_denoiser_config(config, MOTION))))


def real_denoiser_inventory() -> dict[str, list[int]]:
    inventory = read_json(GOLDENS / "inventory_unet3d.json.gz")
    listed = inventory["spatial"]["shapes"] | inventory["temporal"]["shapes"]
    mapped = {map_original_key(name): shape for name, shape in listed.items()}
    return {name: shape for name, shape in mapped.items() if name is not None}


def test_real_size_denoiser():
    inventory = real_denoiser_inventory()
    assert len(inventory) == 686 + 560 - 40
    assert real_denoiser() == inventory


def test_another_denoiser_does_not_match():
    assert real_denoiser(cross_attention_dim=1024) != real_denoiser_inventory()


def test_real_size_position_tables():
    config = original_denoiser_config(spatial_config(read_json(GOLDENS / "inventory_unet3d.json.gz")["config"]), MOTION)
    state = on_meta(lambda: build_denoiser(config)).state_dict()
    ours = {tuple(tensor.shape) for name, tensor in state.items() if name.endswith("pos_embed.pe")}
    temporal = read_json(GOLDENS / "inventory_unet3d.json.gz")["temporal"]
    assert ours == {tuple(temporal["shapes"][name]) for name in temporal["buffers"]}


@pytest.mark.parametrize(
    ("inventory", "make"), [("controlnet", build_control), ("appearance_encoder", build_appearance)]
)
def test_real_size_networks(inventory, make):
    content = read_json(GOLDENS / f"inventory_{inventory}.json.gz")
    ours = shapes_of(on_meta(lambda: make(content["config"])))
    assert ours == content["shapes"]
    assert len(ours) == content["count"]
    narrower = {**content["config"], "block_out_channels": [320, 640, 1280, 640]}
    assert shapes_of(on_meta(lambda: make(narrower))) != content["shapes"]


def test_real_size_vae_and_text_encoder():
    content = read_json(GOLDENS / "inventory_vae_clip.json.gz")
    assert shapes_of(on_meta(lambda: AutoencoderKL(**content["vae"]["config"]))) == content["vae"]["shapes"]
    config = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12)
    with torch.device("meta"):
        ours = shapes_of(CLIPTextModel(config))
    shapes = {name.removeprefix("text_model."): shape for name, shape in content["text_encoder"]["shapes"].items()}
    assert {name.removeprefix("text_model."): shape for name, shape in ours.items()} == shapes


# Tiny size: every quirk.


def assert_same(network: nn.Module, expected: nn.Module) -> None:
    state = expected.state_dict()
    assert network.state_dict().keys() == state.keys()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_complete_folder(complete):
    model = read_official(complete)
    assert_same(model.denoiser, golden_denoiser(GOLDENS))
    assert_same(model.appearance, golden_appearance(GOLDENS))
    assert_same(model.vae, golden_vae(GOLDENS))
    assert not any(parameter.is_meta for parameter in model.denoiser.parameters())
    assert (model.config.steps, model.config.guidance, model.config.window, model.config.overlap) == (25, 7.5, 16, 4)
    assert model.config.scheduler["prediction_type"] == "epsilon"


def test_empty_prompt_is_the_goldens(complete):
    golden = load_file(GOLDENS / "d_text_encoder.safetensors")["last_hidden_state"]
    ours = read_empty_prompt(locate_all(complete))
    assert (ours - golden[0]).abs().max() < 1e-5
    assert (ours - golden[1]).abs().max() > 1e-2


def rewrite_temporal(folder: Path, change) -> None:
    """Replace the temporal checkpoint by `change` of its plain weights."""
    save_pickle(change(temporal_state()), folder / TEMPORAL)


@pytest.mark.parametrize(
    "change",
    [
        lambda temporal: temporal,
        lambda temporal: {f"module.junk.module.{name}": value for name, value in temporal.items()},
        lambda temporal: {f"unet.{name}": value for name, value in temporal.items()} | {"vae.x": torch.ones(1)},
        lambda temporal: {name: value.half() for name, value in temporal.items()},
        lambda temporal: {name: value for name, value in temporal.items() if not name.endswith(".pe")},
        decorated,
    ],
    ids=["bare", "last-module-prefix", "unet-prefix-and-others", "float16", "no-tables", "middle-block"],
)
def test_forms_of_the_temporal_checkpoint(folder, change):
    rewrite_temporal(folder, change)
    assert_same(read_denoiser(locate_all(folder)), golden_denoiser(GOLDENS))


def test_spatial_weights_in_the_temporal_checkpoint_win(folder):
    ones = torch.ones_like(original_state(GOLDENS, "unet")["conv_in.bias"])
    rewrite_temporal(folder, lambda temporal: {**temporal, "conv_in.bias": ones})
    assert torch.equal(read_denoiser(locate_all(folder)).conv_in.bias, ones)


def stretched(temporal):
    return {
        name: torch.cat([value, value[:, :8]], 1) if name.endswith(".pe") else value for name, value in temporal.items()
    }


def shifted(temporal):
    return {name: value + 1 if name.endswith(".pe") else value for name, value in temporal.items()}


def without_one(temporal):
    return {name: value for name, value in temporal.items() if not name.endswith("blocks.0.norms.1.weight")}


def wider(temporal):
    return {name: value.repeat(2, 1) if name.endswith("proj_in.weight") else value for name, value in temporal.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (stretched, "position table .* not length 24"),
        (shifted, "is not the sinusoidal one"),
        (without_one, "missing .*norm2.weight"),
        (wider, "proj_in.weight has shape"),
        (lambda temporal: {**temporal, "down_blocks.0.motion_modules.9.x": torch.ones(1)}, "motion_modules.9.x"),
        (lambda temporal: {"something.else": torch.ones(1)}, "no motion modules"),
    ],
)
def test_unusable_temporal_checkpoints(folder, change, message):
    rewrite_temporal(folder, change)
    with pytest.raises(InputError, match=message):
        read_denoiser(locate_all(folder))


def test_safetensors_twin_of_the_unet(folder):
    pickled = folder / PARTS["unet"].alternatives[1]
    save(torch.load(pickled, weights_only=True), folder / PARTS["unet"].alternatives[0])
    pickled.unlink()
    assert_same(read_denoiser(locate_all(folder)), golden_denoiser(GOLDENS))


def test_extra_weights_only_warn_where_they_do_in_the_original(folder, caplog):
    path = folder / PARTS["control"].alternatives[0]
    save({**load_file(path), "extra.weight": torch.ones(1)}, path)
    read_official(folder)
    assert "extra.weight" in caplog.text


def test_extra_weights_are_an_error_elsewhere(folder):
    path = folder / PARTS["vae"].alternatives[0]
    save({**load_file(path), "extra.weight": torch.ones(1)}, path)
    with pytest.raises(InputError, match=r"unexpected extra\.weight"):
        read_vae(locate_all(folder))


# Missing, damaged and unsafe files.


def present(folder: Path, name: str) -> Path:
    return next(folder / path for path in PARTS[name].alternatives if (folder / path).exists())


@pytest.mark.parametrize("name", PARTS)
def test_a_missing_file_is_named(folder, name):
    present(folder, name).unlink()
    with pytest.raises(InputError) as raised:
        read_official(folder)
    assert PARTS[name].alternatives[0] in str(raised.value)
    assert PARTS[name].hub in str(raised.value)


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, "cut") for name in PARTS if name not in ("vocabulary", "merges")]
    + [(name, damage) for name in ("unet", "control", "vae config") for damage in ("empty", "text")],
)
def test_a_damaged_file_is_named(folder, name, damage):
    path = present(folder, name)
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"<html>not found</html>"}[damage])
    with pytest.raises(InputError) as raised:
        read_official(folder)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_pointer_is_told_from_weights(folder):
    path = present(folder, "appearance")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        read_official(folder)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("was-here"),))


def test_a_pickle_runs_no_code(folder, monkeypatch):
    monkeypatch.chdir(folder)
    save_pickle({"state_dict": {"x": Evil()}}, folder / TEMPORAL)
    with pytest.raises(InputError, match="holds more than tensors"):
        read_denoiser(locate_all(folder))
    assert not Path("was-here").exists()
    torch.load(folder / TEMPORAL, weights_only=False)  # what it would have done
    assert Path("was-here").exists()


def test_an_unknown_middle_block_is_refused(folder):
    path = present(folder, "unet config")
    path.write_text(json.dumps({**json.loads(path.read_text()), "mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}))
    with pytest.raises(InputError, match="middle block"):
        read_denoiser(locate_all(folder))
