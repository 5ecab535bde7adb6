"""The pipeline: a picture and a motion go in, the animated video comes out. Reads as the table of stages.

Shape legend: B sample, F video frames, C / c image / latent channels, H W pixels, h w latents, P control planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from magicanimate.control import encode_control, parts_to_planes
from magicanimate.errors import InputError
from magicanimate.job import Job, Progress, prepare_job
from magicanimate.latents import decode_latents, encode_images, initial_noise, pixel_factor
from magicanimate.media.video import Video, VideoStream
from magicanimate.motion.signal import Signal
from magicanimate.sampler import SampleSettings, sample
from magicanimate.settings import AnimateSettings, ChosenSettings, make_settings

if TYPE_CHECKING:
    from magicanimate.models import Model

_PLANES_CHUNK = 16
_DECODED_AT_ONCE = 8 * 256 * 256 / 16  # positions before the VAE: 8 frames of 256x256 with a patch of 4


class MagicAnimatePipeline:
    """Animates people with one model. Build it with `from_pretrained`."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path = "tiny", *, device: str = "auto", dtype: str = "auto"
    ) -> MagicAnimatePipeline:
        """Load a model: `tiny` (shipped), `magicanimate` (official), or a model folder.

        Args:
            name_or_path: name or folder.
            device: auto, cpu, cuda, cuda:1, mps.
            dtype: auto, float32, bfloat16, float16.

        Raises:
            InputError: unknown model, missing or damaged files, device that is not there.
        """
        from magicanimate.models import load_model
        from magicanimate.runtime import select_device, select_dtype

        chosen = select_device(device)
        return cls(load_model(name_or_path, select_dtype(dtype, chosen)).to(chosen))

    @property
    def factor(self) -> int:
        """Pixels per latent along each axis: canvas sizes are multiples of it."""
        return pixel_factor(self.model.vae, self.model.config.patch)

    @overload
    def __call__(
        self,
        image: Any,
        motion: Any,
        *,
        stream: Literal[False] = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Video: ...

    @overload
    def __call__(
        self, image: Any, motion: Any, *, stream: Literal[True], progress: Progress | None = None, **settings: Any
    ) -> VideoStream: ...

    def __call__(
        self, image: Any, motion: Any, *, stream: bool = False, progress: Progress | None = None, **settings: Any
    ) -> Video | VideoStream:
        """Animate.

        Args:
            image: path, Pillow image, or `image_HWC` uint8.
            motion: path of a DensePose clip, or `frames_FHWC` uint8 (25 fps unless `fps` says otherwise).
            stream: yield frames as they are decoded instead of collecting them.
            progress: told (stage, done, total); raise in it to cancel.
            settings: see `AnimateSettings`.

        Returns:
            A `Video`, or with `stream` a `VideoStream`.

        Raises:
            InputError: bad input or settings.
        """
        job = self.prepare(image, motion, make_settings(**settings), progress)
        streamed = VideoStream(self.frames(job, progress), len(job), job.fps, job.describe(), job.warnings, job.audio)
        return streamed if stream else streamed.collect()

    def prepare(self, image: Any, motion: Any, settings: AnimateSettings, progress: Progress | None = None) -> Job:
        """Stages 1 and 2: read and check everything, compute nothing yet."""
        return prepare_job(self.model.config, self.factor, image, motion, settings, progress)

    def frames(self, job: Job, progress: Progress | None = None) -> Iterator[np.ndarray]:
        """Stages 3 to 7: yields frames [H, W, 3] uint8 in order, as they are decoded."""
        with _memory_explained():
            signal = job.signal.padded(job.settings.pad_frames)
            planes_FPhw = self._planes(signal)
            ref_Bchw = self._encode(job.image_HWC)
            _, channels, height, width = ref_Bchw.shape
            noise_BcFhw = initial_noise(
                job.settings.seed,
                len(signal),
                (channels, height, width),
                job.settings.noise,
                job.settings.window,
            )
            latents_BcFhw = sample(
                self.model, ref_Bchw, planes_FPhw, noise_BcFhw, _sample_settings(job.settings), progress
            )
            yield from self._decode(latents_BcFhw[:, :, : len(job)], job, progress)

    def _planes(self, signal: Signal) -> Tensor:
        """Control planes `[F, P, H/patch, W/patch]` on the host, made in chunks."""
        config = self.model.config
        planes = []
        for start in range(0, len(signal), _PLANES_CHUNK):
            stop = start + _PLANES_CHUNK
            if config.control_encoding == "parts":
                planes.append(parts_to_planes(torch.from_numpy(signal.parts_FHW[start:stop]), config.control_stride))
            else:
                control_FCHW = torch.from_numpy(signal.rgb(start, stop)).permute(0, 3, 1, 2).float() / 255
                planes.append(encode_control(control_FCHW, config))
        return torch.cat(planes)

    @torch.no_grad()
    def _encode(self, image_HWC: np.ndarray) -> Tensor:
        """Reference latents `[1, c, h, w]`."""
        model = self.model
        image_BCHW = torch.from_numpy(image_HWC.copy()).permute(2, 0, 1)[None].float() / 255
        return encode_images(model.vae, image_BCHW.to(model.device, model.dtype), model.config.patch)

    def _decode(self, latents_BcFhw: Tensor, job: Job, progress: Progress | None) -> Iterator[np.ndarray]:
        """Frames of the visible size, a few at a time so that memory does not grow with the video."""
        patch, total = self.model.config.patch, len(job)
        positions = job.frame.canvas[0] * job.frame.canvas[1] / patch**2
        chunk = job.settings.decode_chunk or max(1, int(_DECODED_AT_ONCE / positions))
        for start in range(0, total, chunk):
            latents_Bchw = latents_BcFhw[0, :, start : start + chunk].transpose(0, 1)
            with torch.no_grad():
                images_BCHW = decode_latents(
                    self.model.vae, latents_Bchw.to(self.model.device, self.model.dtype), patch
                )
            for frame_HWC in job.frame.crop(_to_bytes(images_BCHW, job.settings.truncate)):
                yield np.ascontiguousarray(frame_HWC)
            if progress:
                progress("decode", min(start + chunk, total), total)


def _to_bytes(images_BCHW: Tensor, truncate: bool) -> np.ndarray:
    """[B, C, H, W] in [0, 1] -> [B, H, W, C] uint8."""
    scaled = images_BCHW.float() * 255
    return (scaled if truncate else scaled.round()).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _sample_settings(settings: ChosenSettings) -> SampleSettings:
    values = settings.model_dump(include={"steps", "guidance", "window", "overlap", "fusion", "seed"})
    return SampleSettings(**values, solver=settings.scheduler, wrap=settings.wrap or settings.loop)


@contextmanager
def _memory_explained() -> Iterator[None]:
    """Running out of memory is not a bug but a setting too large."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        told = str(error).lower()
        if isinstance(error, RuntimeError) and "out of memory" not in told and "allocate memory" not in told:
            raise
        raise InputError(
            "There is not enough memory for this video; choose a smaller --size or fewer --max-frames."
        ) from error
