"""Stages 3 to 7 with networks: encode the picture, denoise, decode. Imported only where networks run.

Shape legend: B sample, F video frames, C / c image / latent channels, H W pixels, h w latents, P control planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from magicanimate.animation.job import Job
from magicanimate.animation.settings import ChosenSettings
from magicanimate.conditions.drawings import DrawingPlanes
from magicanimate.conditions.planes import control_planes
from magicanimate.engine.device import to_model
from magicanimate.engine.ranks import Ranks
from magicanimate.files import sha256
from magicanimate.models.fingerprint import model_fingerprint
from magicanimate.models.model import Model
from magicanimate.motion.signal import Signal
from magicanimate.networks.detail import mend_drawing
from magicanimate.networks.vae import decode_latents, encode_images, initial_noise
from magicanimate.progress import Progress
from magicanimate.sampling.checkpoint import Checkpoint
from magicanimate.sampling.control_features import ControlSource
from magicanimate.sampling.loop import sample
from magicanimate.sampling.reuse import FeatureReuse, GuidanceInterval, Policies, Reuse
from magicanimate.sampling.settings import Run, SampleSettings, StepHook
from magicanimate.sampling.video import VideoDenoiser
from magicanimate.sampling.video_solver import VideoSolver

_DECIDING = ("magicanimate", "torch", "settings", "frames", "size")
_DECODED_AT_ONCE = 2 * 256 * 256 / 16  # positions before the VAE: 2 frames of 256x256 with a patch of 4


@dataclass(frozen=True)
class Diffusion:
    """A job's frames, made by the networks of a model.

    ranks: the processes that share the job. sliced: decode frame by frame.
    """

    model: Model
    job: Job
    ranks: Ranks
    sliced: bool = False

    def frames(
        self, progress: Progress | None, resume_folder: Path | None, patience: float, on_step: StepHook | None
    ) -> Iterator[np.ndarray]:
        """Yield frames [H, W, 3] uint8; of several processes only the first one does. See the pipeline's `frames`."""
        job = self.job
        ref_Bchw = self._encode(job.image_HWC)
        _, channels, height, width = ref_Bchw.shape
        signal = job.signal.padded(job.settings.pad_frames)
        shape = (channels, height, width)
        noise_BcFhw = initial_noise(job.settings.seed, len(signal), shape, job.settings.noise, job.settings.window)
        checkpoint = self._checkpoint(resume_folder, patience)
        latents_BcFhw = sample(
            self.model, ref_Bchw, self.control(signal), noise_BcFhw, sample_settings(job.settings),
            Run(progress=progress, ranks=self.ranks, checkpoint=checkpoint, on_step=on_step),
        )  # fmt: skip
        yield from self._decode(latents_BcFhw[:, :, : len(job)], progress)

    def check(self, resume_folder: Path | None) -> None:
        """Raise InputError for everything that `frames` would refuse: solver, windows, processes, finished steps."""
        frames = len(self.job.signal.padded(self.job.settings.pad_frames))
        settings = sample_settings(self.job.settings)
        solver = VideoSolver(self.model.config.scheduler, settings.solver, settings.steps, frames)
        VideoDenoiser(self.model, settings, solver.timesteps, frames, Run(ranks=self.ranks))
        checkpoint = self._checkpoint(resume_folder, 0.0)
        if checkpoint:
            checkpoint.load()

    def _checkpoint(self, folder: Path | None, patience: float) -> Checkpoint | None:
        return Checkpoint(folder, self._about(), patience) if folder and self.ranks.first else None

    def _about(self) -> dict[str, Any]:
        """Return all that decides the frames."""
        job = self.job
        signal = job.signal
        motion = [signal.parts_FHW.tobytes(), *([signal.raw_FHWC.tobytes()] if signal.raw_FHWC else [])]
        described = {name: value for name, value in job.describe().items() if name in _DECIDING}
        return described | {
            "picture": sha256(job.picture_HWC.tobytes())[:16],
            "bodies": [] if job.scene is None else [sha256(body.pose_FP.tobytes())[:16] for body in job.scene.motions],
            "motion": sha256(*motion)[:16],
            "model": model_fingerprint(self.model),
        }

    def control(self, signal: Signal) -> ControlSource:
        """Return control planes `[1, K, P, H/stride, W/stride]`, made when they are asked for."""
        job = self.job
        config, stride = self.model.config, self.model.config.control_stride

        def motion(frames: list[int]) -> Tensor:
            shown = signal.parts_FHW[frames] if config.control_encoding == "parts" else signal.rgb(frames)
            return control_planes(torch.from_numpy(shown), config.control_encoding, stride)

        if not config.warp_input:
            return ControlSource(1, len(signal), lambda frames: motion(frames)[None])
        drawn = DrawingPlanes(job.scene, job.frame, stride)

        def planes(frames: list[int]) -> Tensor:
            return torch.cat([motion(frames), drawn(frames)], 1)[None]

        return ControlSource(1, len(signal), planes)

    @torch.no_grad()
    def _encode(self, image_HWC: np.ndarray) -> Tensor:
        """Encode the reference as latents `[1, c, h, w]`."""
        model = self.model
        image_BCHW = torch.from_numpy(image_HWC.copy()).permute(2, 0, 1)[None].float() / 255
        return encode_images(model.vae, to_model(image_BCHW, model), model.config.patch)

    def _decode(self, latents_BcFhw: Tensor, progress: Progress | None) -> Iterator[np.ndarray]:
        """Yield frames of the visible size, a few at a time so that memory does not grow with the video.

        The processes take the chunks in turn, so that the first one can pass them on in order.
        """
        total, size = len(self.job), self.decode_chunk
        starts = range(0, total, size)
        for turn in range(0, len(starts), self.ranks.size):
            mine = starts[turn + self.ranks.rank : turn + self.ranks.rank + 1]
            decoded = [self.decode_frames(latents_BcFhw, range(start, min(start + size, total))) for start in mine]
            done = turn * size
            for frame_HWC in (frame for chunks in self.ranks.gather(decoded) for chunk in chunks for frame in chunk):
                yield frame_HWC
                done += 1
            if progress:
                progress("decode", done, total)

    @property
    def decode_chunk(self) -> int:
        """Number of frames per call of the decoder."""
        usual = 1 if self.sliced else frames_decoded_at_once(*self.job.frame.canvas, self.model.config.patch)
        return self.job.settings.decode_chunk or usual

    @torch.no_grad()
    def decode_frames(self, latents_BcFhw: Tensor, frames: range) -> np.ndarray:
        """Decode frames [K, H, W, 3] uint8 of the video's size."""
        model, job = self.model, self.job
        latents_Bchw = to_model(latents_BcFhw[0, :, frames.start : frames.stop].transpose(0, 1), model)
        images_BCHW = decode_latents(model.decoder, latents_Bchw, model.config.patch)
        height, width = job.frame.size
        images_BCHW = images_BCHW[..., :height, :width]
        if job.size != job.frame.size:
            images_BCHW = F.interpolate(images_BCHW.float(), job.size, mode="bicubic", antialias=True).clamp(0, 1)
        if job.scene is None or not job.settings.detail:
            return _to_bytes(images_BCHW, job.settings.truncate)
        # Not rounded before the network: what it makes of a frame must not depend on the frames decoded beside it.
        decoded_BHWC = (images_BCHW.float() * 255).permute(0, 2, 3, 1).cpu().numpy()
        drawn = [job.scene(index) for index in frames]
        return np.stack([mend_drawing(model.detail, *pair) for pair in zip(drawn, decoded_BHWC, strict=True)])


def frames_decoded_at_once(height: int, width: int, patch: int) -> int:
    """Return the number of frames per VAE call: one at the official model's size."""
    return max(1, int(_DECODED_AT_ONCE * patch**2 / (height * width)))


def _to_bytes(images_BCHW: Tensor, truncate: bool) -> np.ndarray:
    """Convert pictures [B, C, H, W] in [0, 1] to [B, H, W, C] uint8."""
    scaled = images_BCHW.float() * 255
    return (scaled if truncate else scaled.round()).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def sample_settings(settings: ChosenSettings) -> SampleSettings:
    """Return the part of the settings that denoising is about."""
    values = settings.model_dump(include={"steps", "guidance", "window", "overlap", "fusion", "seed"})
    policies = Policies(
        interval=GuidanceInterval(*settings.guidance_interval),
        difference=Reuse(settings.guidance_every),
        features=FeatureReuse(settings.cache, settings.cache_layers),
    )
    return SampleSettings(**values, solver=settings.scheduler, wrap=settings.wrap or settings.loop, policies=policies)
