"""Measure the cost and the saving of each approximation against the exact run of the same seed.

    python benchmarks/approximations.py --frames 32 --out results/approximations
    python benchmarks/approximations.py --steps 25 --frames 16 --out results/approximations25

Every row is one `animate` with other settings, compared with the first one frame by frame: PSNR in dB and SSIM (gray,
7x7 windows). Speed-up is in the processor time of the denoising stage. Writes JSON, and a sheet: one row per variant.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from skimage.metrics import structural_similarity  # noqa: E402

from magicanimate.animation.pipeline import MagicAnimatePipeline  # noqa: E402
from magicanimate.animation.settings import make_settings  # noqa: E402

DEMO = ROOT / "src" / "magicanimate" / "assets" / "demo"
FEW: dict[str, dict[str, Any]] = {
    "everything computed": {},
    "no guidance": {"guidance": 1.0},
    "guidance in the first half": {"guidance_interval": (0.0, 0.5)},
    "guidance in the second half": {"guidance_interval": (0.5, 1.0)},
    "guidance difference every 2nd step": {"guidance_every": 2},
    "deep features every 2nd step": {"cache": 2},
    "deep features every 2nd step, 2 layers": {"cache": 2, "cache_layers": 2},
    "one step": {"steps": 1},
    "one step, no guidance": {"steps": 1, "guidance": 1.0},
    "preset fast": {"preset": "fast"},
}
"""Variants for models that take a few steps."""
MANY: dict[str, dict[str, Any]] = {
    "everything computed": {},
    "8 steps of ddim": {"steps": 8},
    "8 steps of dpm++": {"steps": 8, "scheduler": "dpm++"},
    "8 steps of unipc": {"steps": 8, "scheduler": "unipc"},
    "no guidance": {"guidance": 1.0},
    "guidance in the first half": {"guidance_interval": (0.0, 0.5)},
    "guidance in the second half": {"guidance_interval": (0.5, 1.0)},
    "guidance difference every 2nd step": {"guidance_every": 2},
    "guidance difference every 4th step": {"guidance_every": 4},
    "deep features every 2nd step": {"cache": 2},
    "deep features every 3rd step": {"cache": 3},
    "deep features every 3rd step, 2 layers": {"cache": 3, "cache_layers": 2},
    "deep features every 5th step": {"cache": 5},
    "features every 3rd, difference every 3rd step": {"cache": 3, "guidance_every": 3},
    "8 steps of dpm++, features and difference every 2nd": {
        "steps": 8, "scheduler": "dpm++", "cache": 2, "guidance_every": 2,
    },
}  # fmt: skip
"""Variants for many steps."""


def main(arguments: list[str] | None = None) -> None:
    """Run all variants, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--image", type=Path, default=DEMO / "picture.png")
    parser.add_argument("--motion", type=Path, default=DEMO / "motion.mp4")
    parser.add_argument("--steps", type=int, help="of the exact run; default: the model's")
    parser.add_argument("--guidance", type=float, help="of the exact run; default: the model's")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--out", type=Path, required=True, help="folder for approximations.json and sheet.jpg")
    chosen = parser.parse_args(arguments)
    pipe = MagicAnimatePipeline.from_pretrained(chosen.model, device=chosen.device, dtype=chosen.dtype)
    base = {"steps": chosen.steps, "guidance": chosen.guidance, "max_frames": chosen.frames, "size": chosen.size}
    base = {name: value for name, value in base.items() if value is not None}
    variants = MANY if (chosen.steps or pipe.description.config.steps) >= 8 else FEW

    rows, pictures = [], []
    for name, changes in variants.items():
        # A preset decides for itself what it takes
        settings = {"max_frames": chosen.frames, "size": chosen.size} if "preset" in changes else base
        frames_FHWC, seconds = animate(pipe, chosen.image, chosen.motion, settings | changes)
        pictures.append(frames_FHWC)
        rows.append({"variant": name, **compared(frames_FHWC, pictures[0]), "denoise_seconds": seconds})
        rows[-1]["speed_up"] = rows[0]["denoise_seconds"] / seconds
        print("{variant:<52} {speed_up:5.2f}x  {psnr:6.2f} dB  SSIM {ssim:.4f}".format(**rows[-1]), flush=True)

    chosen.out.mkdir(parents=True, exist_ok=True)
    about = {
        "model": pipe.description.config.name, "frames": len(pictures[0]), "size": list(pictures[0].shape[1:3]),
        "settings": base, "torch": torch.__version__, "machine": platform.processor() or platform.machine(),
        "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    report = json.dumps({"about": about, "variants": rows}, indent=2) + "\n"
    (chosen.out / "approximations.json").write_text(report, encoding="utf-8")
    columns = np.linspace(0, len(pictures[0]) - 1, 6).astype(int)
    sheet = np.concatenate([np.concatenate(list(frames[columns]), axis=1) for frames in pictures])
    Image.fromarray(sheet).save(chosen.out / "sheet.jpg", quality=85)


def animate(
    pipe: MagicAnimatePipeline, image: Path, motion: Path, settings: dict[str, Any]
) -> tuple[np.ndarray, float]:
    """Frames `[F, H, W, 3]` uint8, and the processor time between the last control and the first decoded frame."""
    moments: dict[str, float] = {}

    def progress(stage: str, done: int, total: int | None) -> None:
        moments[stage] = time.process_time() if pipe.model.device.type == "cpu" else time.perf_counter()

    job = pipe.prepare(image, motion, make_settings(**settings))
    frames_FHWC = np.stack(list(pipe.frames(job, progress)))
    return frames_FHWC, moments["denoise"] - moments["control"]


def compared(frames_FHWC: np.ndarray, exact_FHWC: np.ndarray) -> dict[str, float]:
    """Mean over frames of PSNR (100 for equal frames) and SSIM."""
    pairs = list(zip(frames_FHWC, exact_FHWC, strict=True))
    errors = [np.square(ours.astype(float) - exact).mean() for ours, exact in pairs]
    gray = np.array([0.299, 0.587, 0.114])
    return {
        "psnr": float(np.mean([10 * np.log10(255**2 / error) if error else 100.0 for error in errors])),
        "ssim": float(np.mean([structural_similarity(a @ gray, b @ gray, data_range=255.0) for a, b in pairs])),
    }


if __name__ == "__main__":
    main()
