"""The benchmarks of speed, memory and approximations run, and say what they have to."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks import gpu, memory, speed
from benchmarks.approximations import compared
from benchmarks.machine import machine_name
from benchmarks.profile import launch_overhead, non_gemm_time
from scripts import gpu_session

from magicanimate.engine.cuda_graphs import GraphCompute, Graphs
from magicanimate.sampling.settings import SampleSettings
from random_models import random_model
from recorders import EagerRecorder
from seeded import randn


def test_speed_measures_every_stage_and_the_twin(tmp_path):
    given = "--model shallow --size 32 --frames 2 --steps 1 --repeat 1 --device cpu --preset original --out"
    speed.main([*given.split(), str(tmp_path)])
    report = json.loads((tmp_path / "speed.json").read_text())
    stages = {stage["stage"]: stage for stage in report["stages"]}
    assert list(stages) == ["load", "encode", "control", "decode", "write", "denoise", "denoise, plain twin"]
    assert all(stage["seconds"] > 0 for stage in stages.values())
    assert stages["denoise, plain twin"]["flops"] > 1.1 * stages["denoise"]["flops"] > 0
    assert stages["denoise, plain twin"]["share_of_minimum"] < 1 == stages["denoise"]["share_of_minimum"]
    assert report["about"]["speed_up"] > 0
    assert "cores" in report["about"]["machine"]
    assert report["about"]["command"].startswith("python benchmarks/speed.py --model shallow")
    assert (tmp_path / "speed.png").stat().st_size > 1000


def test_long_work_is_counted_and_timed_in_one_turn(monkeypatch):
    turns = []
    work = {"work": speed.Work(lambda: turns.append(torch.ones(4, 4) @ torch.ones(4, 4)))}
    for long, expected in ((1e9, 3), (0.0, 2)):
        turns.clear()
        monkeypatch.setattr(speed, "LONG", long)
        figures = speed.measured(work, torch.device("cpu"), repeat=2)[0]
        assert (len(turns), len(figures["all_seconds"]), figures["flops"]) == (expected, 2, 128)


def test_the_twin_runs_in_the_memory_format_of_the_original(monkeypatch):
    model = random_model("rgb")
    monkeypatch.setattr(speed, "wants_channels_last", lambda network, device: True)
    weight = model.denoiser.conv_in.weight
    model.denoiser.to(memory_format=torch.channels_last)
    with speed.plain_format(model):
        assert weight.is_contiguous()
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_the_rest_beside_products_is_timed(capsys):
    non_gemm_time.main(["--model", "shallow", "--size", "32", "--frames", "2"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["of"] for row in rows] == ["engine", "twin"]
    assert all(0 < row["seconds"] < 60 for row in rows)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_stand_ins_are_laid_out_as_what_they_stand_for(memory_format):
    image = randn(2, 16, 9, 7, seed=1).to(memory_format=memory_format)
    weight = randn(8, 16, 3, 3, seed=2).to(memory_format=memory_format)
    rows, heads = randn(5, 16, seed=3), randn(2, 6, 4, 8, seed=4).transpose(1, 2)
    calls = {
        "convolution": lambda: F.conv2d(image, weight, stride=2, padding=1),
        "addmm": lambda: F.linear(rows, randn(8, 16, seed=5), randn(8, seed=6)),
        "mm": lambda: F.linear(rows, randn(8, 16, seed=5)),
        "attention": lambda: F.scaled_dot_product_attention(heads, heads, heads),
    }
    for name, call in calls.items():
        with non_gemm_time.BesideProducts() as mode:
            made = call()
        real = call()
        assert (made.shape, made.stride(), made.dtype) == (real.shape, real.stride(), real.dtype), name
        assert set(mode.seconds).isdisjoint(non_gemm_time.STAND_INS)
        assert not torch.equal(made, real)


def test_machines_have_names(tmp_path):
    given = tmp_path / "cpuinfo"
    given.write_text("processor\t: 0\nmodel name\t: Some CPU\n")
    assert machine_name(given).startswith("Some CPU, ")
    assert machine_name(tmp_path / "none").endswith(" cores")


def test_memory_on_the_device_does_not_grow_with_the_video():
    """Two windows or three: the same peak. A larger picture has another one, so growth would be seen."""
    peaks = [memory.counted_peak("shallow", 32, frames, torch.float16) for frames in (28, 40)]
    assert peaks[1] <= 1.005 * peaks[0]
    assert memory.counted_peak("shallow", 64, 16, torch.float16) > 1.1 * peaks[0]


def test_counted_memory_is_freed():
    with memory.DeviceMemory() as counter:
        kept = torch.zeros(1000, device="meta")
        for _ in range(3):
            torch.zeros(500, device="meta")
        view = kept[:10]
    assert counter.peak == 4 * (1000 + 500)
    assert counter.live == 4 * 1000
    del kept, view
    assert counter.live == 0


def test_the_host_is_timed(capsys):
    launch_overhead.main(["--steps", "6", "--repeat", "1"])
    printed = capsys.readouterr().out
    assert float(printed.split()[0]) > 0
    assert "(3 recordings)" in printed


def test_pictures_are_compared():
    frames = np.random.default_rng(0).integers(0, 200, (2, 16, 16, 3), dtype=np.uint8)
    assert compared(frames, frames) == {"psnr": 100.0, "ssim": pytest.approx(1.0)}
    assert compared(frames + 10, frames)["psnr"] == pytest.approx(28.13, abs=0.01)


def test_the_gpu_session_measures_speed(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(gpu_session, "benchmark", lambda session, name, given: runs.append((name, given)))
    session = gpu_session.read_arguments(
        ["speed", "--speed-model", "small", "--device", "cpu", "--work", str(tmp_path)]
    )
    gpu_session.STAGES["speed"](session)
    [(name, given)] = runs
    chosen = gpu.parser().parse_args(given)
    assert (name, chosen.model, chosen.size, chosen.parts) == ("gpu", "small", 32, gpu.USUAL)


def test_recorded_steps_are_compared(tmp_path):
    bench = gpu.Bench(gpu.parser().parse_args(["--model", "small", "--device", "cpu", "--out", str(tmp_path)]))
    bench.chosen.device = torch.device("cpu")
    model, settings = random_model("rgb"), SampleSettings(steps=4, guidance=2.0, window=8, overlap=2)
    assert "left out" in gpu.compare_graphs(bench, model, 16, settings)
    model = replace(model, compute=GraphCompute(graphs=Graphs(EagerRecorder())))
    found = gpu.compare_graphs(bench, model, 16, settings)
    assert (found["equal"], found["control"], found["recordings"]) == (True, False, 4)
    assert found["graphs"]["step"] > 0 < found["plain"]["step"]
    model = replace(model, compute=GraphCompute(graphs=Graphs(launch_overhead.nobody)))
    assert not gpu.compare_graphs(bench, model, 16, settings)["equal"]


def test_a_part_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    def broken(bench):
        raise RuntimeError("no such kernel")

    parts = {"info": gpu.info, "attention": broken, "kernels": gpu.kernels, "profile": gpu.profile}
    monkeypatch.setattr(gpu, "PARTS", parts)
    given = "--model shallow --size 32 --device cpu --dtype float32 --parts info attention kernels profile --out"
    gpu.main([*given.split(), str(tmp_path)])
    figures = json.loads((tmp_path / "gpu.json").read_text())
    assert list(figures) == list(parts)
    assert "no such kernel" in figures["attention"]["failed"]
    assert "no such kernel" in capsys.readouterr().out
    cases = [case for name, case in figures["kernels"].items() if name != "part_seconds"]
    assert all(case["error"] == 0 < 0.1 < case["control"] for case in cases)
    assert figures["profile"]["twin"]["busy"] > 0
    assert (tmp_path / "profile-engine.txt").stat().st_size > 1000
