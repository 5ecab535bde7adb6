"""Progress in the terminal: stage, step, rate, time left and memory."""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

STAGES = {
    "loading": "Loading the model",
    "looking": "Looking for the person",
    "extracting": "Finding body parts",
    "fitting": "Fitting a body",
    "writing": "Writing the motion",
    "reading": "Reading the motion",
    "removing": "Taking the person out of the video",
    "faces": "Following the face",
    "layers": "Cutting the person into layers (half a minute longer the first time, which compiles it)",
    "control": "Preparing the motion",
    "denoise": "Denoising",
    "decode": "Decoding and writing",
    "evaluating": "Evaluating",
    "distances": "Measuring distances",
}


class ProgressDisplay:
    """A callback for the pipeline: `display(stage, done, total)`. Without a terminal, one line per stage."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(compact=True), TextColumn("{task.fields[memory]}"),
            console=self._console, disable=not self._live,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._frames = self._steps = 1
        self._last = time.monotonic()

    def __enter__(self) -> ProgressDisplay:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def expect(self, frames: int, steps: int) -> None:
        """The size of the job, so that denoising can be told in steps and in frames of the finished video."""
        self._frames, self._steps = frames, steps

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` units of a stage; total None while it is unknown."""
        if stage not in self._tasks:
            self._begin(stage, total)
        title = STAGES.get(stage, stage)
        finished: float = done
        if stage == "denoise" and total:
            title += f", step {math.ceil(done * self._steps / total)}/{self._steps}"
            finished = done / total * self._frames
        self._last = time.monotonic()
        seconds = self._last - self._started[stage]
        rate = f"{finished / seconds:.2f} frames/s" if stage != "loading" and done and seconds > 0.05 else ""
        self._bars.update(
            self._tasks[stage], completed=done, total=total, description=title, rate=rate, memory=memory_text()
        )

    def _begin(self, stage: str, total: int | None) -> None:
        title = STAGES.get(stage, stage)
        self._started[stage] = self._last  # the first report comes after the first piece of work
        self._tasks[stage] = self._bars.add_task(title, total=total, rate="", memory="")
        if not self._live:
            self._console.print(f"{title} ...", highlight=False)


def memory_text() -> str:
    """Return the peak memory of this process so far, in words."""
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        return ""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB"
