"""`magicanimate models fetch` against a hub on this machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save
from typer.testing import CliRunner

import loopback_hub
from golden_networks import golden_denoiser, original_state
from ldm_names import ldm_unet
from magicanimate.cli.main import app
from magicanimate.engine.acceleration import read_small_decoder
from magicanimate.errors import InputError
from magicanimate.models.model import load_model
from magicanimate.models.official import read_denoiser, read_empty_prompt
from magicanimate.models.official_files import (
    FOLDERS,
    MAGICANIMATE,
    PARTS,
    REVISIONS,
    STABLE_DIFFUSION,
    VAE,
    Files,
    Part,
    locate,
)
from magicanimate.models.place_files import place_parts
from official_folder import GOLDENS, save_pickle, temporal_state, text_state, write_official_folder

UNET = PARTS["unet"].path
TEMPORAL = PARTS["temporal"].path
LARGE = Part(("MagicAnimate/large.bin",), MAGICANIMATE)
PLACE = """
import sys
from pathlib import Path
from magicanimate.models.official_files import Part
from magicanimate.models.place_files import place_parts
place_parts([Part(("MagicAnimate/large.bin",), "zcxu-eric/MagicAnimate")], Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    return write_official_folder(tmp_path_factory.mktemp("pretrained_models"))


def published(official: Path) -> dict[str, dict[str, bytes]]:
    """Files of the three repositories: of each part the first alternative."""
    files: dict[str, dict[str, bytes]] = {hub: {} for hub in FOLDERS}
    for name, part in PARTS.items():
        path = locate(official, name)
        pickled = path.suffix == ".bin"
        content = save(torch.load(path, weights_only=True)) if pickled else path.read_bytes()
        files[part.hub][part.path] = content
    return files


@pytest.fixture
def hub(official, tmp_path, monkeypatch):
    """The hub, an empty cache, and no hashes of real files."""
    with loopback_hub.running() as hub:
        hub.files = published(official)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("MAGICANIMATE_HOME", str(tmp_path / "home"))
        for name, part in PARTS.items():
            monkeypatch.setitem(PARTS, name, replace(part, sha256=None))
        yield hub


def fetch(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["models", "fetch", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def assert_golden(denoiser: torch.nn.Module) -> None:
    golden = golden_denoiser(GOLDENS).state_dict()
    assert all(torch.equal(value, golden[name]) for name, value in denoiser.state_dict().items())


def test_what_is_read_is_fetched_at_a_commit(hub, tmp_path):
    hub.files[STABLE_DIFFUSION]["safety_checker/model.safetensors"] = b"not read"
    said = fetch()
    assert "OpenRAIL-M" in said
    assert set(hub.asked) == {part.path for part in PARTS.values()}
    for part in PARTS.values():
        assert hub.asked[part.path] in {(commit, None) for commit in REVISIONS.values()}
    assert hub.asked[TEMPORAL] == (REVISIONS[MAGICANIMATE], None)
    assert all(len(commit) == 40 for commit in REVISIONS.values())
    root = tmp_path / "home" / "magicanimate-checkpoints"
    assert_golden(read_denoiser(Files(root)))
    hub.asked.clear()
    fetch()
    assert not hub.asked


def whole(official: Path, tmp_path: Path) -> bytes:
    """A temporal checkpoint that holds all of the video UNet."""
    spatial = {name: v for name, v in original_state(GOLDENS, "unet").items() if "motion_modules" not in name}
    save_pickle({"state_dict": spatial | temporal_state()}, tmp_path / "whole.ckpt")
    return (tmp_path / "whole.ckpt").read_bytes()


def test_a_temporal_checkpoint_of_everything_needs_no_unet(hub, official, tmp_path):
    hub.files[MAGICANIMATE][TEMPORAL] = whole(official, tmp_path)
    said = fetch("--to", tmp_path / "there")
    assert "which is not fetched" in said
    assert UNET not in hub.asked
    model = load_model(tmp_path / "there")
    assert_golden(model.denoiser)


def test_without_the_unet_only_such_a_checkpoint_loads(hub, tmp_path):
    fetch("--to", tmp_path / "there")
    (tmp_path / "there" / PARTS["unet"].alternatives[0]).unlink()
    with pytest.raises(InputError, match=r"unet/diffusion_pytorch_model\.safetensors is missing"):
        load_model(tmp_path / "there")


def test_spoilt_content_is_refused_and_fetched_anew(hub, tmp_path):
    path = PARTS["control"].path
    hub.spoilt.add(path)
    said = fetch("--to", tmp_path / "there", code=2)
    assert f"{path} from {MAGICANIMATE} is not the expected file" in said
    assert not list((tmp_path / "there").rglob("*.part"))
    hub.spoilt.clear()
    fetch("--to", tmp_path / "there")
    assert hub.asked[path][1] is None


def test_a_hash_that_is_known_counts_more_than_the_hubs(hub, tmp_path):
    hub.files[VAE] = {"x.bin": b"one"}
    right = Part(("sd-vae-ft-mse/x.bin",), VAE, hashlib.sha256(b"one").hexdigest())
    place_parts([right], tmp_path / "right")
    assert (tmp_path / "right/sd-vae-ft-mse/x.bin").read_bytes() == b"one"
    with pytest.raises(InputError, match="not the expected file"):
        place_parts([replace(right, sha256="0" * 64)], tmp_path / "wrong")


def test_known_hashes_are_of_the_largest_files():
    known = {name for name, part in PARTS.items() if part.sha256}
    assert known == {"unet", "text encoder", "vae"}


def test_the_hubs_own_cache_comes_first(hub, tmp_path, monkeypatch):
    content = hub.files[STABLE_DIFFUSION][UNET]
    name = hashlib.sha256(content).hexdigest()
    blob = tmp_path / "hub" / "models--runwayml--stable-diffusion-v1-5" / "blobs" / name
    config = PARTS["vae config"].path
    cached = tmp_path / "hub" / "models--stabilityai--sd-vae-ft-mse" / "snapshots" / REVISIONS[VAE] / config
    for path, data in ((blob, content), (cached, hub.files[VAE][config])):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    monkeypatch.setitem(PARTS, "unet", replace(PARTS["unet"], sha256=name))
    fetch("--to", tmp_path / "there")
    assert not {UNET, config} & (set(hub.asked) - {PARTS["control config"].path})
    assert (tmp_path / "there" / PARTS["unet"].alternatives[0]).read_bytes() == content
    assert (tmp_path / "there" / PARTS["vae config"].alternatives[0]).read_bytes() == hub.files[VAE][config]


def test_a_spoilt_cache_is_passed_over(hub, tmp_path, monkeypatch):
    name = hashlib.sha256(hub.files[STABLE_DIFFUSION][UNET]).hexdigest()
    blob = tmp_path / "hub" / "models--x--y" / "blobs" / name
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"cut off")
    monkeypatch.setitem(PARTS, "unet", replace(PARTS["unet"], sha256=name))
    fetch("--to", tmp_path / "there")
    assert UNET in hub.asked


def test_a_killed_download_goes_on(hub, tmp_path):
    data = os.urandom(24 * 2**20)
    hub.files[MAGICANIMATE]["large.bin"] = data
    hub.stalls_after = 12 * 2**20
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    process = subprocess.Popen([sys.executable, "-c", PLACE, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL)
    begun = tmp_path / "MagicAnimate" / "large.bin.part"
    waited = time.monotonic() + 60
    while not (begun.is_file() and begun.stat().st_size >= 10 * 2**20) and time.monotonic() < waited:
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = begun.stat().st_size
    assert 10 * 2**20 <= kept < len(data)
    hub.stalls_after = None
    place_parts([LARGE], tmp_path)
    assert hub.asked["large.bin"] == (REVISIONS[MAGICANIMATE], f"bytes={kept}-")
    assert (tmp_path / "MagicAnimate" / "large.bin").read_bytes() == data
    assert not begun.exists()


def test_fetching_and_converting_go_together_and_on(hub, tmp_path):
    out = tmp_path / "small"
    withheld = hub.files[MAGICANIMATE].pop(PARTS["appearance"].path)
    assert "appearance_encoder" in fetch("--to", out, "--dtype", "float16", code=2)
    assert not out.exists()
    hub.files[MAGICANIMATE][PARTS["appearance"].path] = withheld
    hub.asked.clear()
    assert "The official model is in" in fetch("--to", out, "--dtype", "float16")
    assert not {PARTS[name].path for name in ("text encoder", "control")} & set(hub.asked)
    names = {"denoiser", "appearance", "control", "vae", "empty_prompt.safetensors", "model.json", "model_index.json"}
    assert {path.name for path in out.iterdir()} == names | {"NOTICE.md"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("small")] == ["small"]
    fetch("--to", tmp_path / "whole")
    CliRunner().invoke(app, ["models", "convert", str(tmp_path / "whole"), str(tmp_path / "converted")])
    for path in sorted(out.rglob("*.safetensors")):
        other = load_file(tmp_path / "converted" / path.relative_to(out))
        assert all(torch.equal(value, other[name]) for name, value in load_file(path).items()), path
    assert (out / "model.json").read_text() == (tmp_path / "converted" / "model.json").read_text()
    assert "--overwrite" in fetch("--to", out, "--dtype", "float16", code=2)


def test_notices_travel(hub, tmp_path):
    fetch("--to", tmp_path / "a")
    (tmp_path / "a" / "stable-diffusion-v1-5" / "LICENSE").write_text("use restrictions")
    for source, out in (("a", "b"), ("b", "c")):
        result = CliRunner().invoke(app, ["models", "convert", str(tmp_path / source), str(tmp_path / out)])
        assert result.exit_code == 0, result.output
        assert "OpenRAIL-M" in (tmp_path / out / "NOTICE.md").read_text()
        assert (tmp_path / out / "stable-diffusion-v1-5" / "LICENSE").read_text() == "use restrictions"


def test_stable_diffusion_in_one_file(hub, official, tmp_path):
    spatial = torch.load(locate(official, "unet"), weights_only=True)
    text = {f"cond_stage_model.transformer.{name}": value for name, value in text_state().items()}
    file = tmp_path / "v1-5.safetensors"
    file.write_bytes(save({**ldm_unet(spatial), **text, "first_stage_model.x": torch.ones(1)}))
    fetch("--to", tmp_path / "there", "--sd15", file)
    assert not {UNET, PARTS["text encoder"].path} & set(hub.asked)
    assert_golden(read_denoiser(Files(tmp_path / "there")))
    assert torch.equal(read_empty_prompt(Files(tmp_path / "there")), read_empty_prompt(Files(official)))
    assert "not a safetensors file" in fetch("--sd15", tmp_path / "none.ckpt", code=2)


def test_the_prompts_embedding_replaces_the_text_encoder(hub, official, tmp_path):
    out, root = tmp_path / "converted", tmp_path / "there"
    assert CliRunner().invoke(app, ["models", "convert", str(official), str(out), "--dtype", "float32"]).exit_code == 0
    root.mkdir()
    (root / "empty_prompt.safetensors").write_bytes((out / "empty_prompt.safetensors").read_bytes())
    fetch("--to", root)
    assert not [path for path in hub.asked if path.startswith(("text_encoder", "tokenizer"))]
    assert torch.equal(load_model(root).empty_prompt, read_empty_prompt(Files(official)))


def test_a_hub_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGICANIMATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = fetch("--to", tmp_path / "official", code=2)
    assert "HF_ENDPOINT" in said
    for part in PARTS.values():
        assert part.path in said
        assert part.hub in said
    assert len(said.strip().splitlines()) == 2  # licenses, and the sentence


def test_a_small_decoder_from_the_hub(hub, rgb_model_folder, tmp_path, monkeypatch):
    model = load_model(rgb_model_folder)
    scale = model.pixel_factor.bit_length()
    decoder = AutoencoderTiny(
        encoder_block_out_channels=(8,) * scale, decoder_block_out_channels=(8,) * scale,
        num_encoder_blocks=(1,) * scale, num_decoder_blocks=(1,) * scale,
    )  # fmt: skip
    decoder.save_pretrained(tmp_path / "taesd")
    hub.files["somebody/taesd"] = {path.name: path.read_bytes() for path in (tmp_path / "taesd").iterdir()}
    read = read_small_decoder(Path("somebody/taesd"), model)
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in decoder.state_dict().items())
    with pytest.raises(InputError, match="somebody/nothing"):
        read_small_decoder(Path("somebody/nothing"), model)
