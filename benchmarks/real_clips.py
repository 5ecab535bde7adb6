"""Real clips of one person, each animated from its own first frame: how near the result comes to the clip.

    python benchmarks/real_clips.py --clips FOLDER --out results/real_clips
    python benchmarks/real_clips.py --clips FOLDER --step 3 --cli --sheet      # all videos of a folder

The first of 24 frames is the picture, the motion is found in all of them, and frames 2 to 24 are compared with the
clip at a short side of 256 pixels: PSNR, PSNR inside the person, SSIM, and dtSSD of the change between frames. Rows: a
copy of the first frame, the drawing alone (`--preset preview`), the pipeline with `--preset`, and with --networks the
diffusion networks' frames instead of the drawing (`--no-detail`). With --cli the frames are written as a video and go
through `magicanimate animate` with its defaults. Writes JSON; with --sheet a picture of each clip (rows: truth, then
the results).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

from magicanimate import MagicAnimatePipeline
from magicanimate.animation.inputs import as_motion
from magicanimate.animation.settings import AnimateSettings, Preset
from magicanimate.engine.device import peak_memory
from magicanimate.errors import InputError
from magicanimate.evaluate.temporal import dtssd
from magicanimate.media import clip_of_frames, open_clip, open_writer
from magicanimate.person.segmentation import segment_people
from magicanimate.version import version

CLIPS = {
    "musepose_dance": 4, "unianimate_dance": 3, "tfjs_squats_5fps": 1, "lhm_taichi_rotated": 6, "sam2_juggle": 5,
    "tfjs_pose1": 4,
}  # fmt: skip
"""Clips of one person, and which of their frames are used: each n-th."""
FRAMES, GIVEN_SIDE, SCORED_SIDE = 24, 512, 256  # frames; pixels of the short side
_SHOWN = 6  # frames in a row of a sheet
_CRF = 12  # of the video for the command line: hardly any loss


@dataclass(frozen=True)
class RealClip:
    """Frames of one video."""

    name: str
    frames_FHWC: np.ndarray
    """Frames for the pipeline."""
    fps: float
    truth_FHWC: np.ndarray
    """Frames for the comparison with results."""
    person_FHW: np.ndarray
    """bool."""


def read_clip(path: Path, step: int, frames: int, given_side: int) -> RealClip:
    """Read each `step`-th frame of a video, up to a number of frames."""
    clip = open_clip(path)
    raw = list(islice(clip, 0, frames * step, step))
    truth = resized(raw, SCORED_SIDE)
    person = np.stack([segment_people(frame_HWC) > 0.5 for frame_HWC in truth])
    return RealClip(path.stem, resized(raw, given_side), clip.fps / step, truth, person)


def resized(frames: list[np.ndarray], short_side: int) -> np.ndarray:
    """Frames with a short side of so many pixels, both sides multiples of 8. [F, H, W, 3] uint8."""
    height, width = frames[0].shape[:2]
    scale = short_side / min(height, width)
    return to_size(frames, (round(height * scale / 8) * 8, round(width * scale / 8) * 8))


def to_size(frames: list[np.ndarray] | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames of another (height, width). [F, H, W, 3] uint8."""
    return np.stack([np.asarray(Image.fromarray(f).resize(size[::-1], Image.Resampling.LANCZOS)) for f in frames])


def figures(result_FHWC: np.ndarray, clip: RealClip) -> dict[str, float]:
    """Return the figures of all frames but the first, which was given. dB, except SSIM and dtSSD in 0..1."""
    result, truth, person = result_FHWC[1:], clip.truth_FHWC[1 : len(result_FHWC)], clip.person_FHW[1:]
    squared = (result.astype(np.float64) - truth) ** 2
    inside = [error[mask].mean() for error, mask in zip(squared, person, strict=False) if mask.any()]
    alike = [
        structural_similarity(one, other, channel_axis=2, data_range=255)
        for one, other in zip(result, truth, strict=True)
    ]
    return {
        "psnr": float(_decibels(squared.mean((1, 2, 3))).mean()),
        "person_psnr": float(_decibels(np.array(inside)).mean()) if inside else float("nan"),
        "ssim": float(np.mean(alike)),
        "dtssd": float(dtssd(result, truth).mean()),
    }


def _decibels(squared: np.ndarray) -> np.ndarray:
    return 10 * np.log10(255**2 / np.maximum(squared, 1e-9))


def through_command_line(clip: RealClip, model: str) -> np.ndarray:
    """The result of `magicanimate animate` with its defaults, from a written picture and video."""
    with tempfile.TemporaryDirectory() as folder:
        picture, motion, out = (Path(folder) / name for name in ("picture.png", "motion.mp4", "result.mp4"))
        Image.fromarray(clip.frames_FHWC[0]).save(picture)
        with open_writer(motion, clip.fps, {}, crf=_CRF) as sink:
            for frame_HWC in clip.frames_FHWC:
                sink.write(frame_HWC)
        given = ["--image", str(picture), "--motion", str(motion), "--out", str(out), "--model", model]
        subprocess.run([sys.executable, "-m", "magicanimate", "animate", *given], check=True)
        return np.stack(list(open_clip(out)))


def rows(
    clip: RealClip, pipe: MagicAnimatePipeline, preset: Preset, networks: bool, cli: str | None
) -> dict[str, Callable[[], np.ndarray]]:
    """Name -> what makes the frames. cli: the model for the command line, if it is to be tried."""
    given = clip_of_frames(clip.frames_FHWC, clip.fps)
    motion = as_motion(given, AnimateSettings())

    def animated(chosen: Preset, **more: Any) -> np.ndarray:
        return pipe(clip.frames_FHWC[0], motion, preset=chosen, seed=1, **more).frames

    made: dict[str, Callable[[], np.ndarray]] = {
        "copy": lambda: np.repeat(clip.frames_FHWC[:1], len(clip.frames_FHWC), 0),
        "preview": lambda: animated("preview"),
        preset: lambda: animated(preset),
    }
    made |= {"networks": lambda: animated(preset, detail=False)} if networks else {}
    return made | ({"command line": lambda: through_command_line(clip, cli)} if cli else {})


def sheet(clip: RealClip, results: list[np.ndarray]) -> np.ndarray:
    """The truth above the results, a few frames each."""
    pick = np.linspace(1, min(len(x) for x in results) - 1, _SHOWN).round().astype(int)
    return np.concatenate([np.concatenate(list(x[pick]), 1) for x in (clip.truth_FHWC, *results)])


def summary(clips: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over the clips; except for the copy also the lead over it, and the number of clips behind it."""
    out: dict[str, dict[str, float]] = {}
    for name in next(iter(clips.values())):
        of_clips = [rows[name] for rows in clips.values()]
        out[name] = {key: float(np.mean([row[key] for row in of_clips])) for key in of_clips[0]}
        if name == "copy":
            continue
        for key in ("psnr", "person_psnr"):
            ahead = [rows[name][key] - rows["copy"][key] for rows in clips.values()]
            out[name] |= {f"{key}_ahead": float(np.mean(ahead)), f"{key}_behind": float(sum(x < 0 for x in ahead))}
    return out


def chosen_clips(folder: Path, step: int | None) -> list[tuple[Path, int]]:
    """Videos and their steps: the named ones, or with a step all of a folder."""
    if step is None:
        found = [(folder / f"{name}.mp4", each) for name, each in CLIPS.items()]
        found = [(path, each) for path, each in found if path.is_file()]
    else:
        found = [(path, step) for path in sorted(folder.glob("*.mp4"))]
    if not found:
        raise SystemExit(f"{folder} holds none of the clips; with --step N all of its mp4 files are used.")
    return found


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, metavar="FOLDER", help="videos of one person each")
    parser.add_argument("--step", type=int, help="use all videos of the folder, each N-th frame", metavar="N")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--side", type=int, default=GIVEN_SIDE, help="short side of what the pipeline is given")
    parser.add_argument("--model", default="tiny", help="name or folder")
    parser.add_argument("--preset", default="quality", choices=["quality", "fast", "original"])
    parser.add_argument("--networks", action="store_true", help="also the networks' frames instead of the drawing")
    parser.add_argument("--cli", action="store_true", help="also through the command line with its defaults")
    parser.add_argument("--sheet", action="store_true", help="write a picture of each clip")
    parser.add_argument("--out", type=Path, default=Path("results/real_clips"))
    arguments = parser.parse_args(given)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pipe = MagicAnimatePipeline.from_pretrained(arguments.model)
    clips: dict[str, dict[str, dict[str, float]]] = {}
    for path, step in chosen_clips(arguments.clips, arguments.step):
        clip = read_clip(path, step, arguments.frames, arguments.side)
        clips[clip.name], results = {}, []
        for name, make in rows(
            clip, pipe, arguments.preset, arguments.networks, arguments.model if arguments.cli else None
        ).items():
            began = time.perf_counter()
            try:
                frames = make()
            except InputError as error:
                raise SystemExit(f"{clip.name}, {name}: {error}") from error
            seconds = time.perf_counter() - began
            results.append(to_size(frames, clip.truth_FHWC.shape[1:3]))
            clips[clip.name][name] = figures(results[-1], clip) | {"seconds": seconds}
            row = clips[clip.name][name]
            print(f"{clip.name:20s} {name:12s} " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
        if arguments.sheet:
            Image.fromarray(sheet(clip, results)).save(arguments.out / f"{clip.name}.png")
    about = {
        "version": version(), "model": pipe.description.config.name, "model_version": pipe.description.config.version,
        "preset": arguments.preset, "frames": arguments.frames, "side": arguments.side, "memory": peak_memory(),
    }  # fmt: skip
    report = {"about": about, "mean": summary(clips), "clips": clips}
    (arguments.out / "real_clips.json").write_text(json.dumps(report, indent=1))
    for name, row in report["mean"].items():
        print(f"{'mean':20s} {name:12s} " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()))


if __name__ == "__main__":
    main()
