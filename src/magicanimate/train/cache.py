"""A data set as the diffusion stages read it: latents and control planes, computed once.

Folder: `latents.npy` [N,F,c,h,w] float16, `planes.npy` [N,F,25,H/s,W/s] uint8 (pixels of each part in each cell, of
255), `cache.json` (from what). For models that take part maps as RGB, `planes.npy` are the maps, [N,F,H,W]. Clip order
and frames are the data set's. With several views, N counts every view of every clip: all clips as they are, then all
of them once more for each further view, mirrored or cropped. A view is the same for all frames of a clip, so that a
sample's reference, control and targets always agree.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from magicanimate.conditions.planes import control_planes
from magicanimate.errors import InputError
from magicanimate.files import write_json
from magicanimate.models.config import ControlEncoding, ControlKind
from magicanimate.models.fingerprint import encoder_fingerprint
from magicanimate.networks.vae import encode_images, pixel_factor
from magicanimate.synth.dataset import Dataset
from magicanimate.train.views import ViewSettings, apply_view, clip_view
from magicanimate.train.warps import SmallFrames

_AT_ONCE = 128  # frames, on a GPU


@dataclass(frozen=True)
class LatentCache:
    """Arrays mapped into memory. times: when each frame was taken, in seconds, [clips,F]; clips: without views.

    encoding and stride: of control planes that are made from cached frames; None: they are cached themselves.
    """

    latents: np.ndarray
    planes: np.ndarray
    times: np.ndarray | None = None
    clips: int = 0
    stride: int = 1
    encoding: ControlEncoding | None = None
    small: SmallFrames | None = None
    """Small frames for models that see the drawn picture."""

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def frames(self) -> int:
        return self.latents.shape[1]

    @cached_property
    def first_of_run(self) -> int:
        """The first of the frames that follow each other at one rate: 1 where frame 0 is from elsewhere, else 0."""
        if self.times is None or self.frames < 3:
            return 1
        steps = np.diff(self.times, axis=1)
        return 0 if np.allclose(steps, steps[:, -1:], rtol=0.1) else 1

    def name(self, i: int) -> str:
        """Return the clip's number in the data set, and which view of it."""
        view, clip = divmod(i, self.clips or len(self))
        return f"{clip} (view {view})" if view else f"{clip}"

    def distances(self, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return seconds from each frame of clips [B] to the nearest of the frames [B,K]. [B,F].

        Raises InputError if it is not known when the frames were taken.
        """
        if self.times is None:
            raise InputError("This data set does not say when its frames were taken, which branches.min_gap needs.")
        times = self.times[rows % len(self.times)]
        chosen = np.take_along_axis(times, targets, 1)
        return np.abs(times[:, :, None] - chosen[:, None]).min(-1)

    def take(self, clips: np.ndarray, frames: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return latents [B,c,K,h,w] and planes [B*K,P,h',w'] of frames [B,K] of clips [B]."""
        latents = torch.from_numpy(self.latents[clips[:, None], frames].astype(np.float32)).to(device)
        planes = torch.from_numpy(self.planes[clips[:, None], frames]).to(device).flatten(0, 1)
        made = control_planes(planes, self.encoding, self.stride) if self.encoding else planes.float() / 255
        return latents.transpose(1, 2), made


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Settings of a cache. patch: of the VAE. stride, encoding, control: of the model's control planes."""

    patch: int = 1
    stride: int = 1
    views: ViewSettings = field(default_factory=ViewSettings)
    encoding: ControlEncoding = "parts"
    control: ControlKind = "densepose"


def cache_latents(
    vae: AutoencoderKL,
    data: Dataset,
    folder: Path,
    device: torch.device,
    settings: CacheSettings,
    progress: Callable[[int, int], None] | None = None,
) -> LatentCache:
    """Encode a data set, or map the cache that is already there.

    Raises InputError if that came from another VAE, or if the data has no such control or cannot be mirrored with it.
    """
    if settings.control == "pose" and settings.views.count > 1:
        raise InputError("views.count: a skeleton's colors tell left from right, so it has no mirrored views; use 1.")
    origin = _origin(vae, data, settings)
    note = folder / "cache.json"
    if note.exists():
        if json.loads(note.read_text()) != origin:
            raise InputError(
                f"{folder} was made with another VAE or data set; delete it or choose another cache folder."
            )
    else:
        _write(vae, data, folder, device, settings, progress)
        write_json(note, origin)  # last: marks the cache as complete
    return _open(folder, data, settings.stride, settings.encoding)


def _origin(vae: AutoencoderKL, data: Dataset, settings: CacheSettings) -> dict[str, Any]:
    """Return everything that a cache's content depends on."""
    origin: dict[str, Any] = {"vae": encoder_fingerprint(vae), "clips": len(data), "stride": settings.stride}
    if settings.encoding != "parts":
        origin["control"] = settings.encoding if settings.control == "densepose" else settings.control
    if data.sources:
        origin["sources"] = data.sources
    if settings.views.count > 1:
        origin["views"] = settings.views.model_dump()
    return origin


@torch.no_grad()
def _write(
    vae: AutoencoderKL,
    data: Dataset,
    folder: Path,
    device: torch.device,
    settings: CacheSettings,
    progress: Callable[[int, int], None] | None,
) -> None:
    views, stride, control = settings.views, settings.stride, settings.control
    by_part = settings.encoding == "parts"
    example = data.control(control, 0)
    folder.mkdir(parents=True, exist_ok=True)
    frames, size, rows = data.settings.frames, data.settings.size, len(data) * views.count
    channels, cells = vae.config["latent_channels"], size // pixel_factor(vae.config, settings.patch)
    shape = (rows, frames, channels, cells, cells)
    latents = np.lib.format.open_memmap(folder / "latents.npy", "w+", np.float16, shape)
    cell = (25, size // stride, size // stride) if by_part else example.shape[1:]
    planes = np.lib.format.open_memmap(folder / "planes.npy", "w+", np.uint8, (rows, frames, *cell))
    together = 1 if device.type == "cpu" else max(1, _AT_ONCE // frames)
    for start in range(0, rows, together):
        some = range(start, min(start + together, rows))
        numbered = [divmod(row, len(data)) for row in some]
        viewed = [
            apply_view(clip_view(clip, number, views), data.rgb(clip), data.control(control, clip), control)
            for number, clip in numbered
        ]
        rgb_NHWC, shown = (np.concatenate(column) for column in zip(*viewed, strict=True))
        chosen = slice(some.start, some.stop)
        pixels = torch.from_numpy(rgb_NHWC).to(device).permute(0, 3, 1, 2).float() / 255
        encoded = encode_images(vae, pixels, settings.patch).half().cpu().numpy()
        latents[chosen] = encoded.reshape(len(some), frames, *encoded.shape[1:])
        if by_part:
            shares = control_planes(torch.from_numpy(shown).to(device), "parts", stride)
            shown = (shares * 255).round().byte().cpu().numpy()
        planes[chosen] = shown.reshape(len(some), frames, *shown.shape[1:])
        if progress:
            progress(some.stop, rows)
    latents.flush()
    planes.flush()


def _open(folder: Path, data: Dataset, stride: int, encoding: ControlEncoding) -> LatentCache:
    latents, planes = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("latents", "planes"))
    times = np.stack([data.times(i) for i in range(len(data))])
    return LatentCache(latents, planes, times, len(data), stride, None if encoding == "parts" else encoding)
