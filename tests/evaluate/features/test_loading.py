"""Weights files: which one is meant, where it comes from, and how it is recognized."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from magicanimate.errors import InputError
from magicanimate.evaluate.features import KINDS, load_feature_network
from magicanimate.evaluate.features.loading import shipped_heads
from magicanimate.evaluate.features.published import FILES, HEADS, git_blob
from magicanimate.files import sha256
from published_weights import random_state


@pytest.mark.parametrize(
    ("kind", "metric", "file"),
    [
        ("inception", "FID", "pt_inception-2015-12-05-6726825d.pth"),
        ("resnet3d", "FID-VID", "resnet-50-kinetics.pth"),
        ("lpips-vgg", "LPIPS", "vgg16-397923af.pth"),
        ("lpips-alex", "LPIPS", "alexnet-owt-7be5be79.pth"),
    ],
)
def test_without_a_file_the_message_names_option_file_and_origin(kind, metric, file):
    with pytest.raises(
        InputError, match=rf"^{metric} needs a weights file: {file} \(from .*\); name it with --{kind} FILE"
    ):
        load_feature_network(kind)
    with pytest.raises(InputError, match="with --other FILE"):
        load_feature_network(kind, option="--other")


def test_offline_the_hub_file_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGICANIMATE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError, match=r"hub cannot be reached: connect, or get i3d_torchscript.pt .* FVD with --i3d FILE"
    ):
        load_feature_network("i3d")


@pytest.mark.parametrize("kind", KINDS)
def test_missing_files_and_folders(kind, tmp_path):
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(InputError, match=rf"missing or no file: {FILES[kind][0].file}"):
            load_feature_network(kind, path)


def test_unknown_kinds():
    with pytest.raises(InputError, match="choose one of inception, i3d, resnet3d, lpips-vgg, lpips-alex"):
        load_feature_network("vgg19")


def test_another_network_is_refused_with_the_file_named(tmp_path):
    torch.save(random_state("lpips-alex-backbone", keep="features"), tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a.pth do not fit the network inception .*missing Conv2d_1a_3x3.conv.weight"):
        load_feature_network("inception", tmp_path / "a.pth")


def test_git_blob_is_gits_own(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_blob(tmp_path / "empty") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git_blob(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("kind", ["lpips-vgg", "lpips-alex"])
def test_the_heads_inside_torchmetrics_are_the_published_ones(kind):
    assert sha256(shipped_heads(kind)) == HEADS[kind].sha256


def test_published_files_are_recognized_and_the_wrong_one_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    torch.save(random_state("i3d"), path)
    assert load_feature_network("i3d", path).recognized == ""
    scripted, right, wrong = FILES["i3d"]
    monkeypatch.setitem(FILES, "i3d", (scripted, replace(right, git_blob=git_blob(path)), wrong))
    assert load_feature_network("i3d", path).recognized == "i3d_pretrained_400.pt"
    monkeypatch.setitem(FILES, "i3d", (replace(scripted, sha256=sha256(path)), right, wrong))
    assert load_feature_network("i3d", path).recognized == "i3d_torchscript.pt"
    monkeypatch.setitem(FILES, "i3d", (scripted, right, replace(wrong, git_blob=git_blob(path))))
    with pytest.raises(InputError, match=r"a.pth is rgb_imagenet.pt .* trained on ImageNet.*i3d_torchscript.pt"):
        load_feature_network("i3d", path)


def test_hashes_are_whole():
    for kind in KINDS:
        for file in (*FILES[kind], *([HEADS[kind]] if kind in HEADS else [])):
            assert len(file.sha256) in (0, 64)
            assert len(file.git_blob) in (0, 40)
            assert not file.hub or file.sha256, "what is fetched is checked"


def test_importing_the_package_is_light():
    code = "import magicanimate.evaluate.features, sys; print(*(m for m in ('torch', 'diffusers') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
