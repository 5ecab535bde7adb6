"""ControlNets for skeletons and depth: data, planes, training, and choosing one of a model folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from pydantic import ValidationError
from safetensors.torch import load_file
from typer.testing import CliRunner

from blocks import configuration, settings, weights, write_blocks
from magicanimate.cli.main import app
from magicanimate.conditions.planes import control_planes
from magicanimate.errors import InputError
from magicanimate.models.config import ModelConfig
from magicanimate.models.model import add_control, load_model, save_model
from magicanimate.synth.dataset import open_dataset
from magicanimate.train.objective import person_share
from magicanimate.train.run import run
from magicanimate.train.views import View, apply_view
from random_models import random_model

CPU = torch.device("cpu")


def write_controlled(folder: Path, clips: int, frames: int) -> Path:
    """Blocks whose depth and skeleton are known: as far away as they are low, with a white line down their middle."""
    write_blocks(folder, clips, frames)
    parts = np.load(folder / "00000000.parts.npy")
    rows = np.arange(32, dtype=np.uint8)[:, None]
    depth = np.where(parts > 0, 255 - 4 * rows, 0).astype(np.uint8)
    middle = np.zeros(32, bool)
    middle[::4] = True
    np.save(folder / "00000000.depth.npy", depth)
    np.save(folder / "00000000.pose.npy", ((parts > 0) & middle)[..., None] * np.array([255, 85, 0], np.uint8))
    index = json.loads((folder / "index.json").read_text())
    index["settings"]["controls"] = ["pose", "depth"]
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """Data with all controls, and a DensePose model."""
    root = tmp_path_factory.mktemp("controls")
    write_controlled(root / "train", 4, 4)
    write_controlled(root / "test", 2, 4)
    for stage in ("vae", "appearance"):
        run(settings(root / f"{stage}.yaml", configuration(root, stage, steps=1)), CPU)
    return root


def test_planes_of_each_kind():
    rng = np.random.default_rng(0)
    pose = torch.from_numpy(rng.integers(0, 256, (2, 8, 8, 3), np.uint8))
    depth = torch.from_numpy(rng.integers(0, 256, (2, 8, 8), np.uint8))
    assert control_planes(pose, "rgb", 4).shape == (2, 48, 2, 2)
    assert control_planes(depth, "depth", 4).shape == (2, 16, 2, 2)
    for kind, encoding, frames in (("pose", "rgb", pose), ("depth", "depth", depth[..., None].expand(-1, -1, -1, 3))):
        config = ModelConfig(name="x", resolution=(8, 8), control=kind, control_encoding=encoding, control_patch=4)
        drawn = control_planes(frames, config.control_encoding, config.control_stride)
        cached = control_planes(frames if kind == "pose" else depth, encoding, 4)
        assert drawn.shape[1] == config.control_planes
        assert torch.equal(drawn, cached)  # training and animating encode alike
        assert not torch.equal(drawn, control_planes(255 - (frames if kind == "pose" else depth), encoding, 4))


@pytest.mark.parametrize(
    ("control", "encoding"), [("pose", "parts"), ("depth", "rgb"), ("densepose", "depth"), ("normals", "rgb")]
)
def test_encodings_that_do_not_belong_to_a_kind(control, encoding):
    with pytest.raises(ValidationError, match="control"):
        ModelConfig(name="x", resolution=(8, 8), control=control, control_encoding=encoding)


def test_person_is_where_depth_is_and_around_the_skeleton():
    depth = torch.zeros(1, 8, 8, dtype=torch.uint8)
    depth[0, :4, :4] = 9
    assert person_share(control_planes(depth, "depth", 4), "depth")[0, 0].tolist() == [[1, 0], [0, 0]]
    pose = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    pose[0, 0, 0] = 255
    assert person_share(control_planes(pose, "rgb", 4), "pose")[0, 0].sum() == 4
    assert person_share(control_planes(pose * 0, "rgb", 4), "pose").sum() == 0


def test_views_move_control_with_the_picture():
    rng = np.random.default_rng(0)
    depth = rng.integers(0, 256, (2, 16, 16), np.uint8)
    rgb = depth[..., None].repeat(3, -1)
    shown, moved = apply_view(View(mirror=True), rgb, depth, "depth")
    assert (shown[..., 0] == moved).all()
    assert (moved != depth).any()
    pose = apply_view(View(0.25, 0.25, 0.5), rgb, rgb, "pose")[1]
    assert pose.shape == (2, 16, 16, 3)
    assert (pose[:, ::2, ::2, 0] == depth[:, 4:12, 4:12]).all()


def train_from_start(path: Path, content: dict[str, Any]) -> Result:
    """Stage 1 from a model folder instead of fresh networks, by the command."""
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if k not in ("vae_folder", "model", "networks")}))
    return CliRunner().invoke(app, ["train", str(path)])


@pytest.mark.parametrize("kind", ["pose", "depth"])
def test_a_control_net_of_another_kind_is_trained_alone(base, tmp_path, kind):
    content = configuration(base, "appearance", steps=2) | {
        "out": str(tmp_path / kind), "start": str(base / "appearance" / "model"), "control": kind,
        "branches": {"stage": "appearance", "targets": 2, "control_only": True},
    }  # fmt: skip
    result = train_from_start(tmp_path / "c.yaml", content)
    assert result.exit_code == 0, result.output
    model = load_model(tmp_path / kind / "model")
    assert (model.config.control, model.config.control_encoding) == (kind, "rgb" if kind == "pose" else "depth")
    assert model.control.config["conditioning_channels"] == (48 if kind == "pose" else 16)
    before, after = weights(base / "appearance" / "model"), weights(tmp_path / kind / "model")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"control"}
    planes = np.load(base / "train" / f"latents-{kind}" / "planes.npy")
    assert (planes == open_dataset(base / "train").control_shards[kind][0]).all()


def test_data_without_the_wanted_control_is_one_sentence(base, tmp_path):
    write_blocks(tmp_path / "plain", 2, 4)
    content = configuration(base, "appearance", steps=1) | {
        "out": str(tmp_path / "o"), "start": str(base / "appearance" / "model"), "control": "depth",
        "data": str(tmp_path / "plain"),
    }  # fmt: skip
    result = train_from_start(tmp_path / "c.yaml", content)
    assert result.exit_code == 2
    assert "no depth frames" in result.output
    assert "Traceback" not in result.output


def test_a_model_folder_with_several_control_nets(tmp_path):
    folder = tmp_path / "several"
    save_model(random_model("parts"), folder)
    depth = random_model("parts", control="depth", control_encoding="depth")
    save_model(depth, tmp_path / "depth")
    shutil.copytree(tmp_path / "depth" / "control", folder / "control_depth")
    own, other = load_model(folder), load_model(folder, control="depth")
    assert (own.config.control, other.config.control) == ("densepose", "depth")
    assert own.control.config["conditioning_channels"] == 25
    assert other.control.config["conditioning_channels"] == 16
    assert torch.equal(own.denoiser.conv_in.weight, other.denoiser.conv_in.weight)
    with pytest.raises(InputError, match="no ControlNet for pose; it takes densepose and depth"):
        load_model(folder, control="pose")


def test_a_control_net_that_shares_its_weights(base, tmp_path):
    folder, start = tmp_path / "model", load_model(base / "appearance" / "model")
    save_model(start, folder, "int8")
    content = configuration(base, "appearance", steps=2) | {
        "out": str(tmp_path / "pose"), "start": str(folder), "control": "pose",
        "data": str(write_controlled(tmp_path / "train", 3, 4)),
        "branches": {"stage": "appearance", "targets": 2, "control_only": True, "embedding_only": True},
    }  # fmt: skip
    result = train_from_start(tmp_path / "c.yaml", content)
    assert result.exit_code == 0, result.output
    trained = load_model(tmp_path / "pose" / "model")
    added = add_control(folder, trained)
    names = set(load_file(added / "diffusion_pytorch_model.safetensors"))
    assert names
    assert all("cond_embedding" in name for name in names)
    again = load_model(folder, control="pose")
    assert again.config.control == "pose"
    for name, value in trained.control.state_dict().items():
        torch.testing.assert_close(again.control.state_dict()[name], value, atol=2e-2, rtol=0)
    assert load_model(folder).config.control == "densepose"
    config = json.loads((added / "config.json").read_text())
    (added / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "_shares"}))
    with pytest.raises(InputError, match="missing"):
        load_model(folder, control="pose")
    with pytest.raises(InputError, match="for densepose already"):
        add_control(folder, load_model(folder))


def body_file(path: Path) -> Path:
    """Somebody who stands there for five frames, as a saved body."""
    from magicanimate.body.bones import Proportions
    from magicanimate.body.kinematics import POSE_NUMBERS, TURN, limits, turn_from_rotation
    from magicanimate.body.motion import BodyMotion

    pose = np.zeros((5, POSE_NUMBERS), np.float32)
    pose[:, :TURN] = turn_from_rotation(np.tile(np.eye(3), (5, 1, 1)))
    pose[:, TURN:] = limits()["usual"]
    pose[:, TURN + 3] += np.linspace(0, 0.3, 5)
    position = np.tile(np.array([0, 3.0, 0], np.float32), (5, 1))
    return BodyMotion(Proportions.usual(), pose, position, 100.0, (64, 64), 25.0, np.ones(5, bool)).save(path)


def test_animate_with_each_kind_of_control(tmp_path, motion_path, picture_path):
    """A depth and a pose ControlNet see other pictures than the DensePose one, and other bodies; a map has no body."""
    from magicanimate.animation.pipeline import MagicAnimatePipeline

    folder = tmp_path / "several"
    save_model(random_model("parts"), folder)
    save_model(random_model("parts", control="depth", control_encoding="depth"), tmp_path / "depth")
    save_model(random_model("parts", control="pose", control_encoding="rgb"), tmp_path / "pose")
    shutil.copytree(tmp_path / "depth" / "control", folder / "control_depth")
    shutil.copytree(tmp_path / "pose" / "control", folder / "control_pose")
    body = body_file(tmp_path / "body.npz")
    chosen = {"align": "none", "steps": 1, "size": (64, 64)}
    for kind in ("depth", "pose"):
        pipe = MagicAnimatePipeline.from_pretrained(folder, control=kind, device="cpu", dtype="float32")
        from magicanimate.animation.settings import make_settings

        job = pipe.prepare(picture_path, body, make_settings(**chosen))
        shown, parts = job.signal.rgb(range(5)), job.signal.parts_FHW[list(range(5))]
        assert shown.shape == (5, 64, 64, 3)
        drawn = shown.max(-1) > 0
        if kind == "depth":
            assert (drawn == (parts > 0)).mean() > 0.99
            assert (shown[..., 0] == shown[..., 2]).all()
        else:
            assert 0 < drawn.mean() < (parts > 0).mean()
            assert (shown[..., 0] != shown[..., 2]).any()

    def animate(name: str, motion: Path, *options: str):
        arguments = ["animate", "-i", str(picture_path), "-m", str(motion), "-o", str(tmp_path / name), "--align",
                     "none", "--steps", "1", "--size", "64x64", "--device", "cpu", "--model", str(folder)]  # fmt: skip
        return CliRunner().invoke(app, [*arguments, *options])

    frames = {}
    for kind in ("densepose", "depth"):
        result = animate(f"of_{kind}", body, "--control", kind)
        assert result.exit_code == 0, result.output
        frames[kind] = b"".join(path.read_bytes() for path in sorted((tmp_path / f"of_{kind}").glob("*.png")))
        assert frames[kind]
    assert frames["densepose"] != frames["depth"]
    result = animate("map", motion_path, "--control", "depth")
    assert result.exit_code == 2
    assert "no body in space" in result.output
    shutil.rmtree(folder / "control_pose")
    result = animate("none", body, "--control", "pose")
    assert result.exit_code == 2
    assert "no ControlNet for pose; it takes densepose and depth" in result.output
    assert "Traceback" not in result.output
