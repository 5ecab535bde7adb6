"""The names that diffusers' pipelines have for arguments and results.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import torch

from magicanimate.animation.arguments import SettingArguments
from magicanimate.errors import InputError
from magicanimate.media.video import Video

if TYPE_CHECKING:
    from PIL.Image import Image

OutputType = Literal["np", "pil", "pt"]
StepCallback: TypeAlias = Callable[[Any, int, torch.Tensor, dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]
"""Called as callback(pipe, step, timestep, {"latents": latents}); latents that it returns replace the step's."""

_NAMES = {"num_inference_steps": "steps", "guidance_scale": "guidance", "num_frames": "max_frames"}
_SEEDS = 2**63 - 1


class CallArguments(SettingArguments, total=False):
    """The settings, and diffusers' names for some of them.

    generator: gives the seed, a new one in each call.
    """

    num_inference_steps: int | None
    guidance_scale: float | None
    num_frames: int | None
    height: int | None
    width: int | None
    generator: torch.Generator | list[torch.Generator] | None


@dataclass(frozen=True)
class AnimationOutput:
    """A result as diffusers' video pipelines return it: a batch of one video."""

    frames: Any
    """np: [1, F, H, W, C] float32 in [0, 1]; pt: the same as a tensor [1, F, C, H, W]; pil: a list of one list."""
    video: Video
    """The same with frame rate, sound and settings; its `save` writes the marks."""

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.video.fps


def as_output(video: Video, output_type: str) -> AnimationOutput:
    """Convert frames to a form of diffusers. Raises InputError for an unknown form."""
    check_output_type(output_type)
    if output_type == "pil":
        return AnimationOutput([_pictures(video.frames)], video)
    frames_FHWC = video.frames.astype(np.float32) / 255
    if output_type == "np":
        return AnimationOutput(frames_FHWC[None], video)
    return AnimationOutput(torch.from_numpy(frames_FHWC).permute(0, 3, 1, 2)[None], video)


def check_output_type(output_type: str | None) -> None:
    """Raise InputError for a form of frames that there is not."""
    if output_type is not None and output_type not in get_args(OutputType):
        raise InputError(f"Unknown output_type {output_type!r}: choose {', '.join(get_args(OutputType))}, or none.")


def _pictures(frames_FHWC: np.ndarray) -> list[Image]:
    from PIL import Image

    return [Image.fromarray(frame_HWC) for frame_HWC in frames_FHWC]


def to_settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """Rename arguments to our settings. Raises InputError for two names of one setting, or half a size."""
    values = dict(arguments)
    for theirs, ours in _NAMES.items():
        if theirs in values:
            _put(values, theirs, ours, values.pop(theirs))
    height, width = values.pop("height", None), values.pop("width", None)
    if (height is None) != (width is None):
        raise InputError("height and width go together; give both, or neither.")
    if height is not None:
        _put(values, "height and width", "size", (height, width))
    generator = values.pop("generator", None)
    if generator is not None:
        _put(values, "generator", "seed", draw_seed(generator))
    return values


def _put(values: dict[str, Any], theirs: str, ours: str, value: Any) -> None:
    if ours in values:
        raise InputError(f"{theirs} and {ours} are the same; give one of them.")
    values[ours] = value


def draw_seed(generator: torch.Generator | list[torch.Generator]) -> int:
    """Draw a seed from a generator, which advances as in diffusers. Raises InputError for several generators."""
    if isinstance(generator, list):
        if len(generator) != 1:
            raise InputError(f"A call makes one video, so it takes one generator instead of {len(generator)}.")
        generator = generator[0]
    return int(torch.randint(_SEEDS, (), generator=generator, device=generator.device))
