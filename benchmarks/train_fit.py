"""What each training stage needs: memory counted for any size without computing anything, and measured where it fits.

    python benchmarks/train_fit.py                                  # the original's size, 512 x 512, counted
    python benchmarks/train_fit.py --measure --device cuda          # a few real steps of each stage, peak memory
    python benchmarks/train_fit.py --size small --pixels 64 --measure --device cpu

Counting runs the networks on PyTorch's meta device: shapes only. Activations are what autograd keeps of one batch's
forward pass, in bfloat16 as under autocast. Weights, gradients, the optimiser's moments and the average are float32.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from benchmarks.sizes import SIZES, sized_model
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from magicanimate.models import Model
from magicanimate.runtime import peak_memory, select_device
from magicanimate.train.cache import LatentCache
from magicanimate.train.diffusion import BranchSettings, DiffusionStage
from magicanimate.train.distill import DistillSettings, DistillStage
from magicanimate.train.forward import predict_noisy
from magicanimate.train.loop import LoopSettings, Stage, train

STAGES = ("appearance", "temporal", "distill")
GIB = 2**30
FACTOR = 8  # pixels per latent


class Silent:
    """No sample grids: only training is measured."""

    def write(self, path: Path) -> dict[str, float]:
        return {}


class SilentDistillation(DistillStage):
    def grid(self, path: Path) -> dict[str, float]:
        return {}


def branches(stage: str, frames: int) -> BranchSettings:
    """As in configs/sd15; always the longest branch."""
    return BranchSettings(
        stage=stage, train_denoiser=False, targets=1, window=frames, tau_1=0.0, tau_2=0.0, drop_reference=0.0
    )


def build_stage(stage: str, model: Model, data: LatentCache, frames: int, device: torch.device) -> Stage:
    """The stage of configs/sd15 on some data."""
    if stage == "distill":
        few = DistillSettings(steps=4, teacher_steps=1, guidance=3.5)
        return SilentDistillation(model, data, branches(stage, frames), few, None, {}, device)  # type: ignore[arg-type]
    return DiffusionStage(model, data, branches(stage, frames), Silent(), device)  # type: ignore[arg-type]


def count(stage: str, size: str, pixels: int, batch: int, frames: int, checkpointing: bool) -> dict[str, float]:
    """GiB of each kind of memory, counted; see the module's text."""
    meta = torch.device("meta")
    model = sized_model(size, meta, torch.bfloat16)
    empty = LatentCache(np.zeros((1, 2)), np.zeros((1, 2)))
    built = build_stage(stage, model, empty, frames, torch.device("cpu"))
    student = built.student if isinstance(built, DistillStage) else model
    weights = sum(p.numel() for network in model.networks.values() for p in network.parameters())
    trained = sum(p.numel() for _, p in built.trainable())
    copies = sum(p.numel() for p in model.denoiser.parameters()) if stage == "distill" else 0
    bytes_of = {
        "weights": 4 * (weights + copies),
        "bfloat16 copies": 2 * (weights + copies),
        "gradients": 4 * trained,
        "optimiser": 8 * trained,
        "average": 4 * trained,
        "activations": activations(student, stage, pixels, batch, frames, checkpointing),
    }
    result = {name: value / GIB for name, value in bytes_of.items()}
    return {"trained_millions": trained / 1e6, **result, "total": sum(result.values())}


def activations(model: Model, stage: str, pixels: int, batch: int, frames: int, checkpointing: bool) -> int:
    """Bytes that autograd keeps of one batch's forward pass, each storage once, without the weights."""
    own = {p.untyped_storage()._cdata for network in model.networks.values() for p in network.parameters()}
    seen: dict[int, int] = {}
    alive: list[Any] = []  # storages stay alive, so that no two of them share an id

    def keep(x: Any) -> Any:
        if isinstance(x, Tensor) and (storage := x.untyped_storage())._cdata not in own:
            alive.append(storage)
            seen[storage._cdata] = storage.nbytes()
        return x

    def recomputed(module: Any, *arguments: Any) -> Any:
        for argument in arguments:
            keep(argument)
        return checkpoint(module.__call__, *arguments, use_reentrant=False)

    if checkpointing:
        for network in (model.denoiser, model.appearance, model.control):
            network.enable_gradient_checkpointing(recomputed)
    samples, shots, side = batch, 1 if stage == "appearance" else frames, pixels // FACTOR
    made: dict[str, Any] = {"device": "meta", "dtype": torch.bfloat16}
    noisy = torch.empty(samples, model.latent_channels, shots, side, side, **made)
    reference = torch.empty(samples, model.latent_channels, side, side, **made)
    planes = torch.empty(samples * shots, 3, pixels, pixels, **made)
    times = torch.empty(samples, dtype=torch.int64, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        predict_noisy(model, noisy, times, reference, planes, stage != "appearance")
    return sum(seen.values())


def measure(stage: str, size: str, pixels: int, frames: int, steps: int, loop: dict, device: torch.device) -> dict:
    """Real steps with random weights on random latents: seconds of a step and peak memory in GiB."""
    model = sized_model(size, device, torch.float32)
    rng, side, length = np.random.default_rng(0), pixels // FACTOR, frames + 1
    latents = rng.normal(size=(2, length, 4, side, side)).astype(np.float16)
    parts = rng.integers(0, 25, (2, length, pixels, pixels), dtype=np.uint8)
    built = build_stage(stage, model, LatentCache(latents, parts, encoding="rgb"), frames, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    settings = LoopSettings(steps=steps, save_every=10**9, grid_every=10**9, lr=1e-5, tensorboard=False, **loop)
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        train(built, settings, Path(folder), device)
        seconds = time.perf_counter() - began
    return {"seconds_a_step": seconds / steps, "peak_gib": peak_memory(device) / GIB}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="official", choices=list(SIZES))
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--frames", type=int, default=16, help="frames of a clip in the stages with clips")
    parser.add_argument("--batch", type=int, default=8, help="samples of single frames; clips go one by one")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument("--measure", action="store_true", help="also train for --steps steps")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    arguments = parser.parse_args()
    device = select_device(arguments.device)
    results = {}
    for stage in arguments.stages:
        batch = arguments.batch if stage == "appearance" else 1
        shape = (stage, arguments.size, arguments.pixels, batch, arguments.frames)
        results[stage] = {"counted": count(*shape, True), "without checkpointing": count(*shape, False)["total"]}
        if arguments.measure:
            loop = {"batch": batch, "precision": "bfloat16", "checkpointing": True}
            results[stage]["measured"] = measure(
                stage, arguments.size, arguments.pixels, arguments.frames, arguments.steps, loop, device
            )
        print(stage, json.dumps(results[stage], default=lambda x: round(x, 2)), flush=True)
    if arguments.out:
        settings = {key: str(value) for key, value in vars(arguments).items()}
        arguments.out.write_text(json.dumps({"settings": settings, "device": str(device), **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
