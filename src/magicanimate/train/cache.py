"""A data set as the diffusion stages read it: latents and control planes, computed once.

Folder: `latents.npy` [N,F,c,h,w] float16, `planes.npy` [N,F,25,H/s,W/s] uint8 (pixels of each part in each cell, of
255), `cache.json` (from what). Clip order and frames are the data set's.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from magicanimate.control import parts_to_planes
from magicanimate.errors import InputError
from magicanimate.latents import encode_images
from magicanimate.synth.dataset import Dataset


@dataclass(frozen=True)
class LatentCache:
    """Arrays mapped into memory."""

    latents: np.ndarray
    planes: np.ndarray

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def frames(self) -> int:
        return self.latents.shape[1]

    def take(self, clips: np.ndarray, frames: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Latents [B,c,K,h,w] and planes [B*K,25,h',w'] of frames [B,K] of clips [B]."""
        latents = torch.from_numpy(self.latents[clips[:, None], frames].astype(np.float32)).to(device)
        planes = torch.from_numpy(self.planes[clips[:, None], frames]).to(device).float() / 255
        return latents.transpose(1, 2), planes.flatten(0, 1)


def fingerprint(vae: AutoencoderKL) -> str:
    """Short hash of the encoder's weights and scaling: a cache of another VAE must not be used."""
    digest = hashlib.sha256(str(vae.config["scaling_factor"]).encode())
    for name, value in vae.encoder.state_dict().items():
        digest.update(name.encode() + value.double().sum().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@torch.no_grad()
def cache_latents(
    vae: AutoencoderKL,
    patch: int,
    stride: int,
    data: Dataset,
    folder: Path,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> LatentCache:
    """Encode a data set, or map the cache that is already there. Raises InputError if that came from another VAE."""
    origin = {"vae": fingerprint(vae), "clips": len(data), "stride": stride}
    note = folder / "cache.json"
    if note.exists():
        if json.loads(note.read_text()) != origin:
            raise InputError(
                f"{folder} was made with another VAE or data set; delete it or choose another cache folder."
            )
        return _open(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames, size = data.settings.frames, data.settings.size
    channels, cells = vae.config["latent_channels"], size // (patch * 2 ** (len(vae.config["block_out_channels"]) - 1))
    shape = (len(data), frames, channels, cells, cells)
    latents = np.lib.format.open_memmap(folder / "latents.npy", "w+", np.float16, shape)
    shape = (len(data), frames, 25, size // stride, size // stride)
    planes = np.lib.format.open_memmap(folder / "planes.npy", "w+", np.uint8, shape)
    for i in range(len(data)):
        pixels = torch.from_numpy(data.rgb(i).copy()).permute(0, 3, 1, 2).to(device).float() / 255
        latents[i] = encode_images(vae, pixels, patch).half().cpu().numpy()
        parts = torch.from_numpy(data.parts(i).copy()).to(device)
        planes[i] = (parts_to_planes(parts, stride) * 255).round().byte().cpu().numpy()
        if progress:
            progress(i + 1, len(data))
    latents.flush()
    planes.flush()
    temporary = folder / ".cache.part"
    temporary.write_text(json.dumps(origin))
    os.replace(temporary, note)  # last: marks the cache as complete
    return _open(folder)


def _open(folder: Path) -> LatentCache:
    return LatentCache(np.load(folder / "latents.npy", mmap_mode="r"), np.load(folder / "planes.npy", mmap_mode="r"))
