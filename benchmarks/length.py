"""Host memory against the length of the video, with a small random model: each length in a process of its own.

python benchmarks/length.py --frames 100 1000 10000 --json length.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent.parent / "tests"


def motion(frames: int, size: int) -> Iterator[np.ndarray]:
    """Palette-colored frames [size, size, 3] of a walking figure, made one by one."""
    from figures import walking_parts
    from magicanimate.parts.densepose import render_parts

    period = render_parts(walking_parts(16, size, size))
    for index in range(frames):
        yield period[index % len(period)]


def measure(frames: int, size: int, steps: int) -> dict[str, float]:
    """Animate one video to a file; memory in MB, time in seconds."""
    sys.path.insert(0, str(TESTS))
    import torch

    from magicanimate import MagicAnimatePipeline
    from magicanimate.animation.settings import make_settings
    from magicanimate.engine.device import peak_memory
    from magicanimate.media.reading import Clip
    from magicanimate.media.video import save_frames
    from random_models import random_model

    torch.set_num_threads(1)
    pipe = MagicAnimatePipeline(random_model("parts"))
    clip = Clip(Path("walk"), 25.0, (size, size), frames, lambda: motion(frames, size))
    picture_HWC = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        list(pipe.frames(pipe.prepare(picture_HWC, next(iter(clip))[None], make_settings(steps=1))))  # warm up
        base, started = peak_memory(), time.monotonic()
        job = pipe.prepare(picture_HWC, clip, make_settings(steps=steps, align="none", size=f"{size}x{size}"))
        prepared = peak_memory()
        save_frames(pipe.frames(job, resume_folder=Path(folder) / "steps"), Path(folder) / "out.mp4", 25, {})
        seconds = time.monotonic() - started
    latents = 4 * pipe.model.latent_channels * frames * (size // pipe.description.pixel_factor) ** 2
    return {
        "frames": frames, "latents_mb": latents / 1e6, "base_mb": base / 1e6, "reading_mb": (prepared - base) / 1e6,
        "peak_mb": peak_memory() / 1e6, "grown_mb": (peak_memory() - base) / 1e6, "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.frames[0], arguments.size, arguments.steps)))
        return
    rows = []
    for frames in arguments.frames:
        command = [sys.executable, __file__, "--child", "--frames", str(frames)]
        command += ["--size", str(arguments.size), "--steps", str(arguments.steps)]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(result.stdout.splitlines()[-1]))
        print(", ".join(f"{name} {value:.1f}" for name, value in rows[-1].items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
