"""Sample grids and figures on held-out people, while training and after it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from magicanimate.conditions.planes import control_planes
from magicanimate.evaluate.basic import part_accuracy, part_errors, psnr
from magicanimate.models.config import ControlKind
from magicanimate.models.model import Model
from magicanimate.networks.vae import decode_latents, encode_images, initial_noise
from magicanimate.parts.densepose import PALETTE_25
from magicanimate.sampling.loop import sample
from magicanimate.sampling.settings import SampleSettings
from magicanimate.synth.dataset import Dataset
from magicanimate.train.warps import small_parts, small_picture, warp_planes


@dataclass(frozen=True)
class HeldOut:
    """References, part maps and true pictures of N held-out clips with F frames each; uint8."""

    references: np.ndarray  # [N,H,W,3]
    parts: np.ndarray  # [N,F,H,W]
    targets: np.ndarray  # [N,F,H,W,3]
    reference_parts: np.ndarray | None = None  # own maps [N,H,W], for models that are shown the warped picture
    control: np.ndarray | None = None  # frames of another kind of control, [N,F,H,W] or [N,F,H,W,3]; None: parts

    @classmethod
    def of_clips(cls, rgb_NFHWC: np.ndarray, parts_NFHW: np.ndarray, own_NHW: np.ndarray | None = None) -> "HeldOut":
        """Clips whose frame 0 is the reference, and all others are targets. own: the references' maps (parts)."""
        own = parts_NFHW[:, 0] if own_NHW is None else own_NHW
        return cls(rgb_NFHWC[:, 0], parts_NFHW[:, 1:], rgb_NFHWC[:, 1:], own)

    @property
    def shown(self) -> np.ndarray:
        """Control frames as the model gets them."""
        return self.parts if self.control is None else self.control


def held_out(data: Dataset, count: int, frames: slice = slice(1, 2), control: ControlKind = "densepose") -> HeldOut:
    """Return the first `count` clips: frame 0 is the reference, `frames` are the targets."""
    clips = range(min(count, len(data)))
    return HeldOut(
        np.stack([data.rgb(i)[0] for i in clips]),
        np.stack([data.parts(i)[frames] for i in clips]),
        np.stack([data.rgb(i)[frames] for i in clips]),
        np.stack([data.own(i)[0] for i in clips]),
        None if control == "densepose" else np.stack([data.control(control, i)[frames] for i in clips]),
    )


def _to_tensor(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(pictures)).movedim(-1, -3).float() / 255


def pictures_at_once(height: int, width: int) -> int:
    """Return the pictures of H x W pixels per call of the VAE: large ones singly, beside networks in training."""
    return max(1, 16 * 128**2 // (height * width))


@torch.no_grad()
def generate(model: Model, held: HeldOut, settings: SampleSettings, seed: int = 0, batch: int = 8) -> np.ndarray:
    """Sample decoded frames [N,F,H,W,3] uint8, without detail. Clip i has the noise of seed + i at any batch size."""
    patch, out = model.config.patch, []
    for start in range(0, len(held.references), batch):
        shown = slice(start, start + batch)
        parts = torch.from_numpy(held.shown[shown].copy())
        pictures = _to_tensor(held.references[shown])
        at_once = pictures_at_once(*pictures.shape[-2:])
        reference = torch.cat(
            [encode_images(model.vae, chunk.to(model.device), patch) for chunk in pictures.split(at_once)]
        )
        noise = torch.cat(
            [
                initial_noise(seed + start + i, parts.shape[1], tuple(reference.shape[1:]), model.config.noise)
                for i in range(len(parts))
            ]
        )
        flat_parts, encoding = parts.flatten(0, 1), model.config.control_encoding
        planes = control_planes(flat_parts, encoding, model.config.control_stride).unflatten(0, parts.shape[:2])
        if model.config.warp_input:
            planes = torch.cat([planes, _warps(held, shown, model.config.control_stride)], 2)
        latents = sample(model, reference, planes, noise, settings)
        flat = latents.transpose(1, 2).flatten(0, 1).to(model.device)
        pictures = torch.cat([decode_latents(model.decoder, chunk, patch).cpu() for chunk in flat.split(at_once)])
        out.append((pictures * 255).round().byte().movedim(1, -1).unflatten(0, parts.shape[:2]).numpy())
    return np.concatenate(out)


def _warps(held: HeldOut, shown: slice, stride: int) -> Tensor:
    """Return planes [N,F,49,h,w] of some clips."""
    assert held.reference_parts is not None, "this model is shown the warped picture, which takes the reference's parts"
    pictures, own = small_picture(held.references[shown], stride), small_parts(held.reference_parts[shown], stride)
    motions = small_parts(held.parts[shown], stride)
    return torch.stack([warp_planes(*clip) for clip in zip(pictures, own, motions, strict=True)])


def known_shares(held: HeldOut, stride: int) -> np.ndarray:
    """Return how much of each cell the warped picture knows, as models are shown it. [N,F,h,w] in [0, 1]."""
    return _warps(held, slice(None), stride)[:, :, -1].numpy()


def figures(results: np.ndarray, held: HeldOut) -> dict[str, float]:
    """Return means over clips and frames: psnr, body_psnr, part_accuracy, part_error."""
    n, f = results.shape[:2]
    pairs = [(results[i, k], held.targets[i, k], held.parts[i, k]) for i in range(n) for k in range(f)]
    errors = np.concatenate([part_errors(*pair) for pair in pairs])
    return {
        "psnr": float(np.mean([psnr(a, b) for a, b, _ in pairs])),
        "body_psnr": float(np.nanmean([psnr(a, b, parts > 0) for a, b, parts in pairs])),
        "part_accuracy": part_accuracy(errors),
        "part_error": float(errors.mean()),
    }


def write_grid(
    path: Path,
    held: HeldOut,
    results: np.ndarray,
    columns: int = 8,
    frame: int = 0,
    teacher: np.ndarray | None = None,
) -> None:
    """Columns of people; rows: reference, motion, truth, the teacher's result if there is one, result."""
    n = min(columns, len(results))
    more = [] if teacher is None else [teacher[:n, frame]]
    rows = [held.references[:n], PALETTE_25[held.parts[:n, frame]], held.targets[:n, frame], *more, results[:n, frame]]
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(path)


@dataclass(frozen=True)
class Preview:
    """Sample grids and held-out figures that a stage writes at intervals."""

    model: Model
    held: HeldOut
    settings: SampleSettings

    def write(self, path: Path) -> dict[str, float]:
        results = generate(self.model, self.held, self.settings)
        write_grid(path, self.held, results)
        return figures(results, self.held)
