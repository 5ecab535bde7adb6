"""Seconds and counted work of every stage, and of denoising against the plain twin, side by side in one run.

    python benchmarks/speed.py --model official --size 256 --frames 16 --steps 2 --dtype bfloat16 --out results/speed
    python benchmarks/speed.py --model tiny --frames 100 --out results/speed-tiny

--model: official or small (random weights), tiny, or a model folder. Engine and twin take turns; figures are medians.
Work is counted while a first, untimed turn runs: convolutions, matrix products and attention, a multiply-add being 2.
The twin has the same weights and number format, torch's own memory format (NCHW) and torch's own layers, as the
original, and torch's fused attention; on a GPU it is a second model in memory, so ask `--no-twin` for the peak there.
Writes speed.json and speed.png.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import numpy as np  # noqa: E402
import torch  # noqa: E402
from benchmarks.counting import flops, step_inputs  # noqa: E402
from benchmarks.machine import machine_name  # noqa: E402
from benchmarks.sized_models import sized_model  # noqa: E402

from magicanimate.animation.diffusion import frames_decoded_at_once, sample_settings  # noqa: E402
from magicanimate.animation.settings import make_settings  # noqa: E402
from magicanimate.engine.acceleration import accelerate_model, wants_channels_last  # noqa: E402
from magicanimate.engine.device import DTYPES, peak_memory, select_device  # noqa: E402
from magicanimate.engine.options import Acceleration  # noqa: E402
from magicanimate.media.video import save_frames  # noqa: E402
from magicanimate.models.model import Model  # noqa: E402
from magicanimate.networks.control import embed_control  # noqa: E402
from magicanimate.networks.vae import decode_latents, encode_images  # noqa: E402
from magicanimate.sampling.loop import sample  # noqa: E402
from magicanimate.sampling.settings import SampleSettings  # noqa: E402
from plain import plain_sample  # noqa: E402

CHUNK = 8
"""Frames whose motion is embedded at once."""
LONG = 20.0
"""A counting turn of so many seconds is timed as well: counting takes some ten microseconds an operation."""


@dataclass(frozen=True)
class Work:
    """A piece of work, and what it needs around it that is not measured."""

    run: Callable[[], Any]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write JSON and picture."""
    chosen = parser().parse_args(arguments)
    device, dtype = select_device(chosen.device), DTYPES[chosen.dtype]
    rows: list[dict[str, Any]] = []
    model, spent = timed(lambda: sized_model(chosen.model, device, dtype), device)
    stock = on_the_same_weights(model)
    model = accelerate_model(model, device, Acceleration(compile=chosen.compile))
    rows.append(row("load", [spent]))
    settings = settings_of(model, chosen)
    about = describe(model, chosen, settings, arguments)
    print(json.dumps(about), flush=True)
    size = chosen.size or model.config.resolution[0]
    around = stages(model, size, chosen.frames) if chosen.around else {}
    for name, work in around.items():
        rows += measured({name: Work(work)}, device, chosen.repeat)
        print(line(rows[-1]), flush=True)
    variants = {"denoise": denoising(model, size, chosen.frames, settings)}
    if chosen.twin:
        # On the engine's own weights, unless its numbers are others than those that were asked for
        same = stock if model.dtype == dtype and device.type == "cpu" else sized_model(chosen.model, device, dtype)
        variants["denoise, plain twin"] = plain_denoising(same, size, chosen.frames, settings)
    rows += measured(variants, device, chosen.repeat, settings.steps)
    finish(rows, about, chosen.out, device)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--size", type=int, help="height and width in pixels; default: the model's")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, help="default: the preset's for this model")
    parser.add_argument("--guidance", type=float, help="default: the preset's for this model")
    parser.add_argument("--preset", default="quality")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32", choices=list(DTYPES))
    parser.add_argument("--repeat", type=int, default=3, help="timed turns of each")
    parser.add_argument("--compile", action="store_true", help="as in animate; the twin stays as it is")
    parser.add_argument("--no-twin", dest="twin", action="store_false", help="leave the plain twin out")
    parser.add_argument(
        "--denoising-only", dest="around", action="store_false", help="leave out encoding, decoding and writing"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for speed.json and speed.png")
    return parser


def settings_of(model: Model, chosen: argparse.Namespace) -> SampleSettings:
    """The preset's sampling for this model, with what the command line says."""
    given = {name: getattr(chosen, name) for name in ("steps", "guidance") if getattr(chosen, name) is not None}
    return sample_settings(make_settings(preset=chosen.preset, **given).for_model(model.config))


def stages(model: Model, size: int, frames: int) -> dict[str, Callable[[], Any]]:
    """The stages around denoising, each as a piece of work."""
    _, planes, latents = step_inputs(model, size, frames)
    image = torch.rand(1, 3, size, size, device=model.device, dtype=model.dtype)
    rows = latents[0].transpose(0, 1)
    pictures = np.random.default_rng(0).integers(0, 256, (frames, size, size, 3), dtype=np.uint8)

    def embed() -> None:
        for chunk in planes.split(CHUNK):
            embed_control(model.control, chunk.to(model.device, model.dtype)).features.cpu()

    def decode() -> None:
        for chunk in rows.split(frames_decoded_at_once(size, size, model.config.patch)):
            decode_latents(model.decoder, chunk.to(model.device, model.dtype), model.config.patch).cpu()

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            save_frames(iter(pictures), Path(folder) / "video.mp4", 25.0, {}, overwrite=True)

    return {
        "encode": lambda: encode_images(model.vae, image, model.config.patch),
        "control": embed, "decode": decode, "write": write,
    }  # fmt: skip


def denoising(model: Model, size: int, frames: int, settings: SampleSettings) -> Work:
    """The whole denoising loop by the engine."""
    ref, planes, noise = step_inputs(model, size, frames)
    return Work(lambda: sample(model, ref, planes, noise, settings))


def plain_denoising(model: Model, size: int, frames: int, settings: SampleSettings) -> Work:
    """Return the same by the plain twin, in the memory format that torch gives, as the original."""
    inputs = [x.to(model.device, model.dtype) for x in step_inputs(model, size, frames)]
    guided = replace(settings, guidance=max(settings.guidance, 1.001))  # the original has no other way
    return Work(lambda: plain_sample(model, *inputs, guided), lambda: plain_format(model))


def on_the_same_weights(model: Model) -> Model:
    """A copy that has the model's weights, and layers of its own."""
    tensors = (x for network in model.networks.values() for x in (*network.parameters(), *network.buffers()))
    return copy.deepcopy(model, {id(x): x for x in tensors})


@contextmanager
def plain_format(model: Model) -> Iterator[None]:
    """The networks in torch's own memory format. Elsewhere than on a CPU the twin is a model of its own, and in it."""
    on_cpu = model.device.type == "cpu"
    networks = [n for n in model.networks.values() if on_cpu and wants_channels_last(n, model.device)]
    for network in networks:
        network.to(memory_format=torch.contiguous_format)
    yield
    for network in networks:
        network.to(memory_format=torch.channels_last)


class Spent(NamedTuple):
    """Seconds on the clock, and of all processor cores together."""

    seconds: float
    cpu_seconds: float


def measured(works: dict[str, Work], device: torch.device, repeat: int, steps: int = 1) -> list[dict[str, Any]]:
    """The figures of each piece of work. They take turns; the first turn counts work, and memory on a GPU."""
    counts: dict[str, int] = {}
    peaks: dict[str, int | None] = {}
    spent: dict[str, list[Spent]] = {name: [] for name in works}
    for name, work in works.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with work.around():
            counts[name], first = timed(lambda run=work.run: flops(run), device)
        peaks[name] = peak_memory(device) if device.type == "cuda" else None
        if first.seconds > LONG:
            spent[name].append(first)
            print(f"{name}: {first.seconds:.2f} s", flush=True)
    for turn in range(repeat):
        for name, work in works.items():
            if len(spent[name]) <= turn:
                with work.around():
                    spent[name].append(timed(work.run, device)[1])
                print(f"{name}: {spent[name][-1].seconds:.2f} s", flush=True)
    return [row(name, spent[name], counts[name], steps) | {"peak_memory": peaks[name]} for name in works]


def timed(work: Callable[[], Any], device: torch.device) -> tuple[Any, Spent]:
    """The result of a piece of work, and what it took."""
    start, worked = time.perf_counter(), time.process_time()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, Spent(time.perf_counter() - start, time.process_time() - worked)


def row(name: str, spent: list[Spent], count: int = 0, steps: int = 1) -> dict[str, Any]:
    """The figures of one stage. share_of_minimum: of the work that was done, how much had to be done."""
    median = statistics.median(turn.seconds for turn in spent)
    return {
        "stage": name, "seconds": median, "seconds_per_step": median / steps,
        "cpu_seconds": statistics.median(turn.cpu_seconds for turn in spent),
        "all_seconds": [turn.seconds for turn in spent], "flops": count, "flops_per_second": count / median,
        "share_of_minimum": 1.0 if count else None,
    }  # fmt: skip


def line(figures: dict[str, Any]) -> str:
    """One row of the printed table."""
    return (
        f"{figures['stage']:<20} {figures['seconds']:9.3f} s {figures['flops'] / 1e12:10.4f} TFLOP "
        f"{figures['flops_per_second'] / 1e9:9.1f} GFLOP/s"
    )


def describe(
    model: Model, chosen: argparse.Namespace, settings: SampleSettings, given: list[str] | None
) -> dict[str, Any]:
    """Describe what was measured, where, and when."""
    on_gpu = model.device.type == "cuda"
    return {
        "model": model.config.name, "size": chosen.size or model.config.resolution[0], "frames": chosen.frames,
        "preset": chosen.preset, "steps": settings.steps, "guidance": settings.guidance, "solver": settings.solver,
        "dtype": chosen.dtype, "computes_in": str(model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(model.device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(), "machine": machine_name(),
        "torch": torch.__version__, "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", "benchmarks/speed.py", *(given or sys.argv[1:])]),
    }  # fmt: skip


def finish(rows: list[dict[str, Any]], about: dict[str, Any], folder: Path, device: torch.device) -> None:
    """Shares and ratios, then everything on paper."""
    ours, twin = (next((r for r in rows if r["stage"] == name), None) for name in ("denoise", "denoise, plain twin"))
    for figures in (ours, twin):
        if figures is not None and ours is not None:
            figures["share_of_minimum"] = ours["flops"] / figures["flops"]
            print(line(figures), f"{figures['share_of_minimum']:7.1%} necessary", flush=True)
    if ours and twin:
        about["speed_up"] = twin["seconds"] / ours["seconds"]
        about["speed_up_cpu"] = twin["cpu_seconds"] / ours["cpu_seconds"]
        print(f"{about['speed_up']:.2f} times as fast as the plain twin, {about['speed_up_cpu']:.2f} in processor time")
    about["peak_memory"] = peak_memory(device)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"about": about, "stages": rows}, indent=2) + "\n"
    (folder / "speed.json").write_text(text, encoding="utf-8")
    plot(rows, about, folder / "speed.png")


def plot(rows: list[dict[str, Any]], about: dict[str, Any], path: Path) -> None:
    """Seconds of every stage as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.45 * len(rows) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    names, seconds = [r["stage"] for r in rows][::-1], [r["seconds"] for r in rows][::-1]
    axes.bar_label(axes.barh(names, seconds, color="0.4"), fmt="%.2f s", padding=3)
    axes.set_xlabel("seconds")
    axes.margins(x=0.15)
    axes.set_title("{model}, {frames} frames of {size}x{size}, {steps} steps, {dtype}, {device}".format(**about))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
