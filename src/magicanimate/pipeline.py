"""The pipeline: a picture and a motion go in, the animated video comes out. Reads as the table of stages.

Shape legend: B sample, F video frames, C / c image / latent channels, H W pixels, h w latents, P control planes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from magicanimate.control import encode_control, parts_to_planes
from magicanimate.errors import InputError
from magicanimate.latents import decode_latents, encode_images, initial_noise, pixel_factor
from magicanimate.media import Clip, load_picture, open_clip, place, resample
from magicanimate.media.framing import Frame, choose_frame
from magicanimate.media.video import Video, VideoStream
from magicanimate.motion.align import aligned_placement
from magicanimate.motion.densepose import render_parts
from magicanimate.motion.signal import Signal, read_signal
from magicanimate.sampler import SampleSettings, sample
from magicanimate.settings import AnimateSettings, ChosenSettings, make_settings

if TYPE_CHECKING:
    from magicanimate.models import Model

Progress = Callable[[str, int, int | None], None]
"""Told (stage, done, total); stages: reading, control, denoise, decode. It may raise to cancel."""

_PLANES_CHUNK = 16
_DECODED_AT_ONCE = 8 * 256 * 256 / 16  # positions before the VAE: 8 frames of 256x256 with a patch of 4


@dataclass(frozen=True, kw_only=True)
class Job:
    """One animation, checked and ready to be computed."""

    model: dict[str, Any]
    """name and version."""
    settings: ChosenSettings
    frame: Frame
    image_HWC: np.ndarray
    """The reference picture on the canvas."""
    signal: Signal
    fps: float
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.signal)

    @property
    def picture_HWC(self) -> np.ndarray:
        """The reference picture as the frame shows it."""
        return self.frame.crop(self.image_HWC)

    def motion_frames(self) -> Iterator[np.ndarray]:
        """The motion as the frame shows it, in clean palette colours."""
        for parts_HW in self.signal.parts_FHW:
            yield self.frame.crop(render_parts(parts_HW))

    def describe(self) -> dict[str, Any]:
        """Everything that made the video, for its metadata; sizes are (height, width)."""
        from magicanimate import __version__

        return {
            "magicanimate": __version__,
            "torch": torch.__version__,
            "model": self.model,
            "settings": self.settings.model_dump(mode="json"),
            "frames": len(self),
            "fps": self.fps,
            "size": list(self.frame.size),
            "motion_report": asdict(self.signal.report),
            "warnings": self.warnings,
            "notes": self.notes,
        }

    def summary(self) -> str:
        """One line for people."""
        (height, width), found = self.frame.size, self.signal.report
        return (
            f"{len(self)} frames of {width}x{height} at {self.fps:g} fps; model {self.model['name']}, "
            f"{self.settings.steps} steps of {self.settings.scheduler}, guidance {self.settings.guidance:g}, seed "
            f"{self.settings.seed}; motion: {found.people} {'person' if found.people == 1 else 'people'}, "
            f"{found.coverage:.0%} of the frame covered."
        )


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
        streamed = VideoStream(self.frames(job, progress), len(job), job.fps, job.describe(), job.warnings)
        return streamed if stream else streamed.collect()

    def prepare(self, image: Any, motion: Any, settings: AnimateSettings, progress: Progress | None = None) -> Job:
        """Stages 1 and 2: read and check everything, compute nothing yet."""
        config = self.model.config
        chosen = settings.for_model(config)
        image_HWC, clip = _as_picture(image), _as_clip(motion, chosen)
        frame = choose_frame(clip.size, config.resolution, chosen.size, self.factor)
        reference_HWC = frame.picture(image_HWC, chosen.fit)
        placement, note = place(clip.size, frame.size, chosen.fit), None
        if chosen.align == "auto" and chosen.fit == "cover":
            driver = itertools.islice(iter(clip), chosen.max_frames)
            placement, note = aligned_placement(placement, clip.size, driver, frame.crop(reference_HWC))
        signal = read_signal(
            _timed(clip, chosen), frame, placement,
            max_frames=chosen.max_frames,
            raw=chosen.raw_control and config.control_encoding == "rgb",
            on_frame=_frame_counter(clip, chosen, progress),
        )  # fmt: skip
        return Job(
            model={"name": config.name, "version": config.version},
            settings=chosen,
            frame=frame,
            image_HWC=reference_HWC,
            signal=signal,
            fps=chosen.fps or clip.fps,
            warnings=[*clip.warnings, *signal.report.warnings],
            notes=[note] if note else [],
        )

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


def _as_picture(image: Any) -> np.ndarray:
    if isinstance(image, str | Path):
        return load_picture(image)
    from PIL import Image

    from magicanimate.media.pictures import to_rgb

    if isinstance(image, Image.Image):
        return np.asarray(to_rgb(image))
    image_HWC = np.asarray(image)
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or 0 in image_HWC.shape:
        raise InputError("The picture must be a path, a Pillow image, or an array [height, width, 3] of uint8.")
    return image_HWC


def _as_clip(motion: Any, settings: AnimateSettings) -> Clip:
    if isinstance(motion, Clip):
        return motion
    if isinstance(motion, str | Path):
        return open_clip(motion)
    frames_FHWC = np.asarray(motion)
    if frames_FHWC.dtype != np.uint8 or frames_FHWC.ndim != 4 or frames_FHWC.shape[3] != 3 or 0 in frames_FHWC.shape:
        raise InputError("The motion must be a path or an array [frames, height, width, 3] of uint8.")
    fps = settings.fps or 25.0
    return Clip(Path("array"), fps, frames_FHWC.shape[1:3], len(frames_FHWC), lambda: iter(frames_FHWC))


def _timed(clip: Clip, settings: AnimateSettings) -> Iterator[np.ndarray]:
    if settings.fps and settings.resample and abs(settings.fps - clip.fps) > 1e-3:
        return resample(clip, clip.fps, settings.fps)
    return iter(clip)


def _frame_counter(clip: Clip, settings: AnimateSettings, progress: Progress | None) -> Callable[[int], None] | None:
    if progress is None:
        return None
    total = clip.count
    if total and settings.fps and settings.resample:
        total = round(total * settings.fps / clip.fps)
    if settings.max_frames:
        total = min(total or settings.max_frames, settings.max_frames)
    return lambda done: progress("reading", done, total)


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
