"""Our networks against the original's stored outputs, and against what they must not equal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from benchmarks import parity
from safetensors.torch import load_file, save_file

import golden_cases as cases
from golden_networks import golden_denoiser, named_weight, read_json
from magicanimate.models.weights import map_original_key
from magicanimate.networks.denoiser import predict

GOLDENS = Path(__file__).resolve().parent / "golden"
RUNNERS = {
    "a": (cases.denoiser_cases, 5), "a_taps": (cases.denoiser_taps, 13), "b": (cases.control_cases, 16),
    "c": (cases.reference_cases, 27), "e": (cases.scheduler_cases, 32), "e_windows": (cases.window_cases, 20),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNNERS)
def test_case(case):
    runner, count = RUNNERS[case]
    with torch.no_grad():
        comparisons = list(runner(GOLDENS))
    assert len(comparisons) == count
    assert [parity.line(c) for c in comparisons if not c.passed] == []


@pytest.mark.parametrize("case", ["p16", "p24"])
def test_whole_run(case):
    comparisons = list(cases.pipeline_case(GOLDENS, case))
    assert {"final_latents", "video"} <= {c.name.rpartition(".")[2] for c in comparisons}
    assert [parity.line(c) for c in comparisons if not c.passed] == []


def test_windows_that_do_not_wrap_give_another_result():
    final = {c.name: c for c in cases.pipeline_case(GOLDENS, "p24", wrap=False)}["d.p24.final_latents"]
    assert final.error > 100 * final.tolerance


@torch.no_grad()
def test_norms_per_frame_give_another_result():
    golden = load_file(GOLDENS / "a_unet3d.safetensors")
    network = golden_denoiser(GOLDENS, norm_scope="frame")
    ours = predict(network, golden["in.sample"], golden["in.timestep"], golden["in.encoder_hidden_states"])
    assert cases.differs("", ours, golden["out.plain"], cases.NETWORK_TOLERANCE).passed


def test_reader_and_writer_blocks_pair_up():
    pairs = read_json(GOLDENS / "c_reference_block_pairs.json")
    assert all(reader == writer for group in pairs.values() for reader, writer in group.items())


def test_original_names_map_to_ours():
    assert map_original_key("x.motion_modules.0.temporal_transformer.norm.weight") == "x.motion_modules.0.norm.weight"
    assert map_original_key("x.attention_blocks.0.pos_encoder.pe") is None
    assert map_original_key("down_blocks.0.attentions.0.norm.weight") == "down_blocks.0.attentions.0.norm.weight"


def test_weights_depend_on_network_and_name():
    assert not torch.equal(
        named_weight("unet", "conv_in.weight", (2, 3)), named_weight("vae", "conv_in.weight", (2, 3))
    )
    assert named_weight("unet", "x.bias", (100,)).abs().mean() < 0.2


@pytest.fixture
def small_goldens(tmp_path) -> Path:
    """A folder that holds nothing but case b."""
    for name in ("tiny_shapes.json", "tiny_configs.json", "b_controlnet.safetensors"):
        shutil.copy(GOLDENS / name, tmp_path)
    return tmp_path


def test_parity_passes(small_goldens, capsys):
    assert parity.main(["--goldens", str(small_goldens)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("PASS") == 16
    assert "16 outputs compared, 0 failed" in printed


def test_parity_fails_when_an_output_differs(small_goldens, capsys):
    path = small_goldens / "b_controlnet.safetensors"
    golden = load_file(path)
    golden["out.mid"] += 2e-4
    save_file(golden, path)
    assert parity.main(["--goldens", str(small_goldens)]) == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if "FAIL" in line] == ["b.mid"]


def test_parity_fails_when_a_control_passes(small_goldens, monkeypatch, capsys):
    monkeypatch.setattr(cases, "CLEARLY_DIFFERENT", 1e9)
    assert parity.main(["--goldens", str(small_goldens)]) == 1
    assert "control: b.mid" in next(line for line in capsys.readouterr().out.splitlines() if "FAIL" in line)


def test_nan_never_passes():
    nan = torch.tensor([float("nan")])
    assert not cases.compare("x", nan, torch.zeros(1), 1.0).passed
    assert not cases.differs("x", nan, torch.zeros(1), 1.0).passed


def refused(folder: Path, capsys) -> str:
    assert parity.main(["--goldens", str(folder)]) == 2
    return capsys.readouterr().err


def test_folder_that_does_not_exist(tmp_path, capsys):
    assert "does not exist" in refused(tmp_path / "nowhere", capsys)


def test_folder_without_goldens(tmp_path, capsys):
    assert "no tiny_shapes.json" in refused(tmp_path, capsys)


def test_folder_without_cases(small_goldens, capsys):
    (small_goldens / "b_controlnet.safetensors").unlink()
    assert "holds no cases" in refused(small_goldens, capsys)


def test_damaged_golden(small_goldens, capsys):
    path = small_goldens / "b_controlnet.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert "b_controlnet.safetensors are damaged" in refused(small_goldens, capsys)
