"""Memory of each training stage: counted for any size without computing anything, and measured where it fits.

    python benchmarks/train_fit.py                                  # configs/sd15 at 512 x 512, counted
    python benchmarks/train_fit.py --recipes configs/sd15/low_memory
    python benchmarks/train_fit.py --measure --device cuda          # a few real steps of each stage, peak memory
    python benchmarks/train_fit.py --size small --pixels 64 --measure --device cpu

Optimizer, batch, frames and number formats are those of the recipes' files. Counting runs the networks on PyTorch's
meta device: shapes only. Activations are what autograd keeps of one batch's forward pass, in bfloat16 under autocast;
a block's, what it keeps of the largest checkpointed one while that is computed again.
Measured on a CPU, the peak is the process's resident memory while it trains: measure one stage at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import numpy as np  # noqa: E402
import torch  # noqa: E402
from benchmarks.meta_device import NOWHERE  # noqa: E402
from benchmarks.sized_models import SIZES, sized_model  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.autograd.graph import saved_tensors_hooks  # noqa: E402

from magicanimate.engine.device import peak_memory, select_device  # noqa: E402
from magicanimate.models.model import Model  # noqa: E402
from magicanimate.train.cache import LatentCache  # noqa: E402
from magicanimate.train.config import TrainSettings, read_settings  # noqa: E402
from magicanimate.train.diffusion import DiffusionStage  # noqa: E402
from magicanimate.train.distill import DistillStage  # noqa: E402
from magicanimate.train.forward import predict_noisy  # noqa: E402
from magicanimate.train.frozen_layers import store_frozen  # noqa: E402
from magicanimate.train.loop import Stage, train  # noqa: E402

STAGES = ("appearance", "temporal", "distill")
RECIPES = Path(__file__).resolve().parents[1] / "configs" / "sd15"
GIB = 2**30
FACTOR = 8  # pixels per latent


class Silent:
    """No sample grids: only training is measured."""

    def write(self, path: Path) -> dict[str, float]:
        return {}


class SilentDistillation(DistillStage):
    def grid(self, path: Path) -> dict[str, float]:
        return {}


def recipe(folder: Path, stage: str, changes: list[str]) -> TrainSettings:
    """A stage's configuration with changes; always its longest branch, with every sample's reference."""
    longest = ["branches.tau_1=0", "branches.tau_2=0", "branches.drop_reference=0", "branches.min_gap=0"]
    few = ["distill.teacher_steps=1"] if stage == "distill" else []
    return read_settings(folder / f"{stage}.yaml", [*longest, *few, *changes])


def build_stage(settings: TrainSettings, model: Model, data: LatentCache, device: torch.device) -> Stage:
    """The recipe's stage on some data, its frozen layers stored as it says."""
    assert settings.branches is not None
    if settings.distill is not None:
        stage: Stage = SilentDistillation(model, data, settings.branches, settings.distill, None, {}, device)  # type: ignore[arg-type]
    else:
        stage = DiffusionStage(model, data, settings.branches, Silent(), device)  # type: ignore[arg-type]
    if settings.loop.frozen == "bfloat16":
        networks = (*model.networks.values(), *stage.modules.values())
        store_frozen(networks, [p for _, p in stage.trainable()])
    return stage


def count(settings: TrainSettings, size: str, pixels: int) -> dict[str, dict[str, float]]:
    """GiB of each kind of memory, counted, as the settings are and without checkpointing; see the module's text."""
    loop, nothing = settings.loop, LatentCache(np.zeros((1, 2)), np.zeros((1, 2)))
    model = sized_model(size, NOWHERE)
    stage = build_stage(settings, model, nothing, torch.device("cpu"))
    networks = (*model.networks.values(), *stage.modules.values())
    weights = {p: p.numel() * p.element_size() for network in networks for p in network.parameters()}
    trained = [p for _, p in stage.trainable()]
    many = sum(p.numel() for p in trained)
    if loop.precision == "bfloat16":  # as under autocast, which has no meta device: all of the network is in it
        model = sized_model(size, NOWHERE, torch.bfloat16)
        stage = build_stage(settings, model, nothing, torch.device("cpu"))
    student = stage.student if isinstance(stage, DistillStage) else model
    bytes_of = {
        "weights": sum(weights.values()),
        "bfloat16 copies": 2 * many if loop.precision == "bfloat16" else 0,
        "gradients": 4 * many,
        "optimizer": sum(map(factors, trained)) if loop.optimizer == "adafactor" else 8 * many,
        "average": 4 * many if loop.ema else 0,
    }
    results: dict[str, dict[str, float]] = {}
    for way, checkpointing in (("without checkpointing", False), ("counted", loop.checkpointing)):
        kept, block = activations(student, settings, pixels, checkpointing)
        result = {name: value / GIB for name, value in {**bytes_of, "activations": kept, "block": block}.items()}
        results[way] = {"trained_millions": many / 1e6, **result, "total": sum(result.values())}
    return results


def factors(weight: Tensor) -> int:
    """Bytes of Adafactor's second moments: a row and a column for a matrix."""
    return 4 * (weight.numel() if weight.ndim < 2 else len(weight) + weight[0].numel())


def activations(model: Model, settings: TrainSettings, pixels: int, checkpointing: bool) -> tuple[int, int]:
    """Bytes that autograd keeps of one batch's forward pass, each storage once, without the weights; and with
    checkpointing, of the largest block while it is computed again."""
    own = {p.untyped_storage()._cdata for network in model.networks.values() for p in network.parameters()}
    alive: list[Any] = []  # storages stay alive, so that no two of them share an id
    kept: dict[int, int] = {}
    blocks = [0]

    def keeping(where: dict[int, int]) -> Callable[[Any], Any]:
        def keep(x: Any) -> Any:
            if isinstance(x, Tensor) and (storage := x.untyped_storage())._cdata not in own:
                alive.append(storage)
                where[storage._cdata] = storage.nbytes()
            return x

        return keep

    def recomputed(module: Any, *arguments: Any) -> Any:
        for argument in arguments:
            keeping(kept)(argument)
        inside: dict[int, int] = {}
        with saved_tensors_hooks(keeping(inside), lambda x: x):
            result = module(*arguments)
        blocks.append(sum(inside.values()))
        return result

    if checkpointing:
        for network in (model.denoiser, model.appearance, model.control):
            network.enable_gradient_checkpointing(recomputed)
    with (
        patch("magicanimate.networks.attention.attend", FusedAttention.apply),
        saved_tensors_hooks(keeping(kept), lambda x: x),
    ):
        predict_on_nothing(model, settings, pixels)
    return sum(kept.values()), max(blocks)


class FusedAttention(torch.autograd.Function):
    """Memory of a GPU's attention: no scores, which the meta device's would keep."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result, sums = torch.empty_like(query), query.new_empty(query.shape[:3], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, result, sums)
        return result


def predict_on_nothing(model: Model, settings: TrainSettings, pixels: int) -> None:
    """One forward pass of a batch on the meta device."""
    assert settings.branches is not None
    single = settings.branches.single_frames
    samples, shots = settings.loop.batch, settings.branches.targets if single else settings.branches.window
    side = pixels // FACTOR
    made: dict[str, Any] = {"device": NOWHERE, "dtype": model.dtype}
    noisy = torch.empty(samples, model.latent_channels, shots, side, side, **made)
    reference = torch.empty(samples, model.latent_channels, side, side, **made)
    planes = torch.empty(samples * shots, 3, pixels, pixels, **made)
    times = torch.empty(samples, dtype=torch.int64, device=NOWHERE)
    predict_noisy(model, noisy, times, reference, planes, not single)


def measure(settings: TrainSettings, size: str, pixels: int, steps: int, device: torch.device) -> dict[str, float]:
    """Real steps with random weights on random latents: seconds of a step, and memory in GiB before and at its peak."""
    assert settings.branches is not None
    before = peak_memory(device) / GIB
    model = sized_model(size, device, torch.float32)
    branches = settings.branches
    shown = branches.targets if branches.single_frames else branches.window
    rng, side, length = np.random.default_rng(0), pixels // FACTOR, shown + 1
    latents = rng.normal(size=(2, length, 4, side, side)).astype(np.float16)
    parts = rng.integers(0, 25, (2, length, pixels, pixels), dtype=np.uint8)
    stage = build_stage(settings, model, LatentCache(latents, parts, encoding="rgb"), device)
    loaded = reset_peak(device) / GIB
    changes = {"steps": steps, "save_every": 10**9, "grid_every": 10**9, "tensorboard": False, "minutes": None}
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        train(stage, settings.loop.model_copy(update=changes), Path(folder), device)
        seconds = time.perf_counter() - began
    peak = peak_memory(device) / GIB
    return {"seconds_a_step": seconds / steps, "before_gib": before, "loading_gib": loaded, "peak_gib": peak}


def reset_peak(device: torch.device) -> int:
    """Forget the peak, that of loading weights; -> what it was, in bytes. On systems other than Linux it stays."""
    peak = peak_memory(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (control := Path("/proc/self/clear_refs")).exists():
        control.write_text("5")
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="folder with a configuration of each stage")
    parser.add_argument("--set", dest="changes", nargs="+", default=[], help="settings to change, e.g. loop.batch=1")
    parser.add_argument("--size", default="official", choices=list(SIZES))
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument("--measure", action="store_true", help="also train for --steps steps")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    arguments = parser.parse_args()
    device = select_device(arguments.device)
    results: dict[str, dict[str, Any]] = {}
    for stage in arguments.stages:
        settings = recipe(arguments.recipes, stage, arguments.changes)
        size = arguments.size, arguments.pixels
        counted = count(settings, *size)
        plain = counted["without checkpointing"]["total"]
        results[stage] = {"counted": counted["counted"], "without checkpointing": plain}
        if arguments.measure:
            results[stage]["measured"] = measure(settings, *size, arguments.steps, device)
        print(stage, json.dumps(rounded(results[stage])), flush=True)
    if arguments.out:
        options = {key: str(value) for key, value in vars(arguments).items()}
        arguments.out.write_text(json.dumps({"settings": options, "device": str(device), **results}, indent=1) + "\n")


def rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: rounded(value) if isinstance(value, dict) else round(value, 2) for key, value in figures.items()}


if __name__ == "__main__":
    main()
