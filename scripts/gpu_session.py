"""Train the shipped model's stages on one GPU, with data that is rendered there.

    python scripts/gpu_session.py info render vae appearance --work outputs/gpu
    python scripts/gpu_session.py temporal detail quality --work outputs/gpu --minutes 60

Stages run in the given order; with --minutes they share them, and a further call with the same work folder goes on
where they stopped. See docs/training.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]  # so that it runs from anywhere, installed or not

import torch  # noqa: E402

from magicanimate.engine.device import select_device  # noqa: E402
from magicanimate.errors import InputError  # noqa: E402
from magicanimate.synth.dataset import INDEX, DatasetSettings, open_dataset, write_dataset  # noqa: E402
from magicanimate.train.config import TrainSettings, read_settings  # noqa: E402
from magicanimate.train.loop import CHECKPOINT  # noqa: E402
from magicanimate.train.run import run  # noqa: E402

SAVING_MINUTES = 0.75  # kept free after training, to save its result
SPEED_SIZES = {"official": 512, "small": 32}  # model -> pixels

# docs/training.md makes the same ones by hand; small shards, so that every processor core has one
DATASETS = {
    "test": DatasetSettings(clips=48, frames=4, split="test", clips_per_shard=3),
    "clips_test": DatasetSettings(clips=12, frames=17, fps=12.5, split="test", first_seed=1000, clips_per_shard=1),
    "clips": DatasetSettings(clips=600, frames=17, fps=12.5, first_seed=520_000, clips_per_shard=5, rich=True),
    "people": DatasetSettings(clips=8000, frames=4, first_seed=200_000, clips_per_shard=10, rich=True),
}
# stage -> (file in configs/tiny, training data, held-out data)
TRAINING: dict[str, tuple[str, str, str]] = {
    "vae": ("gpu_vae", "people", "test"),
    "appearance": ("gpu", "people", "test"),
    "temporal": ("gpu_temporal", "clips", "clips_test"),
    "detail": ("gpu_detail", "people", "test"),
    "distill": ("distill", "people", "test"),
}


@dataclass(frozen=True)
class Session:
    """One call: where things are, how long it may take, what was changed on the command line."""

    stages: tuple[str, ...]
    work: Path
    ends: float  # time.perf_counter(); inf without a limit
    device: torch.device
    changes: tuple[str, ...] = ()  # STAGE.KEY=VALUE
    render_minutes: float = 2.5
    data: tuple[str, ...] = ()
    scale: float = 1.0
    size: int = 256
    people: int = 48
    clips: int = 8
    speed_model: str = "official"
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    @property
    def results(self) -> Path:
        """Reports of the stages that measure."""
        return self.work / "results"

    def minutes_left(self, reserve: float = 0.0) -> float:
        """Until the call has to end. Raises InputError if nothing is left."""
        left = (self.ends - time.perf_counter()) / 60 - reserve
        if left <= 0:
            raise InputError("No time is left for this stage: name it alone in the next call, or raise --minutes.")
        return left

    def seconds_left(self, reserve: float = 0.0) -> float | None:
        """Return `minutes_left` in seconds; None without a limit."""
        left = 60 * self.minutes_left(reserve)
        return None if math.isinf(left) else left

    def dataset(self, name: str) -> DatasetSettings:
        settings = DATASETS[name]
        return replace(settings, clips=max(2, round(settings.clips * self.scale)), size=self.size)


def info(session: Session) -> None:
    """Versions, device, and what renders."""
    from magicanimate.synth.render import Renderer

    facts = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    for name in ("torch", "diffusers", "numpy", "moderngl", "av"):
        try:
            facts[name] = getattr(__import__(name), "__version__", "installed")
        except ImportError as error:
            facts[name] = f"missing ({error})"
    facts["device"] = str(session.device)
    if session.device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(session.device)
        facts["gpu_memory"] = torch.cuda.get_device_properties(session.device).total_memory
    try:
        facts["renderer"] = Renderer(16).context.info["GL_RENDERER"]
    except InputError as error:
        facts["renderer"] = str(error)
    print(json.dumps(facts, indent=1))
    (session.results / "info.json").write_text(json.dumps(facts, indent=1))


class OutOfTime(Exception):
    """A data set is left as far as it is."""


def render(session: Session) -> None:
    """The data sets of --data, or those that this call's training stages need (all, if it has none), as far as the
    time goes."""
    needed = {name for stage in session.stages if stage in TRAINING for name in TRAINING[stage][1:]}
    wanted = set(session.data) or needed or set(DATASETS)
    ends = min(session.ends, time.perf_counter() + 60 * session.render_minutes)
    for name in (name for name in DATASETS if name in wanted):
        have = extend(session.work / "data" / name, session.dataset(name), session.workers, ends)
        print(f"{name}: {have} of {session.dataset(name).clips} clips", flush=True)


def extend(folder: Path, settings: DatasetSettings, workers: int, ends: float) -> int:
    """Add clips to a data set until it is complete or the time is over; at least one shard for each worker. -> clips.

    One pool of processes for all of them: starting them and compiling their shaders takes many times a frame.
    """
    have = len(open_dataset(folder)) if (folder / INDEX).exists() else 0
    if have < settings.clips:
        least = have // settings.clips_per_shard + workers

        def stop(done: int, total: int) -> None:
            if done >= least and time.perf_counter() > ends:
                raise OutOfTime

        try:
            write_dataset(folder, settings, workers, stop)
        except OutOfTime:
            leading = open_dataset(folder, only_complete=False)
            write_dataset(folder, replace(settings, clips=len(leading)))  # nothing but the index
        shutil.rmtree(folder / "latents", ignore_errors=True)  # of the smaller set
        have = len(open_dataset(folder))
    return have


def stage_settings(session: Session, stage: str) -> TrainSettings:
    """A file of configs/tiny, in this session's folders, with the time that is left, and --set."""
    runs, data = session.work / "runs", session.work / "data"
    recipe, train, held_out = TRAINING[stage]
    starts = {"temporal": "appearance", "detail": "temporal", "distill": "detail"}
    inputs = {name: [f"start={runs / earlier}/model"] for name, earlier in starts.items()}
    inputs["appearance"] = [f"vae_folder={runs}/vae/vae"]
    own = [change.removeprefix(f"{stage}.") for change in session.changes if change.startswith(f"{stage}.")]
    left = session.minutes_left(SAVING_MINUTES)
    limit = [] if math.isinf(left) else [f"loop.minutes={left}"]
    places = [f"out={runs / stage}", f"data={data / train}", f"held_out={data / held_out}"]
    changes = [*places, *inputs.get(stage, []), "loop.save_minutes=1", *limit, *own]
    return read_settings(ROOT / "configs" / "tiny" / f"{recipe}.yaml", changes)


def train(session: Session, stage: str) -> None:
    """One training stage, from where it was, until its end or this call's."""
    settings = stage_settings(session, stage)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    run(settings, session.device)
    if stage == "vae":
        for name in ("people", "clips"):
            shutil.rmtree(session.work / "data" / name / "latents", ignore_errors=True)
    step = torch.load(settings.out / CHECKPOINT, map_location="cpu", weights_only=True, mmap=True)["step"]
    print(f"{stage}: {step} of {settings.loop.steps} steps", flush=True)


def benchmark(session: Session, name: str, arguments: list[str], label: str = "") -> None:
    """Run benchmarks/NAME.py within the time that is left; its output goes to NAMELABEL.txt."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--device", str(session.device), *arguments]
    output = session.results / f"{name}{label}.txt"
    with output.open("w") as file:
        try:
            code = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, timeout=session.seconds_left(0.1)
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise InputError(f"{name} did not finish in the time that was left; what it printed is kept.") from error
    print(output.read_text()[-4000:], flush=True)
    if code:
        raise InputError(f"{name} ended with exit code {code}.")


def quality(session: Session) -> None:
    """The figures on held-out people of the newest model, or of the shipped one."""
    runs = session.work / "runs"
    stages = ("detail", "temporal", "appearance")
    models = [runs / stage / "model" for stage in stages if (runs / stage / "model").exists()]
    counts = ["--people", str(session.people), "--clips", str(session.clips)]
    model = str(models[0]) if models else "tiny"
    benchmark(session, "quality", ["--model", model, *counts, "--out", str(session.results / "quality")])


def parity(session: Session) -> None:
    """Our networks on this device against the original's stored outputs."""
    benchmark(session, "parity", [])


def speed(session: Session) -> None:
    """Run all of benchmarks/gpu.py: the model against the plain twin, presets, memory, kernels."""
    given = ["--model", session.speed_model, "--size", str(SPEED_SIZES[session.speed_model])]
    seconds = session.seconds_left(2)
    limit = [] if seconds is None else ["--seconds", f"{seconds:.0f}"]  # what has begun by then still ends
    benchmark(session, "gpu", [*given, *limit, "--out", str(session.results / "speed")])


STAGES: dict[str, Callable[[Session], None]] = {
    "info": info,
    "render": render,
    "vae": lambda session: train(session, "vae"),
    "appearance": lambda session: train(session, "appearance"),
    "temporal": lambda session: train(session, "temporal"),
    "detail": lambda session: train(session, "detail"),
    "distill": lambda session: train(session, "distill"),
    "quality": quality,
    "parity": parity,
    "speed": speed,
}


def read_arguments(given: list[str] | None) -> Session:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=list(STAGES), metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--work", type=Path, default=Path("outputs/gpu"), help="data sets, runs and results")
    parser.add_argument("--minutes", type=float, default=math.inf, help="limit of the whole call (default: none)")
    parser.add_argument("--render-minutes", type=float, default=math.inf, help="of them, for rendering")
    parser.add_argument("--data", nargs="+", default=[], choices=list(DATASETS), help="render these data sets only")
    parser.add_argument("--set", action="append", default=[], help="STAGE.KEY=VALUE, such as vae.loop.batch=64")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the data sets' clip counts")
    parser.add_argument("--size", type=int, default=256, help="pixels of the rendered pictures")
    parser.add_argument("--people", type=int, default=48, help="quality: held-out people")
    parser.add_argument("--clips", type=int, default=8, help="quality: held-out clips")
    parser.add_argument("--speed-model", choices=list(SPEED_SIZES), default="official", help="speed: random weights")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    chosen = parser.parse_args(given)
    if not chosen.minutes > 0:
        raise InputError(f"--minutes must be above 0, got {chosen.minutes:g}.")
    strange = [change for change in chosen.set if change.partition(".")[0] not in TRAINING]
    if strange:
        raise InputError(f"--set {strange[0]} does not begin with one of {', '.join(TRAINING)}.")
    return Session(
        stages=tuple(chosen.stages),
        work=chosen.work,
        ends=time.perf_counter() + 60 * chosen.minutes,
        device=select_device(chosen.device),
        changes=tuple(chosen.set),
        render_minutes=chosen.render_minutes,
        data=tuple(chosen.data),
        scale=chosen.scale,
        size=chosen.size,
        people=chosen.people,
        clips=chosen.clips,
        speed_model=chosen.speed_model,
    )


def main(given: list[str] | None = None) -> int:
    """Run the stages; returns the exit code."""
    try:
        session = read_arguments(given)
        session.results.mkdir(parents=True, exist_ok=True)
        for stage in session.stages:
            began = time.perf_counter()
            print(f"== {stage}", flush=True)
            STAGES[stage](session)
            print(f"== {stage} took {time.perf_counter() - began:.1f} s", flush=True)
    except InputError as error:
        print(f"gpu_session: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
