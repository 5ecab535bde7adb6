"""Log a run: `log.jsonl` always, TensorBoard's files beside it where that is installed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

LOG, BOARD = "log.jsonl", "tensorboard"


def keep_log_before(path: Path, step: int) -> None:
    """Drop the lines that a killed run wrote after its last checkpoint, so that each step is logged once."""
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if _whole(line) and json.loads(line)["step"] < step]
        path.write_text("".join(line + "\n" for line in lines))


def _whole(line: str) -> bool:
    """A line that a kill or a full disk cut off is none."""
    return line.startswith("{") and line.endswith("}")


class RunLogger:
    """Scalars and sample grids by step; a context manager. writing: False for all processes but the first."""

    def __init__(self, out: Path, start: int, tensorboard: bool, writing: bool = True) -> None:
        self._log = (out / LOG).open("a", buffering=1) if writing else None
        self._writer = _writer(out / BOARD, start) if writing and tensorboard else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._log is not None:
            self._log.close()

    def figures(self, step: int, line: Mapping[str, float]) -> None:
        """One line of the log, and a scalar for each figure under `train/`."""
        self._write({"step": step, **line})
        self._scalars("train", line, step)

    def grid(self, step: int, figures: Mapping[str, float], picture: Path) -> None:
        """Held-out figures under `held_out/`, and the sample grid."""
        self._write({"step": step, "grid": dict(figures)})
        self._scalars("held_out", figures, step)
        if self._writer is not None and picture.exists():
            with Image.open(picture) as image:
                self._writer.add_image("grid", np.asarray(image.convert("RGB")), step, dataformats="HWC")
            self._writer.flush()

    def _write(self, line: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(json.dumps(line) + "\n")

    def _scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)


def _writer(folder: Path, start: int) -> Any:
    """Open TensorBoard's writer, which hides what a killed run wrote from `start` on; None if it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=start)
