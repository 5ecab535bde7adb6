"""The pipeline: a picture and a motion go in, the animated video comes out. Reads as the table of stages.

Shape legend: B sample, F video frames, C / c image / latent channels, H W pixels, h w latents, P control planes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from magicanimate.animation.diffusers_names import (
    AnimationOutput,
    CallArguments,
    OutputType,
    StepCallback,
    as_output,
    check_output_type,
    to_settings,
)
from magicanimate.animation.inputs import MotionInput, PictureInput
from magicanimate.animation.job import Job, prepare_job
from magicanimate.animation.loading import LoadedModel, memory_explained
from magicanimate.animation.settings import AnimateSettings, ChosenSettings, make_settings
from magicanimate.conditions.drawings import DrawingPlanes
from magicanimate.conditions.planes import control_planes
from magicanimate.engine.device import to_model
from magicanimate.errors import InputError
from magicanimate.files import sha256
from magicanimate.media.video import Video, VideoStream
from magicanimate.models.fingerprint import model_fingerprint
from magicanimate.motion.signal import Signal
from magicanimate.networks.detail import mend_drawing
from magicanimate.networks.vae import decode_latents, encode_images, initial_noise, pixel_factor
from magicanimate.progress import Progress
from magicanimate.provenance import labeled
from magicanimate.sampling.checkpoint import Checkpoint
from magicanimate.sampling.control_features import ControlSource
from magicanimate.sampling.loop import sample
from magicanimate.sampling.reuse import FeatureReuse, GuidanceInterval, Policies, Reuse
from magicanimate.sampling.settings import Run, SampleSettings, StepHook
from magicanimate.sampling.video import VideoDenoiser
from magicanimate.sampling.video_solver import VideoSolver

LOG = logging.getLogger(__name__)
_DECIDING = ("magicanimate", "torch", "settings", "frames", "size")
_DECODED_AT_ONCE = 2 * 256 * 256 / 16  # positions before the VAE: 2 frames of 256x256 with a patch of 4


class MagicAnimatePipeline(LoadedModel):
    """Animates people with one model. Build it with `from_pretrained`."""

    @property
    def factor(self) -> int:
        """Pixels per latent along each axis: canvas sizes are multiples of it."""
        return pixel_factor(self.model.vae, self.model.config.patch)

    @overload
    def __call__(
        self,
        image: PictureInput | Sequence[PictureInput],
        motion: MotionInput,
        *,
        stream: Literal[False] = False,
        progress: Progress | None = None,
        output_type: None = None,
        callback_on_step_end: StepCallback | None = None,
        **settings: Unpack[CallArguments],
    ) -> Video: ...

    @overload
    def __call__(
        self,
        image: PictureInput | Sequence[PictureInput],
        motion: MotionInput,
        *,
        stream: Literal[True],
        progress: Progress | None = None,
        output_type: None = None,
        callback_on_step_end: StepCallback | None = None,
        **settings: Unpack[CallArguments],
    ) -> VideoStream: ...

    @overload
    def __call__(
        self,
        image: PictureInput | Sequence[PictureInput],
        motion: MotionInput,
        *,
        stream: Literal[False] = False,
        progress: Progress | None = None,
        output_type: OutputType,
        callback_on_step_end: StepCallback | None = None,
        **settings: Unpack[CallArguments],
    ) -> AnimationOutput: ...

    def __call__(
        self,
        image: PictureInput | Sequence[PictureInput],
        motion: MotionInput,
        *,
        stream: bool = False,
        progress: Progress | None = None,
        output_type: OutputType | None = None,
        callback_on_step_end: StepCallback | None = None,
        **settings: Unpack[CallArguments],
    ) -> Video | VideoStream | AnimationOutput:
        """Animate the person in a picture.

        Args:
            image: path of a picture, Pillow image, or [H, W, 3] uint8; a list of them shows a person each, for
                those who move from left to right.
            motion: path of anything that `magicanimate animate` takes (video of a person, DensePose clip, animation,
                folder of frames, keypoints, BVH, arrays), a `Clip` or `MotionClip`, or frames [F, H, W, 3] uint8, at 25
                fps unless `fps` says otherwise.
            stream: yield frames as they are decoded instead of collecting them.
            progress: told (stage, done, total); raise in it to cancel.
            output_type: np, pil or pt: frames as diffusers' video pipelines return them.
            callback_on_step_end: called as (pipe, step, timestep, {"latents": [1, c, F, h, w]}) after every step; what
                it returns as latents replaces the step's.
            settings: see `AnimateSettings`; diffusers' names for some of them are in `CallArguments`.

        Returns:
            A `Video`, with `stream` a `VideoStream`, with `output_type` an `AnimationOutput`.

        Raises:
            InputError: bad input or settings.
        """
        check_output_type(output_type)
        if stream and output_type:
            raise InputError("A stream yields frames as they are; leave output_type out.")
        job = self.prepare(image, motion, make_settings(**to_settings(dict(settings))), progress)
        for note in job.notes:
            LOG.info(note)
        for warning in job.warnings:
            LOG.warning(warning)
        on_step = None if callback_on_step_end is None else self._step_hook(callback_on_step_end)
        frames = self.frames(job, progress, on_step=on_step)
        streamed = VideoStream(frames, len(job), job.fps, job.describe(), job.warnings, job.audio)
        if stream:
            return streamed
        return as_output(streamed.collect(), output_type) if output_type else streamed.collect()

    def _step_hook(self, callback: StepCallback) -> StepHook:
        def on_step(step: int, timestep: Tensor, latents_BcFhw: Tensor) -> Tensor:
            returned = callback(self, step, timestep, {"latents": latents_BcFhw})
            return (returned or {}).get("latents", latents_BcFhw)

        return on_step

    def prepare(
        self, image: PictureInput | Sequence[PictureInput], motion: MotionInput, settings: AnimateSettings,
        progress: Progress | None = None,
    ) -> Job:  # fmt: skip
        """Run stages 1 and 2: read and check everything, compute nothing yet."""
        return prepare_job(
            self.model.config, self.factor, image, motion, settings, progress, draws=self.draws(settings),
            mends=self.model.detail is not None,
        )  # fmt: skip

    def draws(self, settings: AnimateSettings) -> bool:
        """Return True if the picture's people are drawn as a body moves, for the networks or instead of them."""
        mends = self.model.detail is not None and settings.detail
        return self.model.config.warp_input or mends or settings.preset == "preview"

    def frames(
        self,
        job: Job,
        progress: Progress | None = None,
        resume_folder: Path | None = None,
        patience: float = 0.0,
        on_step: StepHook | None = None,
    ) -> Iterator[np.ndarray]:
        """Run stages 3 to 7: yield frames [H, W, 3] uint8 (transparent: [H, W, 4]) in order, as they are decoded.

        resume_folder: keeps the last finished step, from which a further call with the same job and folder goes on,
        with the same result; the caller removes it when the video is written. patience: seconds before the first
        step is kept. on_step: see `Run`. Of several processes (see `ranks`) only the first one yields frames.
        """
        if job.drawn_alone:
            yield from self._draw(job, progress)
            return
        with memory_explained():
            ref_Bchw = self._encode(job.image_HWC)
            _, channels, height, width = ref_Bchw.shape
            signal = job.signal.padded(job.settings.pad_frames)
            shape = (channels, height, width)
            noise_BcFhw = initial_noise(job.settings.seed, len(signal), shape, job.settings.noise, job.settings.window)
            checkpoint = self._checkpoint(job, resume_folder, patience)
            latents_BcFhw = sample(
                self.model, ref_Bchw, self._control(job, signal), noise_BcFhw, sample_settings(job.settings),
                Run(progress=progress, ranks=self.ranks, checkpoint=checkpoint, on_step=on_step),
            )  # fmt: skip
            yield from self._decode(latents_BcFhw[:, :, : len(job)], job, progress)

    def check(self, job: Job, resume_folder: Path | None = None) -> None:
        """Raise InputError for everything that `frames` would refuse: solver, windows, processes, finished steps."""
        if job.drawn_alone:
            return
        frames = len(job.signal.padded(job.settings.pad_frames))
        settings = sample_settings(job.settings)
        solver = VideoSolver(self.model.config.scheduler, settings.solver, settings.steps, frames)
        VideoDenoiser(self.model, settings, solver.timesteps, frames, Run(ranks=self.ranks))
        checkpoint = self._checkpoint(job, resume_folder, 0.0)
        if checkpoint:
            checkpoint.load()

    def _checkpoint(self, job: Job, folder: Path | None, patience: float) -> Checkpoint | None:
        return Checkpoint(folder, self._about(job), patience) if folder and self.ranks.first else None

    def _draw(self, job: Job, progress: Progress | None) -> Iterator[np.ndarray]:
        """Yield the drawing alone."""
        assert job.scene is not None
        for index in range(len(job) if self.ranks.first else 0):
            frame_HWC = job.scene.cutout(index) if job.transparent else job.scene(index).frame_HWC
            yield _finished(frame_HWC, job)
            if progress:
                progress("decode", index + 1, len(job))

    def _about(self, job: Job) -> dict[str, Any]:
        """Return all that decides the frames of a job."""
        signal = job.signal
        motion = [signal.parts_FHW.tobytes(), *([signal.raw_FHWC.tobytes()] if signal.raw_FHWC else [])]
        described = {name: value for name, value in job.describe().items() if name in _DECIDING}
        return described | {
            "picture": sha256(job.picture_HWC.tobytes())[:16],
            "bodies": [] if job.scene is None else [sha256(body.pose_FP.tobytes())[:16] for body in job.scene.motions],
            "motion": sha256(*motion)[:16],
            "model": model_fingerprint(self.model),
        }

    def _control(self, job: Job, signal: Signal) -> ControlSource:
        """Return control planes `[1, K, P, H/stride, W/stride]`, made when they are asked for."""
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

    def _decode(self, latents_BcFhw: Tensor, job: Job, progress: Progress | None) -> Iterator[np.ndarray]:
        """Yield frames of the visible size, a few at a time so that memory does not grow with the video.

        The processes take the chunks in turn, so that the first one can pass them on in order.
        """
        total, size = len(job), self._decode_chunk(job)
        starts = range(0, total, size)
        for turn in range(0, len(starts), self.ranks.size):
            mine = starts[turn + self.ranks.rank : turn + self.ranks.rank + 1]
            decoded = [
                self._decode_frames(latents_BcFhw, range(start, min(start + size, total)), job) for start in mine
            ]
            done = turn * size
            for frame_HWC in (frame for chunks in self.ranks.gather(decoded) for chunk in chunks for frame in chunk):
                yield _finished(frame_HWC, job)
                done += 1
            if progress:
                progress("decode", done, total)

    def _decode_chunk(self, job: Job) -> int:
        """Return the number of frames per call of the decoder."""
        usual = 1 if self.sliced else frames_decoded_at_once(*job.frame.canvas, self.model.config.patch)
        return job.settings.decode_chunk or usual

    @torch.no_grad()
    def _decode_frames(self, latents_BcFhw: Tensor, frames: range, job: Job) -> np.ndarray:
        """Decode frames [K, H, W, 3] uint8 of the video's size."""
        model = self.model
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


def _finished(frame_HWC: np.ndarray, job: Job) -> np.ndarray:
    """Return a frame as it is written."""
    return labeled(frame_HWC) if job.settings.label else np.ascontiguousarray(frame_HWC)


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
