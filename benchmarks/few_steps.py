"""Distilled models beside their teacher: fidelity to held-out people, and time of a frame.

    python benchmarks/few_steps.py --students runs/tiny/distill/model --size 512 --out results/few_steps.json
    python benchmarks/few_steps.py ... --decoder runs/tiny/decoder/decoder --cache 2

--decoder and --cache are those of `magicanimate animate`, for the students alone.

Rows: the teacher, the teacher without guidance, and the students, from the same noise. Times are those of one window of
frames without start and picture: denoising alone, and with decoding and detail; the rows take turns, medians are
reported.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import numpy as np  # noqa: E402
import torch  # noqa: E402
from benchmarks.quality import moving_people, still_people  # noqa: E402

from magicanimate.engine.acceleration import accelerate_model  # noqa: E402
from magicanimate.engine.options import Acceleration  # noqa: E402
from magicanimate.evaluate.basic import psnr  # noqa: E402
from magicanimate.evaluate.frames import ssim  # noqa: E402
from magicanimate.models.model import Model, load_model  # noqa: E402
from magicanimate.networks.vae import encode_images, initial_noise  # noqa: E402
from magicanimate.sampling.loop import sample  # noqa: E402
from magicanimate.sampling.reuse import FeatureReuse, Policies  # noqa: E402
from magicanimate.sampling.settings import SampleSettings  # noqa: E402
from magicanimate.train.preview import HeldOut, figures, generate  # noqa: E402


def fidelity(model: Model, settings: SampleSettings, held: HeldOut) -> tuple[dict[str, float], np.ndarray]:
    """Means over people, and the frames [N,F,H,W,3]."""
    frames = generate(model, held, settings)
    each = [ssim(*pair).mean() for pair in zip(frames, held.targets, strict=True)]
    return figures(frames, held) | {"ssim": float(np.mean(each))}, frames


@torch.no_grad()
def denoising_seconds(model: Model, settings: SampleSettings, held: HeldOut) -> float:
    """Seconds a frame of denoising one clip, all its control planes being there."""
    frames = held.parts.shape[1]
    picture = torch.from_numpy(held.references[:1].copy()).movedim(-1, 1).float() / 255
    reference = encode_images(model.vae, picture, model.config.patch)
    noise = initial_noise(0, frames, tuple(reference.shape[1:]), model.config.noise)
    side = held.references.shape[1] // model.config.control_stride
    planes = torch.rand(1, frames, model.config.control_planes, side, side)
    began = time.perf_counter()
    sample(model, reference, planes, noise, settings)
    return (time.perf_counter() - began) / frames


def whole_seconds(model: Model, settings: SampleSettings, held: HeldOut) -> float:
    """Seconds a frame of one clip: warp, denoising, decoding, detail."""
    began = time.perf_counter()
    generate(model, held, settings, batch=1)
    return (time.perf_counter() - began) / held.parts.shape[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="tiny")
    parser.add_argument("--students", nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--decoder", type=Path, help="a small decoder (stage decoder) for the students")
    parser.add_argument("--cache", type=int, default=1, help="students compute deep features in every so many steps")
    parser.add_argument("--people", type=int, default=48)
    parser.add_argument("--size", type=int, help="width and height in pixels; default: the teacher's own")
    parser.add_argument("--steps", type=int, help="the teacher's; default: its own")
    parser.add_argument("--guidance", type=float, help="the teacher's; default: its own")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    teacher = load_model(arguments.teacher)
    teacher = accelerate_model(teacher, teacher.device, Acceleration())
    own = {name: value for name in ("steps", "guidance") if (value := getattr(arguments, name)) is not None}
    chosen = {"teacher": (teacher, own), "teacher without guidance": (teacher, own | {"guidance": 1.0})}
    for folder in arguments.students:
        student = load_model(folder)
        student = accelerate_model(student, student.device, Acceleration(decoder=arguments.decoder))
        chosen[folder] = (student, {"policies": Policies(features=FeatureReuse(arguments.cache))})
    size = arguments.size or teacher.config.resolution[0]
    still, clip = still_people(arguments.people, size), moving_people(1, size)
    result: dict[str, dict[str, float]] = {}
    frames, times = {}, {name: ([], []) for name in chosen}
    for name, (model, settings) in chosen.items():
        stills = SampleSettings.for_model(model, temporal=False, **settings)
        result[name], frames[name] = fidelity(model, stills, still)
    for _ in range(arguments.repeat):
        for name, (model, settings) in chosen.items():
            moving = SampleSettings.for_model(model, **settings)
            times[name][0].append(denoising_seconds(model, moving, clip))
            times[name][1].append(whole_seconds(model, moving, clip))
    for name, (denoising, whole) in times.items():
        pairs = zip(frames[name], frames["teacher"], strict=True)
        result[name] |= {
            "denoising_seconds": median(denoising),
            "seconds": median(whole),
            "times_faster_denoising": median(times["teacher"][0]) / median(denoising),
            "times_faster": median(times["teacher"][1]) / median(whole),
            "to_teacher": float(np.mean([psnr(*pair) for pair in pairs])),
        }  # fmt: skip
        print(name, {key: round(value, 4) for key, value in result[name].items()})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"size": size, "people": arguments.people} | result, indent=1) + "\n")


if __name__ == "__main__":
    main()
