"""The training loop that all stages share: optimiser, EMA, checkpoints, exact resume, log, sample grids."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from magicanimate.errors import InputError

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"


class LoopSettings(BaseModel):
    """How long and how fast a stage trains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    batch: int = Field(8, ge=1)
    lr: float = Field(3e-4, gt=0)
    warmup: int = Field(100, ge=0, description="steps of linear warm-up")
    decay: float = Field(
        0.4, ge=0, le=1, description="last share of the steps, over which the rate falls to a twentieth"
    )
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema: float = Field(0.999, ge=0, lt=1, description="cap of the EMA decay, which grows as (n+1)/(n+15)")
    seed: int = 0
    save_every: int = Field(250, ge=1)
    grid_every: int = Field(500, ge=1)
    log_every: int = Field(20, ge=1)
    minutes: float | None = Field(None, gt=0, description="stop after this long, with a checkpoint; repeat to go on")
    save_minutes: float | None = Field(None, gt=0, description="also save when the last checkpoint is this old")


class Stage(Protocol):
    """What a stage gives the loop."""

    modules: dict[str, nn.Module]  # everything that the checkpoint keeps

    def trainable(self) -> list[tuple[str, nn.Parameter]]: ...

    def loss(
        self, rng: np.random.Generator, generator: torch.Generator, batch: int
    ) -> tuple[Tensor, dict[str, float]]: ...

    def grid(self, path: Path) -> dict[str, float]: ...


def learning_rate(step: int, settings: LoopSettings, first: int = 0) -> float:
    """Linear warm-up, constant, linear decay to a twentieth. Pure, so that a resumed run has the same rates.

    first: the step at which the optimiser started from nothing, and its warm-up with it.
    """
    up = min(1.0, (step - first + 1) / max(1, settings.warmup))
    start = settings.steps * (1 - settings.decay)
    down = 1.0 if step < start else 1 - 0.95 * (step - start) / max(1.0, settings.steps - start)
    return settings.lr * up * down


class Ema:
    """Exponential moving average of the trainable parameters."""

    def __init__(self, parameters: list[tuple[str, nn.Parameter]]) -> None:
        self._parameters = parameters
        self.shadow = {name: p.detach().clone() for name, p in parameters}

    @torch.no_grad()
    def update(self, n: int, cap: float) -> None:
        weight = 1 - min(cap, (n + 1) / (n + 15))
        torch._foreach_lerp_(list(self.shadow.values()), [p.detach() for _, p in self._parameters], weight)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged and the live weights; call again to undo."""
        for name, p in self._parameters:
            live = p.detach().clone()
            p.copy_(self.shadow[name])
            self.shadow[name] = live


def _save(path: Path, content: dict) -> None:
    temporary = path.with_suffix(".part")
    torch.save(content, temporary)
    os.replace(temporary, path)


def _weights(modules: dict[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    return {name: module.state_dict() for name, module in modules.items()}


def save_weights(path: Path, modules: dict[str, nn.Module], step: int) -> None:
    """Write a checkpoint of `step` without an optimiser: from there, training goes on with a new warm-up."""
    _save(path, {"step": step, "modules": _weights(modules)})


def _keep_log_before(path: Path, step: int) -> None:
    """Drop the lines that a killed run wrote after its last checkpoint, so that each step is logged once."""
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if line and json.loads(line)["step"] < step]
        path.write_text("".join(line + "\n" for line in lines))


def _random(seed: int, step: int, device: torch.device) -> tuple[np.random.Generator, torch.Generator]:
    """Randomness of one step: a function of seed and step alone, so that resuming needs no stored state."""
    rng = np.random.default_rng([seed, step])
    return rng, torch.Generator(device).manual_seed(int(rng.integers(2**62)))


def _steps(start: int, settings: LoopSettings) -> Iterator[tuple[int, Progress, TaskID]]:
    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=settings.steps, completed=start)
        for step in range(start, settings.steps):
            yield step, progress, task
            progress.advance(task)


def _passed(minutes: float | None, since: float) -> bool:
    return minutes is not None and time.perf_counter() - since >= 60 * minutes


def _step(
    stage: Stage, settings: LoopSettings, step: int, first: int, optimiser: torch.optim.Optimizer, device: torch.device
) -> dict[str, float]:
    """One update of the weights; figures for the log."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, settings, first)
    loss, figures = stage.loss(*_random(settings.seed, step, device), settings.batch)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    weights = [p for group in optimiser.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(weights, settings.clip_norm)
    if not torch.isfinite(norm):
        raise FloatingPointError(f"The gradient of step {step} is not finite; lower the learning rate.")
    optimiser.step()
    return figures | {"loss": float(loss.detach())}


def train(stage: Stage, settings: LoopSettings, out: Path, device: torch.device, began: float | None = None) -> int:
    """Train until settings.steps, resuming from the folder's checkpoint; leaves the EMA weights in the modules.

    Stops earlier, with a checkpoint, once settings.minutes have passed since `began` (time.perf_counter(); default:
    now), but not before one step, so that repeating gets there. Returns the number of steps done so far.
    Raises InputError if the folder holds a checkpoint of another kind of run.
    """
    out.mkdir(parents=True, exist_ok=True)
    parameters = stage.trainable()
    ema = Ema(parameters)
    optimiser = torch.optim.AdamW(
        [p for _, p in parameters], settings.lr, betas=(0.9, 0.99), weight_decay=settings.weight_decay
    )
    start = first = 0
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        start, first = _restore(checkpoint, stage, ema, optimiser, device)
    _keep_log_before(out / LOG, start)

    def save(step: int) -> None:
        content = {"step": step, "first": first, "modules": _weights(stage.modules), "ema": ema.shadow}
        _save(checkpoint, content | {"optimiser": optimiser.state_dict()})

    entered = saved = time.perf_counter()
    sums: dict[str, float] = {}
    done, count = start, 0
    with (out / LOG).open("a", buffering=1) as log:
        for step, progress, task in _steps(start, settings):
            figures = _step(stage, settings, step, first, optimiser, device)
            ema.update(step, settings.ema)
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
            done, count = step + 1, count + 1
            stop = _passed(settings.minutes, entered if began is None else began)
            if done % settings.log_every == 0 or done == settings.steps or stop:
                line = {name: round(value / count, 5) for name, value in sums.items()}
                log.write(json.dumps({"step": step, **line, "seconds": round(time.perf_counter() - entered, 1)}) + "\n")
                progress.update(task, description=f"loss {line['loss']:.4f}")
                sums, count = {}, 0
            old = _passed(settings.save_minutes, saved)
            if done % settings.save_every == 0 or done == settings.steps or stop or old:
                save(done)
                saved = time.perf_counter()
            if done % settings.grid_every == 0 or done == settings.steps:
                ema.swap()
                figures = stage.grid(out / f"grid-{done:07d}.png")
                ema.swap()
                log.write(json.dumps({"step": step, "grid": figures}) + "\n")
            if stop:
                break
    ema.swap()
    return done


def _restore(
    checkpoint: Path, stage: Stage, ema: Ema, optimiser: torch.optim.Optimizer, device: torch.device
) -> tuple[int, int]:
    """Fill everything from a checkpoint. Returns the next step and that at which the optimiser started."""
    content = torch.load(checkpoint, map_location=device, weights_only=True)
    try:
        for name, module in stage.modules.items():
            module.load_state_dict(content["modules"][name])
        if "optimiser" not in content:  # from save_weights
            ema.shadow = Ema(stage.trainable()).shadow
            return int(content["step"]), int(content["step"])
        optimiser.load_state_dict(content["optimiser"])
        for name, shadow in ema.shadow.items():
            shadow.copy_(content["ema"][name])
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{checkpoint} does not fit this configuration ({error}); use a new output folder.") from error
    return int(content["step"]), int(content.get("first", 0))
