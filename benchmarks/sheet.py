"""A contact sheet of one animation, to look at: the picture, then frames of the motion above frames of the result.

python benchmarks/sheet.py --image person.png --motion densepose.mp4 --out sheet.png
python benchmarks/sheet.py --image person.png --motion densepose.mp4 --out moving.webp   # as moving pictures
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from magicanimate import MagicAnimatePipeline
from magicanimate.animation.job import Job
from magicanimate.animation.settings import make_settings
from magicanimate.engine.device import peak_memory


def sheet(job: Job, frames_FHWC: np.ndarray, columns: int) -> np.ndarray:
    """Two rows: the picture and `columns` frames of the motion; blank and the frames of the result below them."""
    picture_HWC = job.picture_HWC
    pick = np.linspace(0, len(frames_FHWC) - 1, min(columns, len(frames_FHWC))).round().astype(int)
    motion_FHWC = np.stack(list(job.motion_frames()))
    above = np.concatenate([picture_HWC, *motion_FHWC[pick]], axis=1)
    below = np.concatenate([np.full_like(picture_HWC, 255), *frames_FHWC[pick]], axis=1)
    return np.concatenate([above, below])


def write_moving(path: Path, job: Job, frames_FHWC: np.ndarray) -> None:
    """Picture, motion and result side by side, as an animated WebP."""
    rows = zip(job.motion_frames(), frames_FHWC, strict=True)
    pictures = [Image.fromarray(np.concatenate([job.picture_HWC, *row], axis=1)) for row in rows]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=round(1000 / job.fps), loop=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], help="a setting, e.g. steps=6", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    changes = {key: json.loads(value) for key, _, value in (item.partition("=") for item in arguments.set)}
    pipe = MagicAnimatePipeline.from_pretrained(arguments.model)
    began = time.perf_counter()
    job = pipe.prepare(str(arguments.image), str(arguments.motion), make_settings(**changes))
    frames_FHWC = np.stack(list(pipe.frames(job)))
    seconds = time.perf_counter() - began
    if arguments.out.suffix == ".webp":
        write_moving(arguments.out, job, frames_FHWC)
    else:
        Image.fromarray(sheet(job, frames_FHWC, arguments.columns)).save(arguments.out)
    print(f"{arguments.out}: {len(frames_FHWC)} frames in {seconds:.1f} s; {job.summary()}")
    print(f"peak memory {peak_memory() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
