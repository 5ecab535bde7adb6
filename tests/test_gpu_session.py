"""The script for a borrowed GPU: what it packs can be unpacked, runs go on from what came back, limits hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scripts import gpu_session, pieces
from scripts.gpu_session import read_arguments, restore, restore_stage, stage_settings
from scripts.pieces import pack, unpack

from magicanimate.errors import InputError
from magicanimate.train.loop import CHECKPOINT, LOG
from magicanimate.train.vae import build_vae


@pytest.fixture
def packed(tmp_path, monkeypatch) -> Path:
    """A folder with two files, packed into three pieces."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "a").write_text("text")
    (folder / "inner" / "b").write_bytes(np.random.default_rng(0).bytes(2200))
    pack(folder, tmp_path / "pieces", most_mb=1)
    return tmp_path


def test_pieces_join_to_what_was_packed(packed):
    sizes = [path.stat().st_size for path in sorted((packed / "pieces").iterdir())]
    assert len(sizes) == 3
    assert max(sizes) == 1000
    unpack(packed / "pieces", packed / "again")
    assert (packed / "again" / "a").read_text() == "text"
    assert (packed / "again" / "inner" / "b").read_bytes() == (packed / "folder" / "inner" / "b").read_bytes()


def test_packing_again_replaces_the_pieces(packed):
    (packed / "folder" / "inner" / "b").unlink()
    pack(packed / "folder", packed / "pieces", most_mb=1)
    unpack(packed / "pieces", packed / "again")
    assert {path.name for path in (packed / "again").rglob("*")} == {"a", "inner"}


@pytest.mark.parametrize("piece", [0, 1, 2])
def test_missing_and_damaged_pieces_are_noticed(packed, piece):
    path = sorted((packed / "pieces").iterdir())[piece]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged"):
        unpack(packed / "pieces", packed / "again")
    path.unlink()
    with pytest.raises(InputError, match="2 pieces"):
        unpack(packed / "pieces", packed / "again")


def test_nothing_to_unpack(tmp_path):
    with pytest.raises(InputError, match="0 pieces"):
        unpack(tmp_path, tmp_path / "again")


def test_too_much_is_refused_before_anything_is_written(packed):
    with pytest.raises(InputError, match="--most-mb"):
        pack(packed / "folder", packed / "other", most_mb=0.001)
    assert not (packed / "other").exists()


def test_settings_of_a_stage(tmp_path):
    given = [
        "vae",
        "--work",
        str(tmp_path),
        "--device",
        "cpu",
        "--set",
        "vae.loop.batch=3",
        "--set",
        "temporal.loop.lr=1",
    ]
    settings = stage_settings(read_arguments(given), "vae")
    assert settings.loop.batch == 3
    assert settings.loop.lr < 1
    assert settings.out == tmp_path / "runs" / "vae"
    assert 7 < settings.loop.minutes < 8
    with pytest.raises(InputError, match="No time is left"):
        stage_settings(read_arguments([*given, "--minutes", "0.5"]), "vae")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["vae", "--minutes", "9"], "--minutes"),
        (["vae", "--most-mb", "500"], "--most-mb"),
        (["vae", "--set", "loop.batch=3"], "--set loop.batch=3"),
        (["vae", "--device", "nonsense"], "device"),
    ],
)
def test_bad_arguments(given, message):
    with pytest.raises(InputError, match=message):
        read_arguments(given)


def test_a_stage_goes_on_from_what_came_back_unless_it_is_further_on(tmp_path):
    vae = build_vae(4, (16, 16), 4)
    source = tmp_path / "source"
    vae.save_pretrained(source / "vae" / "vae")
    (source / "vae" / LOG).write_text("")
    progress = source / "vae" / "progress.json"
    progress.write_text(json.dumps({"step": 7}))
    pack(source, tmp_path / "pieces", most_mb=64)
    restore(
        read_arguments(
            ["join", "--work", str(tmp_path / "work"), "--resume", str(tmp_path / "pieces"), "--device", "cpu"]
        )
    )
    target = tmp_path / "work" / "runs" / "vae"
    content = torch.load(target / CHECKPOINT, weights_only=True)
    assert content["step"] == 7
    assert all(torch.equal(content["modules"]["vae"][name], value) for name, value in vae.state_dict().items())

    torch.save(content | {"step": 9}, target / CHECKPOINT)
    restore_stage(source / "vae", target, target / "vae")
    assert torch.load(target / CHECKPOINT, weights_only=True)["step"] == 9
    progress.write_text(json.dumps({"step": 11}))
    restore_stage(source / "vae", target, target / "vae")
    assert torch.load(target / CHECKPOINT, weights_only=True)["step"] == 11


def test_rendering_and_training_in_one_call(tmp_path, opengl):
    few = [
        "--scale",
        "0.0002",
        "--size",
        "32",
        "--device",
        "cpu",
        "--set",
        "vae.loop.steps=1",
        "--set",
        "vae.loop.batch=2",
    ]
    assert (
        gpu_session.main(["render", "vae", *few, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]) == 0
    )
    unpack(tmp_path / "out", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "vae" / "progress.json").read_text())["step"] == 1
    assert (tmp_path / "again" / "vae" / "vae" / "config.json").is_file()
