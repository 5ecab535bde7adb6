"""`model.json`, the description of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from magicanimate.errors import InputError
from magicanimate.parts.densepose import PARTS
from magicanimate.untrusted import read_json

FILE_NAME = "model.json"
WARP_COLORS = 4  # colors of a control plane's cell along each axis, of the warped picture
WARP_PLANES = 3 * WARP_COLORS**2 + 1  # these colors, and how far they are known
ControlEncoding = Literal["rgb", "parts", "depth"]
ControlKind = Literal["densepose", "pose", "depth"]
ENCODINGS: dict[str, tuple[str, ...]] = {"densepose": ("rgb", "parts"), "pose": ("rgb",), "depth": ("depth",)}
"""Encodings of each kind of control, the usual one first."""


ORIGINAL_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear",
    "prediction_type": "epsilon", "clip_sample": False, "set_alpha_to_one": True, "steps_offset": 1,
    "timestep_spacing": "leading",
}  # fmt: skip
"""Arguments of diffusers' DDIMScheduler for the original: linear betas, not Stable Diffusion's scaled-linear ones."""


class ModelConfig(BaseModel):
    """Description of a model, and how to run it. Sizes of the four networks are in their own config.json files."""

    model_config = ConfigDict(extra="forbid")

    format_version: Literal[1] = 1
    name: str
    version: str = "0"
    resolution: tuple[int, int] = Field(description="height and width in pixels that the model was trained at")
    fps: float = Field(25.0, gt=0, description="frames per second that the model was trained at")
    control: ControlKind = "densepose"
    control_encoding: ControlEncoding = Field(
        "rgb",
        description="control frames as RGB (densepose, pose), as 25 one-hot planes of the nearest part (densepose), or "
        "as one plane from 0, nothing, to 1, nearest (depth)",
    )
    patch: int = Field(1, ge=1, description="space-to-depth factor in front of the VAE (and the control stem)")
    control_patch: int | None = Field(
        None, ge=1, description="the same for the control stem, where it differs from patch"
    )
    coordinates: int = Field(0, ge=0, description="coordinate channels appended at the three networks' stems")
    reference_input: bool = Field(
        False, description="whether the reference's latents are appended at the denoiser's stem too"
    )
    warp_input: bool = Field(
        False, description="whether the picture, warped to each frame's parts, is appended to the control planes"
    )
    norm_scope: Literal["window", "frame"] = Field(
        "window", description="statistics of the group norms: over the whole window (original) or over single frames"
    )
    window: int = Field(16, ge=1, description="frames that are denoised together")
    overlap: int = Field(4, ge=0, description="frames that neighboring windows share")
    scheduler: dict[str, Any] = Field(default_factory=dict, description="arguments of diffusers' DDIMScheduler")
    steps: int = Field(25, ge=1, description="recommended number of steps")
    guidance: float = Field(7.5, ge=0, description="recommended guidance scale")
    noise: Literal["shared", "independent", "static"] = Field(
        "shared", description="recommended initial noise (networks.vae.initial_noise); shared: as published"
    )
    storage: Literal["float32", "float16", "bfloat16", "int8"] = "float32"
    figures: dict[str, Any] = Field(default_factory=dict, description="measured results")
    training: dict[str, Any] = Field(default_factory=dict, description="how and on what it was trained")
    licence: str = ""
    limits: list[str] = Field(default_factory=list, description="known limits, in sentences")

    @property
    def control_stride(self) -> int:
        """Pixels per control plane's cell along each axis."""
        return self.control_patch or self.patch

    @property
    def motion_planes(self) -> int:
        """Control planes that show the motion; they come first."""
        return {"parts": PARTS, "rgb": 3 * self.control_stride**2, "depth": self.control_stride**2}[
            self.control_encoding
        ]

    @property
    def control_planes(self) -> int:
        """Planes that the ControlNet sees."""
        return self.motion_planes + WARP_PLANES * self.warp_input

    def with_control(self, kind: str) -> ModelConfig:
        """Return the same model with its ControlNet of another kind."""
        encoding = self.control_encoding if kind == self.control else ENCODINGS[kind][0]
        return self.model_copy(update={"control": kind, "control_encoding": encoding})

    @model_validator(mode="after")
    def _encoding_of_its_kind(self) -> ModelConfig:
        if self.control_encoding not in ENCODINGS[self.control]:
            raise ValueError(f"control {self.control} needs control_encoding {' or '.join(ENCODINGS[self.control])}")
        return self

    @model_validator(mode="after")
    def _cells_of_colors(self) -> ModelConfig:
        if self.warp_input and self.control_stride % WARP_COLORS:
            raise ValueError(f"warp_input needs control planes with a stride that is a multiple of {WARP_COLORS}")
        return self

    @field_validator("coordinates")
    @classmethod
    def _in_fours(cls, value: int) -> int:
        if value % 4:
            raise ValueError("must be a multiple of 4")
        return value

    @field_validator("overlap")
    @classmethod
    def _shorter_than_window(cls, value: int, info: Any) -> int:
        if value >= info.data.get("window", value + 1):
            raise ValueError("must be smaller than window")
        return value


def read_config(folder: Path) -> ModelConfig:
    """Read the configuration of a model folder; InputError names the file and what is wrong with it."""
    path = folder / FILE_NAME
    if not path.exists():
        raise InputError(f"{folder} is not a model folder: it has no {FILE_NAME}.")
    try:
        return ModelConfig.model_validate(read_json(path, "The model description", "fetch or save the model again"))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{path} is not a valid model description: {problems}.") from error
