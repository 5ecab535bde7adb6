"""Seconds and memory from a raw video to part maps, by stage; processor time too, which other programs change less.

python benchmarks/motion_speed.py --frames 100 --size 512
python benchmarks/motion_speed.py --video dance.mp4
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from magicanimate.body.draw import draw_motion
from magicanimate.body.fit import fit_track
from magicanimate.engine.device import peak_memory
from magicanimate.media import open_clip
from magicanimate.media.video import save_frames
from magicanimate.person.track_person import track_video

SEED, FPS, SECONDS = 5000, 25.0, 12.0


def make_video(path: Path, frames: int, size: int) -> None:
    """A dance of a generated person, there and back again if it is longer than the generator's."""
    from magicanimate.synth.clip import render_clip

    step = np.arange(frames) / FPS % (2 * SECONDS)
    times = np.minimum(step, 2 * SECONDS - step)
    pictures = (picture for start in range(0, frames, 50)
                for picture in render_clip(SEED, times[start : start + 50], size, "test").rgb)  # fmt: skip
    save_frames(pictures, path, FPS, {})


def measure(path: Path) -> dict:
    """Stages of one video: seconds, frames, peak memory in GB."""
    began, busy = time.perf_counter(), time.process_time()
    track = track_video(open_clip(path))
    tracked = time.perf_counter()
    motion = fit_track(track)
    fitted = time.perf_counter()
    count = sum(1 for _ in draw_motion(motion))
    ended = time.perf_counter()
    return {
        "frames": count,
        "size": motion.size,
        "track_seconds": round(tracked - began, 1),
        "fit_seconds": round(fitted - tracked, 1),
        "draw_seconds": round(ended - fitted, 1),
        "seconds_per_100_frames": round((ended - began) * 100 / count, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "peak_memory_gb": round(peak_memory() / 2**30, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="by default a generated one")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.video or Path(folder) / "dance.mp4"
        if arguments.video is None:  # in a process of its own, whose memory does not count
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                pool.submit(make_video, path, arguments.frames, arguments.size).result()
        print(json.dumps(measure(path)))


if __name__ == "__main__":
    main()
