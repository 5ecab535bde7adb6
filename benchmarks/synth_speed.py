"""Frames per second of the generator, all processes together, start-up excluded.

python benchmarks/synth_speed.py --size 128 --workers 2
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from magicanimate.synth.clip import render_clip
from magicanimate.synth.dataset import clip_times


def render(seeds: range, frames: int, size: int) -> tuple[float, float]:
    """Render a warm-up clip, then the clips of `seeds`; when the latter began and ended (seconds since the epoch)."""
    render_clip(seeds.start + 10_000, clip_times(0, frames, None), size)
    began = time.time()
    for seed in seeds:
        render_clip(seed, clip_times(seed, frames, None), size)
    return began, time.time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--clips", type=int, default=60, help="of each process")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    # spawned, as the data set writer does
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        shares = [range(k * arguments.clips, (k + 1) * arguments.clips) for k in range(arguments.workers)]
        spans = list(pool.map(render, shares, *zip(*[(arguments.frames, arguments.size)] * len(shares), strict=True)))
    seconds = max(end for _, end in spans) - min(began for began, _ in spans)
    total = arguments.workers * arguments.clips * arguments.frames
    print(
        f"{total} frames of {arguments.size}x{arguments.size} in {seconds:.1f} s with {arguments.workers} processes: "
        f"{total / seconds:.1f} frames/s"
    )


if __name__ == "__main__":
    main()
