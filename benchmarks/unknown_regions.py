"""Temporal layers where a drawing knows nothing: what it completed, guessed, or filled in has to stay what it is.

    python benchmarks/unknown_regions.py runs/tiny/unknown/model --out results/unknown
    python benchmarks/unknown_regions.py runs/tiny/unknown/model --real FOLDER --out results/unknown

The networks make generated clips of held-out people with the model's temporal layers and without, from the same noise;
with --real also the clips of `real_clips.py`, each from its own first frame, by `--no-detail` and as the drawing
itself. Inside unknown regions and elsewhere: PSNR, dtSSD, warping error along the true flow, and flicker, the mean
change in gray levels of pixels that stay what they are in the true clip. Prints means, and differences of with and
without with 95% intervals over clips; writes JSON and, of each source, a sheet of frame-to-frame changes (times 4;
rows: unknown regions, truth, with, without, and for real clips the drawing).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import numpy as np  # noqa: E402
from benchmarks.quality import moving_people  # noqa: E402
from benchmarks.real_clips import FRAMES, RealClip, chosen_clips, read_clip, to_size  # noqa: E402
from benchmarks.synthdance import changes  # noqa: E402
from PIL import Image  # noqa: E402

from magicanimate import MagicAnimatePipeline  # noqa: E402
from magicanimate.animation.inputs import as_motion  # noqa: E402
from magicanimate.animation.settings import AnimateSettings  # noqa: E402
from magicanimate.evaluate.basic import psnr  # noqa: E402
from magicanimate.evaluate.intervals import bootstrap, resample_counts  # noqa: E402
from magicanimate.evaluate.temporal import dtssd, warping_errors  # noqa: E402
from magicanimate.media import clip_of_frames  # noqa: E402
from magicanimate.models.model import Model, load_model  # noqa: E402
from magicanimate.person.scene import COMPLETED, FILLED, GUESSED  # noqa: E402
from magicanimate.sampling.settings import SampleSettings  # noqa: E402
from magicanimate.train.model_surgery import with_noise, without_motion_modules  # noqa: E402
from magicanimate.train.preview import HeldOut, generate, known_shares  # noqa: E402

STILL = 2  # gray levels that a pixel of the true clip may change between frames
SEED, RESAMPLES = 0, 2000
KINDS = ("with", "without")
SHOWN = 6  # columns of a sheet


@dataclass(frozen=True)
class Made:
    """One clip: what it should be, which pixels no drawing knows, and frames of each kind. All [F, H, W(, 3)]."""

    truth: np.ndarray
    unknown: np.ndarray
    frames: dict[str, np.ndarray]


def flicker(frames_FHWC: np.ndarray, truth_FHWC: np.ndarray, where_FHW: np.ndarray) -> float:
    """Return the mean absolute change between frames, in gray levels, where the truth stays what it is."""
    still = np.abs(np.diff(truth_FHWC.astype(np.int16), axis=0)).max(-1) <= STILL
    chosen = still & where_FHW[1:] & where_FHW[:-1]
    return float(np.abs(np.diff(frames_FHWC.astype(np.int16), axis=0))[chosen].mean()) if chosen.any() else float("nan")


def figures(frames_FHWC: np.ndarray, truth_FHWC: np.ndarray, where_FHW: np.ndarray) -> dict[str, float]:
    """Return the figures of one clip inside a region."""
    each = [psnr(*pair) for pair in zip(frames_FHWC, truth_FHWC, where_FHW, strict=True) if pair[2].any()]
    return {
        "psnr": float(np.mean(each)) if each else float("nan"),
        "dtssd": float(np.nanmean(dtssd(frames_FHWC, truth_FHWC, where_FHW))),
        "warping_error": float(np.nanmean(warping_errors(frames_FHWC, truth_FHWC, where_FHW)[0])),
        "flicker": flicker(frames_FHWC, truth_FHWC, where_FHW),
    }


def generated(model: Model, bare: Model, count: int) -> Iterator[Made]:
    """Yield generated clips of held-out people, as the networks make them."""
    held = moving_people(count, model.config.resolution[0])
    stride = model.config.control_stride
    unknown = (known_shares(held, stride) < 0.5).repeat(stride, -2).repeat(stride, -1)
    both = [sampled(one, held) for one in (model, bare)]
    for truth, where, *frames in zip(held.targets, unknown, *both, strict=True):
        yield Made(truth, where, dict(zip(KINDS, frames, strict=True)))


def sampled(model: Model, held: HeldOut) -> np.ndarray:
    return generate(model, held, SampleSettings.for_model(model), seed=SEED, batch=1)


def real(pipe: MagicAnimatePipeline, bare: MagicAnimatePipeline, clip: RealClip) -> Made:
    """Return a real clip, made from its own first frame by both."""
    motion = as_motion(clip_of_frames(clip.frames_FHWC, clip.fps), AnimateSettings())
    job = pipe.prepare(clip.frames_FHWC[0], motion, AnimateSettings(detail=False, seed=SEED))
    if job.scene is None:
        raise SystemExit(f"The person in {clip.name} cannot be drawn.")
    size, frames = clip.truth_FHWC.shape[1:3], min(len(job), len(clip.truth_FHWC))
    drawn = [job.scene(index) for index in range(frames)]
    kinds = [np.asarray(Image.fromarray(one.kind_HW).resize(size[::-1], Image.Resampling.NEAREST)) for one in drawn]
    made = {kind: list(one.frames(job))[:frames] for kind, one in zip(KINDS, (pipe, bare), strict=True)}
    made["drawing"] = [one.frame_HWC for one in drawn]
    unknown_FHW = np.isin(np.stack(kinds), (COMPLETED, GUESSED, FILLED))
    return Made(clip.truth_FHWC[1:frames], unknown_FHW[1:], {kind: to_size(x[1:], size) for kind, x in made.items()})


def compared(clips: list[Made]) -> dict[str, dict[str, dict[str, float]]]:
    """Return region -> figure -> means, difference, and its interval."""
    counts = resample_counts([str(number) for number in range(len(clips))], RESAMPLES, SEED)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for region in ("unknown", "elsewhere"):
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in clips[0].frames}
        for one in clips:
            where_FHW = one.unknown if region == "unknown" else ~one.unknown
            for kind, frames in one.frames.items():
                found[kind].append(figures(frames, one.truth, where_FHW))
        result[region] = {}
        for name in found["with"][0]:
            values = {kind: np.array([row[name] for row in rows]) for kind, rows in found.items()}
            low, high = bootstrap(values["with"] - values["without"], np.ones(len(clips)), counts) or (np.nan, np.nan)
            means = {kind: float(np.nanmean(value)) for kind, value in values.items()}
            change = means["with"] / means["without"] - 1
            result[region][name] = means | {"change": change, "low": low, "high": high}
            text = "  ".join(f"{kind} {mean:.4f}" for kind, mean in means.items())
            print(f"  {region:9s} {name:13s} {text}  [{low:+.4f}, {high:+.4f}]  {change:+.1%}", flush=True)
    return result


def write_changes(clip: Made, path: Path) -> None:
    """Write the frame-to-frame changes of one clip, times 4."""
    rows = [np.repeat(clip.unknown[1:, ..., None] * np.uint8(255), 3, -1)]
    rows += [changes(frames) for frames in (clip.truth, *clip.frames.values())]
    pick = np.linspace(0, len(rows[0]) - 1, SHOWN).round().astype(int)
    Image.fromarray(np.concatenate([np.concatenate(list(row[pick]), 1) for row in rows])).save(path)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name or folder of a model with temporal layers that is shown the drawing")
    parser.add_argument("--clips", type=int, default=24, help="generated ones")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="videos of one person each")
    parser.add_argument("--noise", choices=["static", "independent"], help="default: the model's own")
    parser.add_argument("--out", type=Path, default=Path("results/unknown"))
    arguments = parser.parse_args(given)
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = load_model(arguments.model)
    model = with_noise(model, arguments.noise or model.config.noise)
    bare = without_motion_modules(model)
    sources = {"generated": list(generated(model, bare, arguments.clips))}
    if arguments.real:
        pipes = [MagicAnimatePipeline(one) for one in (model, bare)]
        side, chosen = model.config.resolution[0], chosen_clips(arguments.real, None)
        clips = (read_clip(path, step, FRAMES, side) for path, step in chosen)
        sources["real"] = [real(*pipes, clip) for clip in clips]
    report = {}
    for name, clips in sources.items():
        share = np.mean([one.unknown.mean() for one in clips])
        print(f"{name}: {len(clips)} clips, {share:.1%} of their pixels unknown", flush=True)
        report[name] = {"clips": len(clips), "unknown": float(share)} | compared(clips)
        write_changes(clips[0], arguments.out / f"{name}.png")
    (arguments.out / "unknown.json").write_text(json.dumps({"noise": model.config.noise} | report, indent=1))


if __name__ == "__main__":
    main()
