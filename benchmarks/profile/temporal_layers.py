"""Temporal layers in single steps of denoising: how much of the noise do they average away?

    python benchmarks/profile/temporal_layers.py runs/study/published_temporal/model --data data/study/clips_test

Noise of its own is added to each frame of true clips. Printed is, with and without temporal layers, the mean square of
what the predicted clean latents are off by, and of how much that changes from frame to frame; apart for cells that stay
the same in the whole clip, where only noise differs between frames, and for all others.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from magicanimate.conditions.planes import control_planes  # noqa: E402
from magicanimate.models.model import Model, load_model  # noqa: E402
from magicanimate.networks.vae import encode_images  # noqa: E402
from magicanimate.sampling.solvers import build_solver  # noqa: E402
from magicanimate.synth.dataset import open_dataset  # noqa: E402
from magicanimate.train.forward import predict_noisy  # noqa: E402
from magicanimate.train.preview import held_out  # noqa: E402

STEPS = (850, 700, 500, 300, 150, 50)
STILL = 0.02  # largest mean square of a cell's change between frames, of latents of variance 1


def encoded(model: Model, pictures_NHWC: Tensor) -> Tensor:
    """Return latents `[N, c, h, w]` of uint8 pictures."""
    return encode_images(model.vae, pictures_NHWC.movedim(-1, 1).float() / 255, model.config.patch)


@torch.no_grad()
def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model with temporal layers that is shown no warped picture")
    parser.add_argument("--data", type=Path, required=True, help="clips (magicanimate synth)")
    parser.add_argument("--clips", type=int, default=8)
    arguments = parser.parse_args(given)
    model, frames = load_model(arguments.model), slice(1, 17)
    held = held_out(open_dataset(arguments.data), arguments.clips, frames)
    clean = torch.stack([encoded(model, torch.from_numpy(clip.copy())) for clip in held.targets]).transpose(1, 2)
    reference = encoded(model, torch.from_numpy(held.references.copy()))
    parts = torch.from_numpy(held.parts.copy()).flatten(0, 1)
    planes = control_planes(parts, model.config.control_encoding, model.config.control_stride)
    still = (clean.diff(dim=2).square().mean(1).amax(1) < STILL)[:, None, None].expand_as(clean)
    print(f"{still.float().mean():.0%} of the cells stay the same; with temporal layers / without")
    solver = build_solver(model.config.scheduler, "ddim")
    solver.set_timesteps(solver.config["num_train_timesteps"])
    for step in STEPS:
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(step))
        time, texts = torch.full((len(clean),), step), []
        noisy = solver.add_noise(clean, noise, time)
        predicted = [predict_noisy(model, noisy, time, reference, planes, temporal) for temporal in (True, False)]
        errors = [solver.step(one, step, noisy).pred_original_sample - clean for one in predicted]
        for name, cells in (("still", still), ("others", ~still)):
            off = " / ".join(f"{error[cells].square().mean():.4f}" for error in errors)
            change = " / ".join(f"{error.diff(dim=2)[cells[:, :, 1:]].square().mean():.4f}" for error in errors)
            texts.append(f"{name}: error {off}, its change {change}")
        print(f"step {step}: {'; '.join(texts)}", flush=True)


if __name__ == "__main__":
    main()
