"""The adversarial baseline's training: pixels against the truth, and a discriminator that learns beside it.

One loss for both: the generator's terms see the discriminator's weights as constants, and the discriminator sees the
generator's pictures as data, so that each gets its own gradient only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.func import functional_call

from magicanimate.networks.gan import PatchDiscriminator, animate, draw, patch_of
from magicanimate.networks.pixels import parts_to_planes
from magicanimate.synth.dataset import Dataset
from magicanimate.train.preview import HeldOut, figures, write_grid

PIXEL_WEIGHT = 20.0
PERSON_WEIGHT = 2.0  # extra weight of the person's pixels, as for the VAE


@dataclass(frozen=True)
class Pairs:
    """Reference and target of the same person. pictures [B,3,H,W] in [0,1], part maps [B,H,W] uint8."""

    reference: Tensor
    reference_parts: Tensor
    target: Tensor
    parts: Tensor


def random_pairs(data: Dataset, rng: np.random.Generator, count: int, device: torch.device) -> Pairs:
    """Return two different frames of each of `count` clips."""
    pictures, maps = [], []
    for clip in rng.integers(len(data), size=count):
        frames = rng.permutation(data.settings.frames)[:2]
        pictures.append(data.rgb(int(clip))[frames])
        maps.append(data.parts(int(clip))[frames])
    rgb = torch.from_numpy(np.stack(pictures)).permute(1, 0, 4, 2, 3).to(device).float() / 255
    parts = torch.from_numpy(np.stack(maps)).transpose(0, 1).to(device)
    return Pairs(rgb[0], parts[0], rgb[1], parts[1])


def adversarial_terms(
    discriminator: PatchDiscriminator,
    output_BCHW: Tensor,
    target_BCHW: Tensor,
    planes_BPhw: Tensor,
    weight_B1HW: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the losses of generator and discriminator; neither reaches the other's weights.

    weight: of each pixel in the generator's term; alike by default.
    """
    frozen = {name: p.detach() for name, p in discriminator.named_parameters()}
    scores = functional_call(discriminator, frozen, (output_BCHW, planes_BPhw))
    if weight_B1HW is not None:
        weight = F.adaptive_avg_pool2d(weight_B1HW, scores.shape[-2:])
        scores = scores * weight / weight.mean()
    judged = -scores.mean()
    real, fake = discriminator(target_BCHW, planes_BPhw), discriminator(output_BCHW.detach(), planes_BPhw)
    return judged, (1 - real).relu().mean() + (1 + fake).relu().mean()


class GanStage:
    """Loss and sample grid of generator and discriminator; the loop does the rest."""

    def __init__(
        self,
        generator: UNet2DModel,
        data: Dataset,
        held: HeldOut,
        reference_parts_NHW: np.ndarray,
        adversarial: float,
        device: torch.device,
    ) -> None:
        """adversarial: weight of the discriminator's judgment against the pixels'."""
        discriminator = PatchDiscriminator(patch_of(generator)).to(device)
        self.modules: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        self._generator, self._discriminator = generator, discriminator
        self._data, self._held, self._reference_parts = data, held, reference_parts_NHW
        self._adversarial, self._device = adversarial, device

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(f"{name}.{key}", p) for name, module in self.modules.items() for key, p in module.named_parameters()]

    def loss(self, rng: np.random.Generator, generator: torch.Generator, batch: int) -> tuple[Tensor, dict[str, float]]:
        pairs = random_pairs(self._data, rng, batch, self._device)
        output = draw(self._generator, pairs.reference, pairs.reference_parts, pairs.parts)
        planes = parts_to_planes(pairs.parts, patch_of(self._generator))
        weight = 1 + PERSON_WEIGHT * (pairs.parts > 0)[:, None]
        pixels = (weight / weight.mean() * (output - pairs.target).abs()).mean()
        judged, hinge = adversarial_terms(self._discriminator, output, pairs.target, planes)
        loss = PIXEL_WEIGHT * pixels + self._adversarial * judged + hinge
        return loss, {"pixels": float(pixels.detach()), "discriminator": float(hinge.detach())}

    def grid(self, path: Path) -> dict[str, float]:
        held = self._held
        self._generator.eval()
        results = np.stack(
            [
                animate(self._generator, *person)
                for person in zip(held.references, self._reference_parts, held.parts, strict=True)
            ]
        )
        self._generator.train()
        write_grid(path, held, results)
        return figures(results, held)
