"""`magicanimate models`, and the official layout from a folder to a video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file
from typer.testing import CliRunner

from golden_cases import Comparison, pipeline_case
from magicanimate.cli.main import app
from magicanimate.models.official_files import locate_all
from official_folder import GOLDENS, write_official_folder


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    return write_official_folder(tmp_path_factory.mktemp("pretrained_models"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache, and no connection."""
    monkeypatch.setenv("MAGICANIMATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: object, code: int = 0) -> str:
    """Run `magicanimate models ...`; returns what it printed."""
    result = CliRunner().invoke(app, ["models", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module")
def converted(official, tmp_path_factory) -> Path:
    """The official folder as a model folder in float32."""
    out = tmp_path_factory.mktemp("converted") / "official"
    run("convert", official, out, "--dtype", "float32")
    return out


def video_errors(folder: Path) -> Comparison:
    from magicanimate.models.model import load_model

    with torch.no_grad():
        return list(pipeline_case(GOLDENS, "p16", model=load_model(folder)))[-1]


def test_an_official_folder_gives_the_golden_video(official, converted):
    for folder in (official, converted):
        video = video_errors(folder)
        assert video.name == "d.p16.video"
        assert video.passed, video


def test_rounded_weights_do_not(converted, tmp_path):
    run("convert", converted, tmp_path / "int8", "--dtype", "int8")
    video = video_errors(tmp_path / "int8")
    assert video.error > 10 * video.tolerance


def test_the_converted_description(converted, official):
    from magicanimate.models.official import read_empty_prompt

    facts = json.loads(run("info", converted, "--json"))
    assert facts["norm_scope"] == "window"
    assert (facts["steps"], facts["guidance"], facts["window"], facts["overlap"]) == (25, 7.5, 16, 4)
    assert facts["scheduler"]["beta_schedule"] == "linear"
    assert facts["storage"] == "float32"
    stored = load_file(converted / "empty_prompt.safetensors")["embedding"]
    assert torch.equal(stored, read_empty_prompt(locate_all(official)))


def test_a_converted_network_opens_in_diffusers(converted):
    network, found = ControlNetModel.from_pretrained(converted / "control", output_loading_info=True)
    assert sum(p.numel() for p in network.parameters()) > 0
    assert not any(found.values())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_number_formats(converted, tmp_path, dtype):
    plain = json.loads(run("info", converted, "--json"))
    assert "Wrote" in run("convert", converted, tmp_path / "out", "--dtype", dtype)
    facts = json.loads(run("info", tmp_path / "out", "--json"))
    assert facts["storage"] == dtype
    for name, size in plain["networks"].items():
        assert facts["networks"][name]["weights"] == size["weights"]
        assert facts["networks"][name]["bytes"] < 0.6 * size["bytes"]


def test_int8_expands_to_a_plain_folder(converted, tmp_path):
    run("convert", converted, tmp_path / "small", "--dtype", "int8")
    run("convert", tmp_path / "small", tmp_path / "plain")
    state = load_file(tmp_path / "plain" / "control" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert not any(name.endswith(".scale") for name in state)


def test_models_in_the_cache_have_names(converted, home):
    assert "not here" in run("list")
    run("convert", converted, home / "mine")
    assert "mine" in run("list")
    assert json.loads(run("info", "mine", "--json"))["folder"] == str(home / "mine")


def test_official_checkpoints_in_the_cache(official, home):
    home.mkdir()
    (home / "magicanimate-checkpoints").symlink_to(official)
    assert "fetched" in run("list")
    assert "temporal_attention.ckpt" in run("info", "magicanimate")


def test_an_existing_folder_is_replaced_only_when_asked(converted, tmp_path):
    out = tmp_path / "out"
    run("convert", converted, out)
    assert "--overwrite" in run("convert", converted, out, code=2)
    run("convert", converted, out, "--overwrite", "--dtype", "int8")
    assert json.loads(run("info", out, "--json"))["storage"] == "int8"


def test_other_folders_are_never_replaced(converted, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    assert "not a model folder" in run("convert", converted, tmp_path, "--overwrite", code=2)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_failed_conversion_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    run("convert", tmp_path / "empty", tmp_path / "out", code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("info", "no-such-model"), "Unknown model 'no-such-model'"),
        (("info", "magicanimate"), "models fetch"),
        (("convert", "magicanimate", "out"), "models fetch"),
    ],
)
def test_unknown_models(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in run(*arguments, code=2)


def test_damaged_weights_are_named(converted, tmp_path):
    run("convert", converted, tmp_path / "out")
    path = tmp_path / "out" / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert str(path) in run("info", tmp_path / "out", code=2)
