"""Held-out quality of a model: the figures that docs/results quotes, with baselines and negative controls.

    python benchmarks/quality.py --model tiny --people 48 --out results/quality

People come from the generator's test split (never trained on). Reference and target are different poses of one person.
Prints one line per condition and writes JSON and a sheet (rows: reference, motion, truth, result). With --trained-on S,
the same for people of the training split from seed S on: the difference is what was learned by heart. With --rich,
people are drawn with accessories, folds and prints. With --animate, people go through the whole pipeline instead, at
--size pixels: picture and part map in, one frame out.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from magicanimate import MagicAnimatePipeline
from magicanimate.animation.inputs import as_motion
from magicanimate.animation.settings import AnimateSettings
from magicanimate.engine.device import select_device
from magicanimate.errors import InputError
from magicanimate.evaluate.basic import flicker
from magicanimate.evaluate.temporal import dtssd
from magicanimate.media import clip_of_frames
from magicanimate.models.model import Model, load_model
from magicanimate.networks.vae import decode_latents, encode_images
from magicanimate.parts.densepose import PALETTE_25, with_loose
from magicanimate.sampling.settings import SampleSettings
from magicanimate.synth.clip import GeneratedClip, render_clip
from magicanimate.synth.dataset import clip_times
from magicanimate.train.model_surgery import with_noise
from magicanimate.train.preview import HeldOut, figures, generate, write_grid

CLIP_SEED, CLIP_FRAMES, CLIP_FPS = 2000, 17, 12.5  # clips of other people than the stills, same split


def own_map(clip: GeneratedClip) -> np.ndarray:
    """The reference's own map [H,W], for the warp."""
    return with_loose(clip.parts[0], clip.person[0])


def still_people(
    count: int, size: int, split: str = "test", first: int = 0, frames: int = 4, rich: bool = False
) -> HeldOut:
    """Render people from a seed on: the first of a few far-apart frames is the reference, the second the truth."""
    seeds = range(first, first + count)
    clips = [render_clip(seed, clip_times(seed, frames, None), size, split, rich=rich) for seed in seeds]
    pick = [(clip.rgb[0], clip.parts[1:2], clip.rgb[1:2], own_map(clip)) for clip in clips]
    return HeldOut(*(np.stack(column) for column in zip(*pick, strict=True)))


def moving_people(count: int, size: int) -> HeldOut:
    """Clips of the test split: a reference and 16 consecutive frames."""
    seeds = range(CLIP_SEED, CLIP_SEED + count)
    clips = [render_clip(seed, clip_times(seed, CLIP_FRAMES, CLIP_FPS), size, "test") for seed in seeds]
    pick = [(clip.rgb[0], clip.parts[1:], clip.rgb[1:], own_map(clip)) for clip in clips]
    return HeldOut(*(np.stack(column) for column in zip(*pick, strict=True)))


@torch.no_grad()
def reconstruct(model: Model, pictures: np.ndarray) -> np.ndarray:
    """Pictures [N,F,H,W,3] uint8 through the VAE and back: the ceiling of everything else."""
    flat = torch.from_numpy(pictures.reshape(-1, *pictures.shape[2:])).movedim(-1, 1).float() / 255
    patch = model.config.patch
    latents = [encode_images(model.vae, chunk.to(model.device), patch) for chunk in flat.split(8)]
    out = torch.cat([decode_latents(model.vae, chunk, patch).cpu() for chunk in latents])
    return (out * 255).round().byte().movedim(1, -1).numpy().reshape(pictures.shape)


def animate(pipe: MagicAnimatePipeline, held: HeldOut) -> tuple[np.ndarray, int]:
    """Frames [N,1,H,W,3] uint8 as `animate` makes them from pictures and part maps, and how many it refused; there the
    reference stands for the frame."""
    frames, refused = [], 0
    for reference, parts_FHW in zip(held.references, held.parts, strict=True):
        motion = as_motion(clip_of_frames(PALETTE_25[parts_FHW], 25.0), AnimateSettings())
        try:
            frames.append(pipe(reference, motion, align="none", seed=1).frames[:1])
        except InputError:
            frames.append(reference[None])
            refused += 1
    return np.stack(frames), refused


def write_clips(path: Path, held: HeldOut, results: np.ndarray, people: int = 6, columns: int = 6) -> None:
    """Write two rows per person: reference and frames of the motion; the true last frame and frames of the result."""
    pick = np.linspace(0, results.shape[1] - 1, columns).round().astype(int)
    rows = []
    for i in range(min(people, len(results))):
        rows.append(np.concatenate([held.references[i], *PALETTE_25[held.parts[i, pick]]], 1))
        rows.append(np.concatenate([held.targets[i, -1], *results[i, pick]], 1))
    Image.fromarray(np.concatenate(rows)).save(path)


def mean_dtssd(frames: np.ndarray, held: HeldOut) -> float:
    return float(np.mean([dtssd(f, t).mean() for f, t in zip(frames, held.targets, strict=True)]))


def mean_flicker(frames: np.ndarray, held: HeldOut) -> float:
    return float(np.nanmean([flicker(f, p) for f, p in zip(frames, held.parts, strict=True)]))


def moving_figures(frames: np.ndarray, held: HeldOut) -> dict[str, float]:
    """Return the figures of single frames, and of changes between them."""
    return figures(frames, held) | {"dtssd": mean_dtssd(frames, held), "flicker": mean_flicker(frames, held)}


def measure(
    model: Model,
    people: int,
    clips: int,
    settings: SampleSettings,
    out: Path,
    trained_on: int | None = None,
    trained_frames: int = 3,
    rich: bool = False,
) -> dict[str, dict[str, float]]:
    """Measure all conditions; sheets go to `out`. trained_frames: of each person in the training data."""
    size = model.config.resolution[0]
    still = still_people(people, size, rich=rich)
    swapped = np.roll(np.arange(people), 1)
    result: dict[str, dict[str, float]] = {}

    def record(name: str, values: dict[str, float]) -> None:
        result[name] = values
        print(f"{name:28s} " + "  ".join(f"{key} {value:.3f}" for key, value in values.items()), flush=True)

    record("copy the reference", figures(still.references[:, None], still))
    record("VAE ceiling", figures(reconstruct(model, still.targets), still))
    ours = generate(model, still, settings)
    record("ours", figures(ours, still))
    write_grid(out / "still.png", still, ours, columns=12)
    if model.detail is not None:
        record("without detail", figures(generate(replace(model, detail=None), still, settings), still))
    if trained_on is not None:
        known = still_people(people, size, "train", trained_on, trained_frames, rich)
        record("trained on: copy", figures(known.references[:, None], known))
        record("trained on: ours", figures(generate(model, known, settings), known))
    other_person = replace(still, references=still.references[swapped], reference_parts=still.reference_parts[swapped])
    record("control: swapped reference", figures(generate(model, other_person, settings), still))
    other_motion = replace(still, parts=still.parts[swapped])
    record("control: swapped motion", figures(generate(model, other_motion, settings), still))
    if clips:
        moving = moving_people(clips, size)
        still_frames = np.repeat(moving.references[:, None], moving.targets.shape[1], 1)
        record("clips, copy the reference", moving_figures(still_frames, moving))
        record("clips, VAE ceiling", moving_figures(reconstruct(model, moving.targets), moving))
        own_noise = with_noise(model, "independent")
        for noise, chosen in (("", model), (", own noise for each frame", own_noise)):
            for temporal in (True, False) if model.denoiser.has_motion_modules else (False,):
                frames = generate(chosen, moving, replace(settings, temporal=temporal), batch=1)
                if chosen is model:
                    write_clips(out / "clips.png", moving, frames)
                record(f"clips, temporal layers {'on' if temporal else 'off'}{noise}", moving_figures(frames, moving))
        record("clips, truth", {"flicker": mean_flicker(moving.targets, moving)})
    return result


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="name or folder")
    parser.add_argument("--people", type=int, default=48)
    parser.add_argument("--clips", type=int, default=8, help="clips of 16 frames for the flicker figures (0: none)")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--trained-on", type=int, metavar="SEED", help="also people of the training split from here on")
    parser.add_argument("--trained-frames", type=int, default=3, help="of each person in the training data")
    parser.add_argument("--rich", action="store_true", help="people with accessories, folds and prints")
    parser.add_argument("--out", type=Path, default=Path("results/quality"))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--animate", action="store_true", help="people through the whole pipeline")
    parser.add_argument("--size", type=int, default=256, help="of the people for --animate")
    arguments = parser.parse_args(given)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.animate:
        pipe = MagicAnimatePipeline.from_pretrained(arguments.model)
        held = still_people(arguments.people, arguments.size, rich=arguments.rich)
        frames, refused = animate(pipe, held)
        result = {"copy the reference": figures(held.references[:, None], held), "animate": figures(frames, held)}
        for name, row in result.items():
            print(f"{name:28s} " + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
        write_grid(arguments.out / "animate.png", held, frames, columns=12)
        about = {
            "model": pipe.description.config.name,
            "size": arguments.size,
            "people": arguments.people,
            "refused": refused,
        }
        (arguments.out / "animate.json").write_text(json.dumps({"about": about, "figures": result}, indent=1))
        return
    model = load_model(arguments.model).to(select_device(arguments.device))
    chosen = {k: v for k, v in {"steps": arguments.steps, "guidance": arguments.guidance}.items() if v is not None}
    settings = SampleSettings.for_model(model, **chosen)
    began = time.perf_counter()
    result = measure(
        model, arguments.people, arguments.clips, settings, arguments.out, arguments.trained_on,
        arguments.trained_frames, arguments.rich,
    )  # fmt: skip
    ours, copy = result["ours"], result["copy the reference"]
    print(f"above copying: {ours['psnr'] - copy['psnr']:+.2f} dB, body {ours['body_psnr'] - copy['body_psnr']:+.2f} dB")
    about = {
        "model": model.config.name, "version": model.config.version, "size": model.config.resolution[0],
        "people": arguments.people, "clips": arguments.clips, "steps": settings.steps, "guidance": settings.guidance,
        "rich": arguments.rich,
        "torch": torch.__version__, "machine": platform.machine(), "device": model.device.type,
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
    (arguments.out / "quality.json").write_text(json.dumps({"about": about, "figures": result}, indent=1))


if __name__ == "__main__":
    main()
