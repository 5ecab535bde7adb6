"""A long video of a real motion: does the person change on the way, and are the windows' seams seen?

    python benchmarks/long_video.py --picture person.jpg --motion dance.mp4 --out results/long

The motion runs forward and back until there are --frames of it, so every pose comes again. Frames of one pose are
compared with its first one: PSNR, and the change of the mean color, in gray levels. At the borders of windows changes
between frames are compared with those elsewhere. Rows: the drawing (the default), and the diffusion networks' frames
(`--no-detail`). Writes `long.json` and, of each row, a sheet with that pose and a strip of changes around a border.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from magicanimate import MagicAnimatePipeline
from magicanimate.evaluate.basic import psnr
from magicanimate.media import open_clip, open_writer

SIDE = 256
"""Short side of what is compared, in pixels."""
AT = (0.25, 0.5, 1.0)
"""Shares of the video at which the pose is looked at again."""


def back_and_forth(frames: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield frames without end; they repeat after 2 * (len - 1)."""
    return cycle([*frames, *frames[-2:0:-1]])


def small(frame_HWC: np.ndarray) -> np.ndarray:
    """Return the frame with a short side of SIDE pixels."""
    image = Image.fromarray(frame_HWC)
    scale = SIDE / min(image.size)
    return np.asarray(image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX))


def figures(frames_FHWC: np.ndarray, period: int, stride: int) -> tuple[dict[str, float], list[int]]:
    """Return the figures, and the frames of one pose. stride: frames between borders of windows."""
    first = period  # its surroundings are the same as later ones', unlike those of the very first frame
    last = (len(frames_FHWC) - 1 - first) // period
    again = [first + period * max(1, round(share * last)) for share in AT]
    one = frames_FHWC[first]
    result = {}
    for share, index in zip(AT, again, strict=True):
        other = frames_FHWC[index]
        result[f"psnr_{share:g}"] = psnr(other, one)
        result[f"color_{share:g}"] = float(np.abs(one.mean((0, 1)) - other.mean((0, 1))).max())
    changes_F = np.abs(np.diff(frames_FHWC.astype(np.int16), axis=0)).mean((1, 2, 3))
    borders = np.arange(stride - 1, len(changes_F), stride)
    result["change_at_borders"] = float(changes_F[borders].mean())
    result["change_elsewhere"] = float(np.delete(changes_F, borders).mean())
    return result, [first, *again]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--motion", type=Path, required=True, help="video of one person")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--model", default="tiny", help="name or folder")
    parser.add_argument("--out", type=Path, default=Path("results/long"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pipe, clip = MagicAnimatePipeline.from_pretrained(arguments.model), open_clip(arguments.motion)
    frames = list(clip)
    window = pipe.description.config.window - pipe.description.config.overlap
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        motion = Path(folder) / "motion.mp4"
        with open_writer(motion, clip.fps, {}, crf=18) as sink:
            for frame_HWC in islice(back_and_forth(frames), arguments.frames):
                sink.write(frame_HWC)
        for name, detail in (("drawing", True), ("networks", False)):
            stream = pipe(arguments.picture, motion, stream=True, fps=clip.fps, detail=detail, seed=1)
            made = np.stack([small(frame_HWC) for frame_HWC in stream])
            report[name], pose = figures(made, 2 * (len(frames) - 1), window)
            border = window * (len(made) // (2 * window))
            strip = 4 * np.abs(np.diff(made[border - 4 : border + 4].astype(np.int16), axis=0)).clip(0, 63)
            for what, pictures in (("pose", made[pose]), ("changes", strip.astype(np.uint8))):
                Image.fromarray(np.concatenate(list(pictures), 1)).save(arguments.out / f"{name}-{what}.png")
            print(name, "  ".join(f"{key} {value:.3f}" for key, value in report[name].items()), flush=True)
    (arguments.out / "long.json").write_text(json.dumps({"frames": arguments.frames} | report, indent=1))


if __name__ == "__main__":
    main()
