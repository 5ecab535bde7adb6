"""Measure speed on a GPU in one process, in order of worth, so that a short time suffices.

    python benchmarks/gpu.py --out outputs/gpu

Builds the model once on the device (random weights), compares its kernels with plain torch and its result with the
plain twin's, and times: presets all in (from picture and motion in memory to frames), steps with and without CUDA
graphs, denoising against the twin in turns, and the kernels of one step. Every part stands alone: one that fails prints
why and the next one goes on. Writes gpu.json after every part, and profile-*.txt. Further parts: see --parts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import numpy as np  # noqa: E402
import torch  # noqa: E402
from benchmarks.counting import step_inputs  # noqa: E402
from benchmarks.machine import machine_name  # noqa: E402
from benchmarks.profile.triton_operations import kernels, relative  # noqa: E402
from benchmarks.sized_models import SIZES, sized_model  # noqa: E402
from torch import Tensor  # noqa: E402

from magicanimate.animation.diffusion import sample_settings  # noqa: E402
from magicanimate.animation.pipeline import MagicAnimatePipeline  # noqa: E402
from magicanimate.animation.settings import make_settings  # noqa: E402
from magicanimate.engine import device as runtime  # noqa: E402
from magicanimate.engine import operations  # noqa: E402
from magicanimate.engine.acceleration import accelerate_model  # noqa: E402
from magicanimate.engine.cuda_graphs import GraphCompute  # noqa: E402
from magicanimate.engine.options import Acceleration  # noqa: E402
from magicanimate.models.compute import Compute  # noqa: E402
from magicanimate.models.model import Model  # noqa: E402
from magicanimate.parts.densepose import render_parts  # noqa: E402
from magicanimate.sampling.loop import sample  # noqa: E402
from magicanimate.sampling.settings import SampleSettings  # noqa: E402
from plain import original_attention, plain_sample  # noqa: E402

FRAMES, LONG = 16, 112
COMPILE_SECONDS = 100
NEAR = 0.03
"""Largest relative error of 16-bit arithmetic through a whole random network."""


@dataclass
class Bench:
    """State shared by the parts: the models, each built when first asked for, and the figures so far."""

    chosen: argparse.Namespace
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.chosen.device

    @cached_property
    def engine(self) -> Model:
        """The model as `animate` runs it."""
        return accelerate_model(sized_model(self.chosen.model, self.device, self.dtype), self.device, Acceleration())

    @cached_property
    def twin(self) -> Model:
        """Return the same weights with torch's own layers and memory format."""
        return sized_model(self.chosen.model, self.device, self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        return runtime.DTYPES[self.chosen.dtype]

    def settings(self, preset: str, steps: int | None = None) -> SampleSettings:
        """A preset's sampling, perhaps of fewer steps."""
        settings = sample_settings(make_settings(preset=preset).for_model(self.engine.config))
        return settings if steps is None else replace(settings, steps=steps)

    def denoise(self, model: Model, settings: SampleSettings, frames: int = FRAMES) -> Tensor:
        """Denoise with the engine."""
        return sample(model, *step_inputs(model, self.chosen.size, frames), settings)

    def denoise_plainly(self, settings: SampleSettings, frames: int = FRAMES) -> Tensor:
        """Denoise with the plain twin."""
        inputs = (x.to(self.device, self.dtype) for x in step_inputs(self.twin, self.chosen.size, frames))
        return plain_sample(self.twin, *inputs, settings)

    def seconds(self, work: Callable[[], Any], repeat: int = 1) -> float:
        """The median of some runs."""
        spent = []
        for _ in range(repeat):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            spent.append(time.perf_counter() - start)
        return statistics.median(spent)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak(self, work: Callable[[], Any]) -> dict[str, float]:
        """Seconds of a piece of work, and the most GB that the allocator handed out and reserved meanwhile. What graphs
        use in between is reserved, but not handed out."""
        if self.device.type != "cuda":
            return {"seconds": self.seconds(work)}
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        spent = self.seconds(work)
        handed, reserved = torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device)
        return {"seconds": spent, "peak_gb": handed / 1e9, "reserved_gb": reserved / 1e9}


def parity(bench: Bench) -> dict[str, Any]:
    """Engine and twin of a small model, each against the twin in float32; and a control that has to be far off."""
    settings = SampleSettings(steps=3, guidance=7.5)
    results: dict[str, Any] = {}
    exact = None
    torch.backends.cudnn.allow_tf32 = False
    for dtype in (torch.float32, bench.dtype):
        twin = sized_model("small", bench.device, torch.float32)  # the same random weights in all formats
        twin = twin.to(dtype=dtype)
        inputs = step_inputs(twin, 64, 20)
        torch.manual_seed(1)
        inputs = tuple(torch.randn_like(x) for x in inputs)
        plain = plain_sample(twin, *(x.to(bench.device, dtype) for x in inputs), settings).cpu()
        exact = plain if exact is None else exact
        engine = accelerate_model(twin, bench.device, Acceleration(graphs=False))
        name = str(dtype).removeprefix("torch.")
        results[f"engine {name}"] = relative(sample(engine, *inputs, settings), exact)
        results[f"twin {name}"] = relative(plain, exact)
        other = sample(engine, -inputs[0], *inputs[1:], settings)
        results[f"control {name}"] = relative(other, exact)
    torch.backends.cudnn.allow_tf32 = True  # torch's own setting
    results["right"] = results["engine float32"] < 1e-3 and results[f"engine {bench.chosen.dtype}"] < NEAR
    return results


def build(bench: Bench) -> dict[str, Any]:
    """The model on the device, and one step to warm up (kernels are compiled then)."""
    spent = bench.seconds(lambda: bench.engine)
    held = torch.cuda.memory_allocated(bench.device) / 1e9 if bench.device.type == "cuda" else None
    first = bench.seconds(lambda: bench.denoise(bench.engine, bench.settings("original", 1)))
    return {"seconds": spent, "weights_gb": held, "first_step": first}


def graphs(bench: Bench) -> dict[str, Any]:
    """Recorded and plain steps: the same bits, for two inputs one after the other; seconds a step, and memory."""
    small = accelerate_model(sized_model("small", bench.device, bench.dtype), bench.device, Acceleration())
    results: dict[str, Any] = {}
    for name, model, size in (("small", small, 64), (bench.chosen.model, bench.engine, bench.chosen.size)):
        for preset in ("original", "fast"):
            results[f"{name} {preset}"] = compare_graphs(bench, model, size, bench.settings(preset, 8))
    if isinstance(bench.engine.compute, GraphCompute):
        results["right"] = all(found["equal"] and not found["control"] for found in results.values())
    return results


def compare_graphs(bench: Bench, model: Model, size: int, settings: SampleSettings) -> dict[str, Any]:
    """Compare runs with and without graphs. control: whether results of different inputs are equal, too."""
    recording = model.compute
    if not isinstance(recording, GraphCompute):
        return {"left out": "needs a GPU"}
    recorded = recording.graphs
    ways = {"plain": replace(model, compute=Compute(bank_steps=recording.bank_steps)), "graphs": model}
    torch.manual_seed(2)
    inputs = [tuple(torch.randn_like(x) for x in step_inputs(model, size, FRAMES)) for _ in range(2)]
    made: dict[str, list[Tensor]] = {}
    result: dict[str, Any] = {}
    for way, engine in ways.items():
        recorded.clear()
        made[way] = [sample(engine, *given, settings) for given in inputs]
        spent = bench.peak(partial(sample, engine, *inputs[0], settings))
        result[way] = spent | {"step": spent["seconds"] / settings.steps}
    pairs = list(zip(made["graphs"], made["plain"], strict=True))
    return result | {
        "equal": all(torch.equal(*pair) for pair in pairs), "error": max(relative(*pair) for pair in pairs),
        "control": torch.equal(made["graphs"][0], made["plain"][1]), "recordings": len(recorded),
        "given_up": recorded.recorder is None,
    }  # fmt: skip


def against_twin(bench: Bench) -> dict[str, Any]:
    """Engine and twin in turns, 5 steps each, then all steps of `original`: the twin with the attention that torch
    chooses, and with the original's."""
    few, whole = bench.settings("original", 5), bench.settings("original")

    def engine(settings: SampleSettings) -> Tensor:
        return bench.denoise(bench.engine, settings)

    def with_original_attention(settings: SampleSettings) -> Tensor:
        with original_attention():
            return bench.denoise_plainly(settings)

    works = {"engine": engine, "twin": bench.denoise_plainly, "twin, original attention": with_original_attention}
    for _ in range(2):  # until kernels are chosen and compiled, steps recorded and memory is there
        for work in works.values():
            work(few)
    steps = [
        {name: bench.seconds(lambda work=work: work(few)) / few.steps for name, work in works.items()} for _ in range(3)
    ]
    result: dict[str, Any] = {"steps": steps} | in_turns(steps, "step")
    print(json.dumps(result), flush=True)
    made: dict[str, Tensor] = {}
    runs = [
        {
            name: bench.seconds(lambda name=name, work=work: made.update({name: work(whole).cpu()}))
            for name, work in works.items()
        }
        for _ in range(2)
    ]
    result |= {"wholes": runs} | in_turns(runs, "whole")
    result["finite"] = all(bool(torch.isfinite(x).all()) for x in made.values())
    return result


def in_turns(turns: list[dict[str, float]], what: str) -> dict[str, Any]:
    """Medians of turns, and how much faster the engine is than the others."""
    medians = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    ratios = {name: spent / medians["engine"] for name, spent in medians.items() if name != "engine"}
    return {f"{what} medians": medians, f"{what} ratios": ratios}


def preset(name: str, frames: int) -> Callable[[Bench], dict[str, Any]]:
    """A part: a preset all in, by the pipeline."""

    def part(bench: Bench) -> dict[str, Any]:
        pipe = MagicAnimatePipeline(bench.engine)
        size = bench.chosen.size
        parts = np.zeros((frames, size, size), np.uint8)
        for frame in range(frames):  # a body of all parts that wanders
            at = size // 4 + frame % 8
            parts[frame, size // 8 : -size // 8, at : at + size // 2] = np.arange(size // 2) * 24 // (size // 2) + 1
        picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        settings = make_settings(preset=name, size=f"{size}x{size}", align="none")
        job = pipe.prepare(picture, render_parts(parts), settings)
        if bench.chosen.model == "official":
            for _ in range(2):  # warm; steps are recorded then
                list(pipe.frames(pipe.prepare(picture, render_parts(parts[:FRAMES]), settings)))
        ends: dict[str, float] = {}
        begun: list[float] = []

        def told(stage: str, done: int, total: int | None) -> None:
            ends[stage] = time.perf_counter() - begun[0]

        def work() -> int:
            begun[:] = [time.perf_counter()]
            return sum(1 for _ in pipe.frames(job, told))

        result: dict[str, Any] = bench.peak(work)
        return result | {"frames": frames, "frames_per_second": frames / result["seconds"], "stage_ends": dict(ends)}

    return part


def variants(bench: Bench) -> dict[str, Any]:
    """Seconds a step of `original` without one optimization or with another choice."""
    few, engine, results = bench.settings("original", 5), bench.engine, {}

    def step(name: str, compute: Compute) -> None:
        tried = replace(engine, compute=compute)
        compute.forget()
        for _ in range(2):
            bench.denoise(tried, few)
        results[name] = bench.peak(lambda: bench.denoise(tried, few))
        results[name]["step"] = results[name].pop("seconds") / few.steps

    step("as it is", engine.compute)
    torch.backends.cudnn.benchmark = True
    step("cudnn.benchmark", engine.compute)
    torch.backends.cudnn.benchmark = False
    step("banks one by one", replace(engine.compute, bank_steps=1))
    step("without graphs", Compute(bank_steps=engine.compute.bank_steps))
    return results


def profile(bench: Bench) -> dict[str, Any]:
    """Kernels of one step by their time, as text; the GPU's busy seconds."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    one, results = bench.settings("original", 1), {}
    on_gpu = bench.device.type == "cuda"
    works = {"engine": lambda: bench.denoise(bench.engine, one), "twin": lambda: bench.denoise_plainly(one)}
    for name, work in works.items():
        with profiler(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as found:
            work()
            bench.wait()
        averages = found.key_averages()
        order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        text = averages.table(sort_by=order, row_limit=30, max_name_column_width=100)
        (bench.chosen.out / f"profile-{name}.txt").write_text(text, encoding="utf-8")
        busy = sum(event.self_device_time_total if on_gpu else event.self_cpu_time_total for event in averages)
        results[name] = {"busy": busy / 1e6, "kernels": sum(event.count for event in averages)}
    return results


def compiled(bench: Bench) -> dict[str, Any]:
    """`--compile` in a process of its own, which may take COMPILE_SECONDS."""
    if bench.device.type != "cuda":
        return {"left out": "takes minutes without a GPU"}
    given = ["--model", bench.chosen.model, "--size", str(bench.chosen.size), "--dtype", bench.chosen.dtype]
    more = ["--compile", "--no-twin", "--preset", "original", "--steps", "5", "--repeat", "1"]
    out = bench.chosen.out / "compiled"
    command = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), *given, *more, "--out", str(out)]
    with (bench.chosen.out / "compiled.txt").open("w") as file:
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=COMPILE_SECONDS).returncode
    stages = json.loads((out / "speed.json").read_text())["stages"] if code == 0 else []
    return {"exit_code": code, "step": [stage["seconds_per_step"] for stage in stages if stage["stage"] == "denoise"]}


def info(bench: Bench) -> dict[str, Any]:
    """Describe what was measured, where, and when."""
    on_gpu = bench.device.type == "cuda"
    return {
        "model": bench.chosen.model, "size": bench.chosen.size, "dtype": bench.chosen.dtype, "frames": FRAMES,
        "device": torch.cuda.get_device_name(bench.device) if on_gpu else "cpu", "machine": machine_name(),
        "torch": torch.__version__, "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "triton": operations.has_triton(), "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "info": info,
    "kernels": kernels,
    "parity": parity,
    "build": build,
    "original-16": preset("original", FRAMES),  # before the twin takes memory
    "fast-16": preset("fast", FRAMES),
    "graphs": graphs,
    "against_twin": against_twin,
    "profile": profile,
    "quality-16": preset("quality", FRAMES),
    "fast-112": preset("fast", LONG),
    "variants": variants,
    "original-112": preset("original", LONG),
    "compiled": compiled,
}
USUAL = list(PARTS)[: list(PARTS).index("variants")]
"""Parts that take two minutes together."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="official", choices=list(SIZES))
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float16", choices=list(runtime.DTYPES))
    parser.add_argument("--seconds", type=float, default=240.0, help="no part begins after so many")
    parser.add_argument("--parts", nargs="+", default=USUAL, choices=list(PARTS))
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.json and profiles")
    return parser


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    """Measure part by part; what is there so far is on disk after each."""
    started = time.perf_counter()
    chosen = parser().parse_args(arguments)
    chosen.device = runtime.select_device(chosen.device)
    chosen.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(chosen)
    for name in chosen.parts:
        began = time.perf_counter()
        if began - started > chosen.seconds:
            print(f"no time for {name}", flush=True)
            continue
        try:
            bench.figures[name] = PARTS[name](bench)
        except Exception as error:  # noqa: BLE001 a machine that is lent for minutes: go on with the next part
            bench.figures[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
            traceback.print_exc(file=sys.stdout)
        bench.figures[name]["part_seconds"] = time.perf_counter() - began
        print(name, json.dumps(bench.figures[name]), flush=True)
        text = json.dumps(bench.figures, indent=1, default=str) + "\n"
        (chosen.out / "gpu.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
