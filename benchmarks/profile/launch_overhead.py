"""Measure the milliseconds of Python per denoising step that remain when a GPU replays the work.

    python benchmarks/profile/launch_overhead.py --steps 25

The model has the official layers at a small width, and replaying a recording does nothing, so all that is left is the
host time between two replays.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import torch  # noqa: E402
from benchmarks.counting import step_inputs  # noqa: E402
from benchmarks.sized_models import sized_model  # noqa: E402

from magicanimate.engine.acceleration import BANK_STEPS  # noqa: E402
from magicanimate.engine.cuda_graphs import GraphCompute, Graphs  # noqa: E402
from magicanimate.sampling.loop import sample  # noqa: E402
from magicanimate.sampling.settings import SampleSettings  # noqa: E402


def nobody(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """A recorder whose replay does nothing."""
    made = work()
    return (lambda: None), made


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    """Print the milliseconds of a step, median of some runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeat", type=int, default=5)
    chosen = parser.parse_args(arguments)
    graphs = Graphs(nobody)
    model = replace(sized_model("thin"), compute=GraphCompute(graphs=graphs, bank_steps=BANK_STEPS))
    settings = SampleSettings(steps=chosen.steps, guidance=7.5)
    inputs = step_inputs(model, 64, 16)
    spent = []
    for _ in range(chosen.repeat + 1):
        began = time.perf_counter()
        sample(model, *inputs, settings)
        spent.append((time.perf_counter() - began) / chosen.steps * 1e3)
    print(f"{statistics.median(spent[1:]):.2f} ms of the host a step ({len(graphs)} recordings)")


if __name__ == "__main__":
    main()
