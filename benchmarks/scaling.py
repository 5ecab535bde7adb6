"""One video on several processes: measured on this machine, and on paper for more devices than it has.

    python benchmarks/scaling.py --processes 1 2 --frames 100 --steps 4 --out outputs/scaling
    python benchmarks/scaling.py --model official --size 512 --dtype float16 --frames 100 --processes 1 --out gpu

Every process computes with one thread. The jobs take turns, `--repeat` times; figures are medians, and the frames of
all of them must be the same bytes. On a busy machine cpu_ratio, of the processor time of the busiest process, tells
more than the ratio of the seconds. On paper: the measured times of a job's pieces, put together for any number of
devices, with the measured time to pass on one window's prediction. Writes scaling.json and scaling.png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

from benchmarks.machine import machine_name  # noqa: E402

DEVICES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
TURNS = 20  # of the small pieces that are timed alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="as in speed.py")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--size", type=int, help="height and width in pixels; default: the model's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--paper-frames", type=int, default=1000, help="length of the video on paper")
    parser.add_argument("--out", type=Path, help="folder for scaling.json and scaling.png")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    runs = [run(processes, index) for index in range(arguments.repeat) for processes in arguments.processes]
    report = summary(runs, arguments)
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "scaling.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        plot(report, arguments.out / "scaling.png")


def run(processes: int, turn: int) -> dict[str, Any]:
    """One job on some processes, each started with one thread."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*launcher, __file__, "--child", *sys.argv[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    measured = json.loads(result.stdout.splitlines()[-1])
    print(f"turn {turn + 1}, {processes} processes: {measured['seconds']:.2f} s", file=sys.stderr, flush=True)
    return measured


def child(arguments: argparse.Namespace) -> None:
    """One process's part; the first one prints what it measured."""
    import torch
    from benchmarks.sized_models import sized_model

    from magicanimate import MagicAnimatePipeline
    from magicanimate.engine.device import DTYPES
    from magicanimate.engine.ranks import Ranks

    torch.set_num_threads(1)
    ranks = Ranks.from_environment()
    with ranks.together():
        model = sized_model(arguments.model, ranks.device(arguments.device), DTYPES[arguments.dtype])
        pipe = MagicAnimatePipeline(model, ranks)
        job = prepared(pipe, arguments)
        measured = timed(pipe, job) | {"processes": ranks.size}
        measured["pass_on_seconds"] = pass_on(pipe, job)
        if ranks.size == 1:
            measured["pieces"] = pieces(pipe, job)
    if ranks.first:
        print(json.dumps(measured))


def prepared(pipe: Any, arguments: argparse.Namespace) -> Any:
    """The demo picture with the demo motion, played forwards and backwards until it is long enough."""
    import numpy as np

    from magicanimate.animation.settings import make_settings
    from magicanimate.media import load_picture, open_clip
    from magicanimate.models.locations import SHIPPED

    frames = list(open_clip(SHIPPED / "demo" / "motion.mp4"))
    there_and_back = frames + frames[-2:0:-1]
    motion_FHWC = np.stack([there_and_back[index % len(there_and_back)] for index in range(arguments.frames)])
    size = {"size": f"{arguments.size}x{arguments.size}"} if arguments.size else {}
    settings = make_settings(steps=arguments.steps, align="none", **size)
    return pipe.prepare(load_picture(SHIPPED / "demo" / "picture.png"), motion_FHWC, settings)


def timed(pipe: Any, job: Any) -> dict[str, Any]:
    """Seconds of denoising and of decoding, processor seconds of the busiest process, and the digest of all frames."""
    began: dict[str, float] = {}
    ended: dict[str, float] = {}

    def told(stage: str, done: int, total: int | None) -> None:
        ended[stage] = time.perf_counter()
        began.setdefault(stage, ended[stage])

    for _ in pipe.frames(job):  # warm up
        pass
    pipe.ranks.barrier()
    start, worked, state = time.perf_counter(), time.process_time(), hashlib.sha256()
    for frame_HWC in pipe.frames(job, told):
        state.update(frame_HWC.tobytes())
    seconds = time.perf_counter() - start
    busiest = max(pipe.ranks.gather(time.process_time() - worked), default=0.0)
    return {
        "seconds": seconds, "cpu_seconds": busiest, "denoise_seconds": ended["denoise"] - ended["control"],
        "decode_seconds": ended["decode"] - ended["denoise"], "frames": len(job), "digest": state.hexdigest(),
    }  # fmt: skip


def pass_on(pipe: Any, job: Any) -> float:
    """Seconds to give one window's prediction to all processes."""
    import torch

    ranks, shape = pipe.ranks, prediction_shape(pipe, job)
    if ranks.size == 1:
        return 0.0
    ranks.barrier()
    start = time.perf_counter()
    for _ in ranks.ordered_all_gather(
        [torch.zeros(shape) for _ in ranks.shard(TURNS * ranks.size)], TURNS * ranks.size
    ):
        pass
    return (time.perf_counter() - start) / (TURNS * ranks.size)


def prediction_shape(pipe: Any, job: Any) -> tuple[int, ...]:
    """`[1, c, K, h, w]`."""
    height, width = (side // pipe.description.pixel_factor for side in job.frame.canvas)
    return (1, pipe.model.latent_channels, min(job.settings.window, len(job)), height, width)


def pieces(pipe: Any, job: Any) -> dict[str, float]:
    """Seconds of each piece of work alone: what every device does in a step, a window, a chunk of frames."""
    import torch

    from magicanimate.animation.diffusion import Diffusion, sample_settings
    from magicanimate.engine.ranks import Ranks
    from magicanimate.networks.vae import initial_noise
    from magicanimate.sampling.reuse import StepCache
    from magicanimate.sampling.settings import Run
    from magicanimate.sampling.video import VideoDenoiser
    from magicanimate.sampling.video_solver import VideoSolver

    model, settings = pipe.model, sample_settings(job.settings)
    diffusion = Diffusion(model, job, Ranks())
    _, channels, _, height, width = prediction_shape(pipe, job)
    latents = initial_noise(1, len(job), (channels, height, width))
    solver = VideoSolver(model.config.scheduler, settings.solver, settings.steps, len(job))
    denoise = VideoDenoiser(model, settings, solver.timesteps, len(job), Run())
    denoise.prepare(latents[:, :, 0], diffusion.control(job.signal), latents.shape)

    def predicted(first: int, last: int) -> Callable[[], object]:
        def work() -> object:
            denoise.cache = StepCache()
            return list(denoise.predictions(latents, solver.timesteps[0], denoise.plan(0), range(first, last)))

        return work

    with torch.no_grad():
        bank, one, two, second = (seconds_of(predicted(*own)) for own in ((0, 0), (0, 1), (0, 2), (1, 2)))
        step = seconds_of(lambda: solver_step(model, settings, latents))
        chunk = diffusion.decode_chunk
        decode = seconds_of(lambda: diffusion.decode_frames(latents, range(chunk)))
    return {
        "bank": bank, "window": two - one, "control_again": max(0.0, second - bank - (two - one)), "step": step,
        "decode_chunk": decode, "chunk_frames": chunk, "window_frames": settings.window, "overlap": settings.overlap,
        "steps": settings.steps, "prediction_bytes": 4 * math.prod(prediction_shape(pipe, job)),
        "frame_bytes": 3 * math.prod(job.frame.size),
    }  # fmt: skip


def solver_step(model: Any, settings: Any, latents: Any) -> None:
    from magicanimate.sampling.video_solver import VideoSolver

    solver = VideoSolver(model.config.scheduler, settings.solver, settings.steps, latents.shape[2])
    solver.step(latents, solver.timesteps[0], solver.scaled(latents, solver.timesteps[0]))


def seconds_of(work: Callable[[], object]) -> float:
    """The median of three turns."""
    turns = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        turns.append(time.perf_counter() - start)
    return statistics.median(turns)


def on_paper(pieces: dict[str, float], devices: int, frames: int, pass_on_seconds: float) -> float:
    """Seconds of denoising and decoding on some devices.

    In a step, every device encodes the reference and computes its windows, all but the first also ControlNet for the
    frames before its first window; then every prediction goes to all. Decoding takes turns of one chunk per device.
    """
    stride = pieces["window_frames"] - pieces["overlap"]
    windows = max(1, math.ceil((frames - pieces["overlap"]) / stride))
    share = math.ceil(windows / devices)
    shared = devices > 1
    step = pieces["bank"] + share * pieces["window"] + shared * pieces["control_again"]
    step += shared * windows * pass_on_seconds + pieces["step"] * frames / pieces["frames"]
    chunks = math.ceil(frames / pieces["chunk_frames"])
    return pieces["steps"] * step + math.ceil(chunks / devices) * pieces["decode_chunk"]


def summary(runs: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians by number of processes, ratios to one process, equality, and the job on paper."""
    names = ("seconds", "cpu_seconds", "denoise_seconds", "decode_seconds", "pass_on_seconds")
    counts = sorted({run["processes"] for run in runs})
    measured = [
        {"processes": n} | {name: statistics.median(r[name] for r in runs if r["processes"] == n) for name in names}
        for n in counts
    ]
    for row in measured:
        row["ratio"] = measured[0]["seconds"] / row["seconds"]
        row["cpu_ratio"] = measured[0]["cpu_seconds"] / row["cpu_seconds"]
    report = {
        "machine": machine_name(),
        "date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", "benchmarks/scaling.py", *sys.argv[1:]]),
        "frames": runs[0]["frames"], "equal": len({run["digest"] for run in runs}) == 1, "measured": measured,
    }  # fmt: skip
    single = next((run for run in runs if "pieces" in run), None)
    if single is None:
        return report
    stages = single["pieces"] | {"frames": single["frames"]}
    passing = next((row["pass_on_seconds"] for row in measured if row["processes"] > 1), 0.0)
    return report | {
        "pieces": stages, "pass_on_seconds": passing,
        "paper": [
            {"devices": n, "frames": frames, "seconds": on_paper(stages, n, frames, passing)}
            for frames in (single["frames"], arguments.paper_frames)
            for n in DEVICES
            if n <= (frames - stages["overlap"]) / (stages["window_frames"] - stages["overlap"])
        ],
    }  # fmt: skip


def plot(report: dict[str, Any], path: Path) -> None:
    """Speed-up over the number of processes, measured and on paper."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), dpi=100)
    axes.plot([1, 64], [1, 64], color="lightgray", label="ideal")
    for frames in sorted({row["frames"] for row in report.get("paper", [])}):
        rows = [row for row in report["paper"] if row["frames"] == frames]
        axes.plot(
            [row["devices"] for row in rows], [rows[0]["seconds"] / row["seconds"] for row in rows], "o-",
            markersize=3, label=f"on paper, {frames} frames",
        )  # fmt: skip
    axes.plot(
        [row["processes"] for row in report["measured"]], [row["ratio"] for row in report["measured"]], "ks",
        label=f"measured, {report['frames']} frames",
    )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="processes", ylabel="times one process")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
