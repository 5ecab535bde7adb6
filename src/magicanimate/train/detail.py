"""Stage detail: the network that mends drawings, trained on drawn people and what a finished model makes of them.

Training people are drawn once, as photographs are (train/drawings.py), and the model's own frames of them made once
(`samples.npy`), both in the run's folder. Then random crops are shown beside the true frames, so that the network
learns where a drawing is wrong, and what belongs there.

Legend: B samples, H W pixels of a crop.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.files import atomic_path
from magicanimate.models.model import Model
from magicanimate.networks.detail import (
    CHANNELS,
    PATCH,
    Inputs,
    granularity,
    mend,
    new_detail,
    patch_of,
    see,
    sizes_of,
)
from magicanimate.networks.gan import PatchDiscriminator
from magicanimate.networks.pixels import parts_to_planes
from magicanimate.parts.densepose import HEAD
from magicanimate.person.scene import DrawnFrame
from magicanimate.sampling.settings import SampleSettings
from magicanimate.synth.dataset import Dataset
from magicanimate.train.batches import Prefetched, moved
from magicanimate.train.drawings import Drawings
from magicanimate.train.gan import adversarial_terms
from magicanimate.train.preview import HeldOut, Preview, generate

_ELSEWHERE = 0.05  # weight of pixels that the network cannot change, which keep the weights' scale
_HEAD = 15.0  # extra weight of heads in the discriminator's judgment: small, and what people look at
_DRIFT = 0.12  # spread of the colors' errors in frames that are made worse
_TOGETHER = 8  # clips that the model is run on at once
_EDGES = 0.5  # weight of differences between neighboring pixels
_JUDGED = 4  # the discriminator's space-to-depth factor
_ALIKE = 7  # side of the squares that are compared to find out where the truth is most like a frame


class DetailSettings(BaseModel):
    """Sizes of the detail network, and what it learns from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int | None = Field(
        None, ge=1, description="its space-to-depth factor; where the model has a network of another size, a fresh one"
    )
    channels: tuple[int, ...] | None = Field(None, description="of its levels, the coarsest last; likewise")
    clips: int = Field(600, ge=1, description="clips of the data that the model is run on")
    crop: int = Field(128, ge=16, description="side of the random crops in pixels")
    wrong_frame: float = Field(
        0.0, ge=0, le=1, description="share of samples whose decoded frame is made worse, as it is for photographs"
    )
    adversarial: float = Field(0.0, ge=0, description="weight of a discriminator's judgement: sharper, less exact")
    tolerance: int = Field(
        0, ge=0, description="pixels by which what is on a body may be off its place at no cost: sharper, less exact"
    )


def initial_network(own: UNet2DModel | None, settings: DetailSettings) -> UNet2DModel:
    """Return the model's own network, or a fresh one where it has none or the settings name other sizes."""
    if own is not None and settings.patch in (None, patch_of(own)) and settings.channels in (None, sizes_of(own)):
        return own
    return new_detail(settings.patch or PATCH, settings.channels or CHANNELS)


def make_samples(
    model: Model, data: Dataset, clips: int, sampling: SampleSettings, path: Path, tick: Callable[[int], None]
) -> None:
    """Write the model's frames 1.. of the first clips, npy [N,F-1,H,W,3] uint8, unless they are there."""
    if path.exists():
        return
    settings = data.settings
    shape = (clips, settings.frames - 1, settings.size, settings.size, 3)
    with atomic_path(path) as temporary:
        samples = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        for start in range(0, clips, _TOGETHER):
            some = range(start, min(start + _TOGETHER, clips))
            shown = HeldOut.of_clips(
                np.stack([data.rgb(i) for i in some]),
                np.stack([data.parts(i) for i in some]),
                np.stack([data.own(i)[0] for i in some]),
            )
            samples[start : some.stop] = generate(model, shown, sampling, seed=start)
            tick(some.stop)
        samples.flush()


class Crops(NamedTuple):
    """A batch: true frames [B,3,H,W], part maps [B,H,W], and the network's `Inputs`."""

    truth: Tensor
    parts: Tensor
    planes: Tensor
    decoded: Tensor
    drawn: Tensor
    unsure: Tensor


class DetailStage(Prefetched):
    """Loss and sample grid of the detail network; the loop does the rest."""

    def __init__(
        self,
        model: Model,
        data: Dataset,
        samples: np.ndarray,
        drawings: Drawings,
        settings: DetailSettings,
        held: HeldOut,
        sampling: SampleSettings,
        device: torch.device,
    ) -> None:
        network = initial_network(model.detail, settings).to(device).requires_grad_(True)
        crop = min(settings.crop, data.settings.size)
        side = math.lcm(granularity(network), _JUDGED)
        if crop % side:
            raise InputError(f"detail.crop must be a multiple of {side}.")
        self._crop, self._settings = crop, settings
        self.modules: dict[str, nn.Module] = {"detail": network}
        if settings.adversarial:
            self.modules["discriminator"] = PatchDiscriminator(_JUDGED).to(device)
        self.model = replace(model, detail=network)
        self._network, self._data, self._samples, self._device = network, data, samples, device
        self._drawings, self._found = drawings, np.flatnonzero(drawings.found)
        if not len(self._found):
            raise InputError("No person was found in the training clips; make them larger or better lit.")
        self._preview = Preview(self.model, held, sampling)

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(f"{name}.{key}", p) for name, module in self.modules.items() for key, p in module.named_parameters()]

    def draw(self, rng: np.random.Generator, batch: int) -> Crops:
        crops = [self._crop_of(rng) for _ in range(batch)]
        return Crops(*(torch.stack(column) for column in zip(*crops, strict=True)))

    def loss_of(self, drawn: Crops, generator: torch.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        truth, parts, *seen_by_network = moved(drawn, self._device)
        inputs = Inputs(*seen_by_network)
        output = mend(self._network, inputs)
        body = (parts > 0)[:, None]
        weight = inputs.unsure_N1HW + _ELSEWHERE
        weight = weight / weight.mean()
        error = output - nearest_truth(output, truth, body, self._settings.tolerance)
        edges = [error.diff(dim=axis).abs() * weight.narrow(axis, 1, weight.shape[axis] - 1) for axis in (2, 3)]
        pixels = (weight * error.square()).mean()
        loss = (weight * error.abs()).mean() + 4 * pixels + _EDGES * sum(edge.mean() for edge in edges)
        gained = ((inputs.drawn_N3HW - truth).abs() - (output.detach() - truth).abs()) * weight
        figures: dict[str, float | Tensor] = {"gained": 255 * gained.mean()}
        if not self._settings.adversarial:
            return loss, figures
        judge = self.modules["discriminator"]
        assert isinstance(judge, PatchDiscriminator)
        looked_at = 1.0 + _HEAD * (parts[:, None] >= HEAD[0])
        judged, hinge = adversarial_terms(judge, output, truth, parts_to_planes(parts, judge.patch), looked_at)
        return loss + self._settings.adversarial * judged + hinge, figures | {"discriminator": hinge.detach()}

    def _crop_of(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return one crop, without the batch axis, in the order of `Crops`."""
        clip, frame = int(rng.choice(self._found)), int(rng.integers(self._samples.shape[1]))
        rgb, maps, drawn = self._data.rgb(clip), self._data.parts(clip), self._drawings.frame(clip, frame)
        rows, columns = _window(drawn, self._crop, rng)
        piece = DrawnFrame(drawn.frame_HWC[rows, columns], drawn.alpha_HW[rows, columns], drawn.kind_HW[rows, columns])
        decoded = self._samples[clip, frame][rows, columns]
        if rng.random() < self._settings.wrong_frame:
            decoded = _made_worse(decoded, rng)
        truth = torch.from_numpy(rgb[frame + 1][rows, columns].copy()).movedim(-1, 0).float() / 255
        parts = torch.from_numpy(maps[frame + 1][rows, columns].copy())
        return (truth, parts, *(plane[0] for plane in see(piece, decoded)))

    def grid(self, path: Path) -> dict[str, float]:
        return self._preview.write(path)


@torch.no_grad()
def nearest_truth(output_B3HW: Tensor, truth_B3HW: Tensor, body_B1HW: Tensor, tolerance: int) -> Tensor:
    """Return for each body pixel the true one at most `tolerance` rows and columns away whose surroundings are most
    like the output's; for all others, the true one. [B,3,H,W]

    A warp is sharp, but some pixels off in places. Compared pixel by pixel it is worse than a blurred frame, which
    nobody would prefer; compared with this, it is not. Outlines have to be where they are.
    """
    height, width = truth_B3HW.shape[2:]
    around = F.pad(torch.cat([truth_B3HW, body_B1HW.to(truth_B3HW)], 1), (tolerance,) * 4, mode="replicate")
    reach = range(-tolerance, tolerance + 1)
    nearest, least = truth_B3HW, _unlikeness(output_B3HW, truth_B3HW)
    for row, column in itertools.product(reach, reach):
        there = around[:, :, tolerance + row :, tolerance + column :][:, :, :height, :width]
        unlike = _unlikeness(output_B3HW, there[:, :3])
        closer = (unlike < least) & body_B1HW & (there[:, 3:] > 0)
        nearest, least = torch.where(closer, there[:, :3], nearest), torch.where(closer, unlike, least)
    return nearest


def _unlikeness(one_B3HW: Tensor, other_B3HW: Tensor) -> Tensor:
    """Return the mean difference in the square around each pixel. [B,1,H,W]"""
    difference = (one_B3HW - other_B3HW).abs().mean(1, keepdim=True)
    return F.avg_pool2d(difference, _ALIKE, 1, _ALIKE // 2, count_include_pad=False)


def _window(drawn: DrawnFrame, crop: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return a random crop around a pixel that is not the background's."""
    height, width = drawn.kind_HW.shape
    rows, columns = np.nonzero(drawn.alpha_HW)
    at = int(rng.integers(len(rows))) if len(rows) else None
    middle = (height // 2, width // 2) if at is None else (int(rows[at]), int(columns[at]))
    shift = rng.integers(-crop // 3, crop // 3 + 1, 2)
    top, left = np.clip(np.array(middle) + shift - crop // 2, 0, np.array([height, width]) - crop).tolist()
    return slice(top, top + crop), slice(left, left + crop)


def _made_worse(decoded_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur a frame and shift its colors in patches: a model meets people that it has seen nothing like. uint8."""
    picture_CHW = torch.from_numpy(decoded_HWC.copy()).movedim(-1, 0).float() / 255
    coarse = torch.from_numpy(rng.normal(0, _DRIFT, (1, 3, 4, 4))).float()
    size = picture_CHW.shape[1:]
    drift = F.interpolate(coarse, size, mode="bicubic", align_corners=False)[0]
    small = F.avg_pool2d(picture_CHW[None], int(rng.integers(1, 6)))
    blurred = F.interpolate(small, size, mode="bilinear", align_corners=False)[0]
    worse = (blurred + rng.random() * drift).clamp(0, 1)
    return (worse * 255).round().to(torch.uint8).movedim(0, -1).numpy()
