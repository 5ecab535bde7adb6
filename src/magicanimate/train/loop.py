"""The training loop that all stages share: optimizer, EMA, checkpoints, exact resume, log, sample grids."""

import errno
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from magicanimate.engine.ranks import Ranks
from magicanimate.errors import InputError
from magicanimate.train.batches import Order, Prefetched, begin_batch, prefetch
from magicanimate.train.checkpoints import (
    CHECKPOINT,
    Best,
    load_modules,
    module_weights,
    read_checkpoint,
    save_weights,
)
from magicanimate.train.checkpoints import write_checkpoint as _save
from magicanimate.train.data_parallel import sum_gradients
from magicanimate.train.log import LOG, RunLogger, keep_log_before
from magicanimate.train.optimizer import OptimizerName, build_optimizer

__all__ = ["CHECKPOINT", "LOG", "LoopSettings", "Stage", "learning_rate", "save_weights", "train"]
Ahead = Iterator[tuple[int, Any]]
_DISK = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO}


class LoopSettings(BaseModel):
    """Settings of the training loop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1, description="optimizer steps")
    batch: int = Field(8, ge=1, description="samples computed together")
    accumulate: int = Field(
        1, ge=1, description="batches whose gradients make one step, shared out among the processes"
    )
    lr: float = Field(3e-4, gt=0, description="highest learning rate")
    warmup: int = Field(100, ge=0, description="steps of linear warm-up")
    decay: float = Field(
        0.4, ge=0, le=1, description="last share of the steps, over which the rate falls to a twentieth"
    )
    weight_decay: float = Field(0.01, description="weight decay of the optimizer")
    clip_norm: float = Field(1.0, description="largest norm of the gradients")
    optimizer: OptimizerName = Field(
        "adamw", description="adamw, or adafactor: hardly any memory for moments, no momentum"
    )
    ema: float = Field(
        0.999, ge=0, lt=1, description="cap of the EMA decay, which grows as (n+1)/(n+15); 0: no average is kept"
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="bfloat16: autocast; weights stay float32")
    frozen: Literal["float32", "bfloat16"] = Field(
        "float32", description="dtype of the layers that a diffusion stage does not train"
    )
    checkpointing: bool = Field(False, description="gradient checkpointing: less memory for a third more time")
    seed: int = Field(0, description="seed of weights and samples")
    workers: int = Field(0, ge=0, description="processes that prefetch batches, for GPUs; the result is the same")
    echo: int = Field(1, ge=1, description="steps on each batch, with new noise, where drawing a batch takes longer")
    save_every: int = Field(250, ge=1, description="steps between checkpoints")
    grid_every: int = Field(500, ge=1, description="steps between sample grids and held-out figures")
    log_every: int = Field(20, ge=1, description="steps between lines of the log")
    minutes: float | None = Field(None, gt=0, description="stop after this long, with a checkpoint; repeat to resume")
    by_clock: bool = Field(
        False, description="decay the rate by the share of minutes that has passed, if that is ahead of the steps'"
    )
    save_minutes: float | None = Field(None, gt=0, description="also save when the last checkpoint is this old")
    best: tuple[str, ...] = Field(
        ("part_accuracy", "psnr"), description="held-out figures that select the best weights, in order of priority"
    )
    result: Literal["last", "best"] = Field("last", description="weights of the result: last, or best")
    tensorboard: bool = Field(True, description="also write TensorBoard's files, if it is installed")


class Stage(Protocol):
    """Interface of a stage to the loop."""

    modules: dict[str, nn.Module]  # everything that the checkpoint keeps

    def trainable(self) -> list[tuple[str, nn.Parameter]]: ...

    def loss(
        self, rng: np.random.Generator, generator: torch.Generator, batch: int
    ) -> tuple[Tensor, dict[str, float | Tensor]]: ...

    def grid(self, path: Path) -> dict[str, float]: ...


@runtime_checkable
class NamesClips(Protocol):
    """A stage that can say which clips a batch has, for the message when it fails."""

    def clips(self, rng: np.random.Generator, batch: int) -> list[str]: ...


def learning_rate(step: int, settings: LoopSettings, first: int = 0, passed: float = 0.0) -> float:
    """Return the learning rate: linear warm-up, constant, linear decay to a twentieth. Pure, for exact resuming.

    first: the step at which the optimizer started from nothing, and its warm-up with it. passed: the share of the time
    that has passed, for runs that are bound by it.
    """
    up = min(1.0, (step - first + 1) / max(1, settings.warmup))
    done = max(step / settings.steps, min(1.0, passed))
    beyond = max(0.0, done - (1 - settings.decay)) / settings.decay if settings.decay else 0.0
    return settings.lr * up * (1 - 0.95 * beyond)


class Ema:
    """Exponential moving average of the trainable parameters; with a cap of 0 it keeps and does nothing."""

    def __init__(self, parameters: list[tuple[str, nn.Parameter]], cap: float) -> None:
        self._parameters, self._cap = parameters if cap else [], cap
        self.restart()

    @torch.no_grad()
    def update(self, n: int) -> None:
        if not self.shadow:
            return
        weight = 1 - min(self._cap, (n + 1) / (n + 15))
        torch._foreach_lerp_(list(self.shadow.values()), [p.detach() for _, p in self._parameters], weight)

    def restart(self) -> None:
        """Average from the weights as they are now."""
        self.shadow = {name: p.detach().clone() for name, p in self._parameters}

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged and the live weights; call again to undo."""
        for name, p in self._parameters:
            live = p.detach().clone()
            p.copy_(self.shadow[name])
            self.shadow[name] = live


def _random(
    stage: Stage, settings: LoopSettings, step: int, number: int, device: torch.device
) -> tuple[np.random.Generator, torch.Generator]:
    """Return the randomness of a step's batch. A stage whose batches take turns is told which one it is."""
    rng, seed = begin_batch(stage, settings.seed, settings.accumulate, step, number, settings.echo)
    return rng, torch.Generator(device).manual_seed(seed)


def _loss(
    stage: Stage, settings: LoopSettings, step: int, number: int, device: torch.device, ahead: Ahead | None
) -> tuple[Tensor, dict[str, float | Tensor]]:
    """Return the loss of one batch, which was prefetched or is drawn now."""
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        if ahead is None or not isinstance(stage, Prefetched):
            return stage.loss(*_random(stage, settings, step, number, device), settings.batch)
        seed, drawn = next(ahead)
        return stage.loss_of(drawn, torch.Generator(device).manual_seed(seed))


def _steps(start: int, settings: LoopSettings, shown: bool) -> Iterator[tuple[int, Progress, TaskID]]:
    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(quiet=not shown)) as progress:
        task = progress.add_task("", total=settings.steps, completed=start)
        for step in range(start, settings.steps):
            yield step, progress, task
            progress.advance(task)


def _passed(minutes: float | None, since: float) -> bool:
    return minutes is not None and time.perf_counter() - since >= 60 * minutes


def _share_passed(settings: LoopSettings, began: float, ranks: Ranks) -> float:
    """Return the share of the minutes that has passed, for rates that fall by the clock; equal in all processes."""
    if not settings.by_clock or settings.minutes is None:
        return 0.0
    return ranks.broadcast((time.perf_counter() - began) / (60 * settings.minutes))


@dataclass
class Loop:
    """One process's part of training. first: the step at which the optimizer started."""

    stage: Stage
    settings: LoopSettings
    device: torch.device
    ranks: Ranks
    optimizer: torch.optim.Optimizer
    first: int = 0
    ahead: Ahead | None = None

    def step(self, step: int, passed: float = 0.0) -> dict[str, float]:
        """Update the weights once; return this process's share of the figures for the log: sums over its batches."""
        settings, stage = self.settings, self.stage
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, settings, self.first, passed)
        weights = [p for _, p in stage.trainable()]
        _forget_gradients(weights)
        sums: dict[str, float | Tensor] = {}  # read at the end only: a GPU would have to be waited for
        own = torch.zeros((), device=self.device)
        losses: dict[int, Tensor] = {}
        for number in self.ranks.shard(settings.accumulate):
            loss, figures = _loss(stage, settings, step, number, self.device, self.ahead)
            (loss / settings.accumulate).backward()
            losses[number] = loss.detach()
            own = own + losses[number].float() / settings.accumulate
            for name, value in (figures | {"loss": losses[number]}).items():
                sums[name] = sums.get(name, 0.0) + value
        total = sum_gradients(self.ranks, weights, own)
        norm = torch.nn.utils.clip_grad_norm_(weights, settings.clip_norm)
        if not (torch.isfinite(norm) and torch.isfinite(total)):
            bad = [number for number, loss in losses.items() if not torch.isfinite(loss)]
            raise InputError(self._diverged(step, bad))
        self.optimizer.step()
        return {name: float(value) for name, value in sums.items()}

    def _diverged(self, step: int, bad: list[int]) -> str:
        """Return one sentence with the step, and the clips of the batches whose loss or gradient is not finite."""
        stage, settings = self.stage, self.settings
        batches = self.ranks.all_gather((bad, list(self.ranks.shard(settings.accumulate))))
        at_fault = [number for numbers, _ in batches for number in numbers]
        what = "loss" if at_fault else "gradient"
        clips: dict[str, None] = {}
        if isinstance(stage, NamesClips):
            for number in at_fault or [number for _, numbers in batches for number in numbers]:
                rng = _random(stage, settings, step, number, self.device)[0]
                clips |= dict.fromkeys(stage.clips(rng, settings.batch))
        named = f" (clips {', '.join(clips)})" if clips else ""
        return (
            f"The {what} of step {step}{named} is not finite, so training stopped there; the last checkpoint is kept. "
            "Look at these clips, or lower loop.lr."
        )


def _forget_gradients(weights: Iterable[nn.Parameter]) -> None:
    for weight in weights:
        weight.grad = None


def train(
    stage: Stage,
    settings: LoopSettings,
    out: Path,
    device: torch.device,
    began: float | None = None,
    ranks: Ranks | None = None,
) -> int:
    """Train until settings.steps, resuming from the folder's checkpoint; leaves the EMA weights in the modules.

    Stops earlier, with a checkpoint, once settings.minutes have passed since `began` (time.perf_counter(); default:
    now), but not before one step, so that repeating gets there. Returns the number of steps done so far.
    processes: those that share the work, by default this one alone. With result: best, the modules get the weights
    with the best held-out figures instead.
    Raises InputError if the folder holds a checkpoint of another kind of run, if nothing can be written any more, and
    if loss or gradient are not finite; the last checkpoint is then whole.
    """
    ranks = ranks or Ranks()
    if settings.accumulate < ranks.size:
        raise InputError(
            f"{ranks.size} processes cannot share {settings.accumulate} batch(es) of a step: set "
            f"loop.accumulate to {ranks.size} or more."
        )
    if settings.checkpointing:
        _checkpoint_gradients(stage)
    try:
        return _train(stage, settings, out, device, time.perf_counter() if began is None else began, ranks)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise InputError(f"{out} cannot be written ({error.strerror}); the last checkpoint is kept.") from error


def _checkpoint_gradients(stage: Stage) -> None:
    for module in stage.modules.values():
        if getattr(module, "_supports_gradient_checkpointing", False):
            module.enable_gradient_checkpointing()


def _train(stage: Stage, settings: LoopSettings, out: Path, device: torch.device, began: float, ranks: Ranks) -> int:
    out.mkdir(parents=True, exist_ok=True)
    parameters = stage.trainable()
    weights = [p for _, p in parameters]
    ema = Ema(parameters, settings.ema)
    optimizer = build_optimizer(settings.optimizer, weights, settings.lr, settings.weight_decay)
    start = first = 0
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        start, first = _restore(checkpoint, stage, ema, optimizer, device)
    best = Best(out, settings.best)
    ranks.barrier()  # all have read what the first one is about to change
    if ranks.first:
        keep_log_before(out / LOG, start)

    def save(step: int) -> None:
        content = {"step": step, "first": first, "modules": module_weights(stage.modules), "ema": ema.shadow}
        _save(checkpoint, content | {"optimizer": optimizer.state_dict()})

    loop = Loop(stage, settings, device, ranks, optimizer, first, _draw_ahead(stage, settings, ranks, start, device))
    entered = saved = time.perf_counter()
    sums: dict[str, float] = {}
    done, count = start, 0
    with RunLogger(out, start, settings.tensorboard, ranks.first) as board:
        for step, progress, task in _steps(start, settings, ranks.first):
            figures = loop.step(step, _share_passed(settings, began, ranks))
            ema.update(step)
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
            done, count = step + 1, count + 1
            stop = settings.minutes is not None and ranks.broadcast(_passed(settings.minutes, began))
            if done % settings.log_every == 0 or done == settings.steps or stop:
                line = _means(ranks.all_gather(sums), count * settings.accumulate)
                board.figures(step, line | {"seconds": round(time.perf_counter() - entered, 1)})
                progress.update(task, description=f"loss {line['loss']:.4f}")
                sums, count = {}, 0
            old = _passed(settings.save_minutes, saved)
            if ranks.first and (done % settings.save_every == 0 or done == settings.steps or stop or old):
                save(done)
                saved = time.perf_counter()
            if ranks.first and (done % settings.grid_every == 0 or done == settings.steps):
                _forget_gradients(weights)  # room for the sample grid
                _show(stage, ema, best, board, out / f"grid-{done:07d}.png", done)
            if stop:
                break
    ranks.barrier()
    ema.swap()
    if settings.result == "best":
        best.restore(stage.modules)
    return done


def _draw_ahead(stage: Stage, settings: LoopSettings, ranks: Ranks, start: int, device: torch.device) -> Ahead | None:
    """Return batches that other processes draw, if the settings ask for it and the stage can."""
    if not settings.workers or not isinstance(stage, Prefetched):
        return None
    order = Order(
        settings.seed, settings.batch, settings.accumulate, settings.echo, range(start, settings.steps),
        ranks.shard(settings.accumulate),
    )  # fmt: skip
    return prefetch(stage, order, settings.workers, device)


def _show(stage: Stage, ema: Ema, best: Best, board: RunLogger, picture: Path, done: int) -> None:
    """Draw the sample grid with the averaged weights, and keep them if they are the best."""
    ema.swap()
    figures = stage.grid(picture)
    best.offer(figures, stage.modules, done)
    ema.swap()
    board.grid(done - 1, figures, picture)


def _means(shares: list[dict[str, float]], batches: int) -> dict[str, float]:
    """Return the processes' sums as means over all batches."""
    names = dict.fromkeys(name for share in shares for name in share)
    return {name: round(sum(share.get(name, 0.0) for share in shares) / batches, 5) for name in names}


def _restore(
    checkpoint: Path, stage: Stage, ema: Ema, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[int, int]:
    """Fill everything from a checkpoint. Returns the next step and that at which the optimizer started."""
    content = read_checkpoint(checkpoint, device)
    load_modules(content, stage.modules, checkpoint)
    if "optimizer" not in content:  # from save_weights
        ema.restart()
        return int(content["step"]), int(content["step"])
    try:
        optimizer.load_state_dict(content["optimizer"])
        for name, shadow in ema.shadow.items():
            shadow.copy_(content["ema"][name])
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{checkpoint} does not fit this configuration ({error}); use a new output folder.") from error
    return int(content["step"]), int(content.get("first", 0))
