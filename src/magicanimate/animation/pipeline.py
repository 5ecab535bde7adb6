"""The pipeline: a picture and a motion go in, the animated video comes out. Reads as the table of stages.

Shape legend: B sample, F video frames, C / c image / latent channels, H W pixels, h w latents, P control planes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, overload

import numpy as np
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
from magicanimate.animation.settings import AnimateSettings, make_settings
from magicanimate.errors import InputError
from magicanimate.media.video import Video, VideoStream
from magicanimate.progress import Progress
from magicanimate.provenance import labeled

if TYPE_CHECKING:
    from magicanimate.animation.diffusion import Diffusion
    from magicanimate.sampling.settings import StepHook

LOG = logging.getLogger(__name__)


class MagicAnimatePipeline(LoadedModel):
    """Animates people with one model. Build it with `from_pretrained`."""

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
        about = self.description
        return prepare_job(
            about.config, about.pixel_factor, image, motion, settings, progress, draws=self.draws(settings),
            mends=about.has_detail,
        )  # fmt: skip

    def draws(self, settings: AnimateSettings) -> bool:
        """Return True if the picture's people are drawn as a body moves, for the networks or instead of them."""
        mends = self.description.has_detail and settings.detail
        return self.description.config.warp_input or mends or settings.preset == "preview"

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
            made = self._draw(job, progress)
        else:
            made = self._diffusion(job).frames(progress, resume_folder, patience, on_step)
        with memory_explained():
            for frame_HWC in made:
                yield labeled(frame_HWC) if job.settings.label else np.ascontiguousarray(frame_HWC)

    def check(self, job: Job, resume_folder: Path | None = None) -> None:
        """Raise InputError for everything that `frames` would refuse: solver, windows, processes, finished steps."""
        if not job.drawn_alone:
            self._diffusion(job).check(resume_folder)

    def _diffusion(self, job: Job) -> Diffusion:
        from magicanimate.animation.diffusion import Diffusion

        return Diffusion(self.model, job, self.ranks, self.sliced)

    def _draw(self, job: Job, progress: Progress | None) -> Iterator[np.ndarray]:
        """Yield the drawing alone."""
        assert job.scene is not None
        for index in range(len(job) if self.ranks.first else 0):
            yield job.scene.cutout(index) if job.transparent else job.scene(index).frame_HWC
            if progress:
                progress("decode", index + 1, len(job))
