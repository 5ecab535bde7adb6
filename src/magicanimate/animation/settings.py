"""Everything that can be chosen about one animation: one validated object, for the library and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from magicanimate.animation.parsing import (
    DRIVER,
    PICTURE,
    TRANSPARENT,
    Interval,
    Size,
    parse_background,
    parse_interval,
    parse_size,
    parse_time,
)
from magicanimate.animation.presets import PRESETS, Preset, by_steps
from magicanimate.animation.shown import LOOK, MODEL, MOTION, SOLVER, Shown
from magicanimate.errors import InputError, did_you_mean
from magicanimate.sampling.solver_names import check_solver

if TYPE_CHECKING:
    from magicanimate.models.config import ModelConfig

Settings = TypeVar("Settings", bound=BaseModel)
SLOWEST = 0.1
"""Lowest frame rate that is accepted, frames per second."""
_LONGEST = 80  # characters of a value in a sentence
_PARSERS = {"size": parse_size, "guidance_interval": parse_interval, "start": parse_time, "end": parse_time}
SMALLEST, LARGEST = 16, 4096
"""Fewest and most pixels per side that are accepted."""


class ModelOptions(BaseModel):
    """Options that choose the model, device, and precision; arguments of `MagicAnimatePipeline.from_pretrained`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Shown(MODEL)] = Field(
        default="tiny", description="name or folder of the model: tiny is shipped, magicanimate is the official one"
    )
    control: Annotated[str | None, Shown(MODEL, "densepose|pose|depth", default="the model's")] = Field(
        default=None, description="control signal, for models with several ControlNets"
    )
    device: Annotated[str, Shown(MODEL, "auto|cpu|cuda|cuda:N|mps")] = Field(
        default="auto", description="device to compute on"
    )
    dtype: Annotated[str, Shown(MODEL, "auto|float32|bfloat16|float16")] = Field(
        default="auto", description="dtype of the networks"
    )
    quantize: Annotated[str, Shown(MODEL, "none|int8|fp8")] = Field(
        default="none", description="weights in 8 bit; fp8 needs a newer NVIDIA GPU"
    )
    offload: Annotated[bool, Shown(MODEL)] = Field(
        default=False, description="keep weights on the host and move them to the GPU layer by layer"
    )
    compile: Annotated[bool, Shown(MODEL)] = Field(
        default=False, description="compile part of the networks' layers with torch.compile"
    )
    graphs: Annotated[bool | None, Shown(MODEL, default="on NVIDIA GPUs")] = Field(
        default=None, description="record the work of a step as CUDA graphs, and replay it"
    )
    decoder: Annotated[Path | None, Shown(MODEL, "FOLDER", default="the model's VAE")] = Field(
        default=None, description="small decoder (AutoencoderTiny format) for this model, or OWNER/NAME on the hub"
    )


class AnimateSettings(BaseModel):
    """Settings of one animation; whatever is left out (None) is taken from the preset, then from the model.

    All are keyword-only. Build it with `make_settings`, which says in one sentence what is wrong with a value. Every
    setting is declared here and nowhere else: the command line's options, the page's controls, the columns of a batch
    and the API's schema are made from these fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Annotated[
        Preset,
        Shown(
            MODEL,
            page="Speed",
            place=(0, 0),
            choices={"Best quality": "quality", "Faster": "fast", "Preview": "preview"},
        ),
    ] = Field(
        default="quality",
        description="named set of defaults: quality, fast (fewer and cheaper steps), preview (the drawing without "
        "networks) or original (as the paper's program)",
    )
    steps: Annotated[int | None, Shown(SOLVER, default="the preset's", page="Steps", place=(5, 0), hint="auto")] = (
        Field(default=None, ge=1, le=1000, description="denoising steps")
    )
    guidance: Annotated[
        float | None, Shown(SOLVER, default="the model's", page="Guidance", place=(5, 1), hint="auto")
    ] = Field(default=None, ge=0, le=100, description="guidance scale; 1 switches guidance off")
    seed: Annotated[int, Shown(SOLVER, page="Seed", place=(4, 0), hint="1")] = Field(
        default=1, ge=0, lt=2**63, description="seed of the initial noise"
    )
    size: Annotated[
        Size | Literal["auto", "motion"],
        Shown(
            LOOK,
            "WIDTHxHEIGHT",
            reads=True,
            page="Size",
            place=(2, 0),
            choices={size: size for size in ("auto", "motion", "256x256", "384x384", "512x512", "384x512", "512x768")},
        ),
    ] = Field(
        default="auto",
        description="size of the video; auto: the picture's shape, at most 768 pixels long (for models that do not "
        "draw with the picture's pixels, as motion); motion: the motion's shape at the model's pixel count",
    )
    fps: Annotated[
        float | None,
        Shown(
            LOOK, "frames/s", reads=True, default="the motion's", page="Frames per second", place=(4, 1), hint="auto"
        ),
    ] = Field(default=None, gt=0, le=240, description="frame rate; the motion is resampled in time")
    max_frames: Annotated[int | None, Shown(MOTION, "frames", reads=True, default="all")] = Field(
        default=None, ge=1, description="animate at most this many frames"
    )
    start: Annotated[
        float, Shown(MOTION, "s or m:ss", text=True, reads=True, page="Start (s or m:ss)", place=(1, 0), hint="0")
    ] = Field(default=0.0, ge=0, le=86400, description="begin the motion here")
    end: Annotated[
        float | None,
        Shown(
            MOTION,
            "s or m:ss",
            text=True,
            reads=True,
            default="its end",
            page="End (s or m:ss)",
            place=(1, 1),
            hint="end",
        ),
    ] = Field(default=None, gt=0, le=86400, description="end the motion here")
    audio: Annotated[bool, Shown(MOTION)] = Field(default=True, description="keep the motion's sound (mp4 and webm)")
    extractor: Annotated[str, Shown(MOTION, "auto|mediapipe|densepose|dwpose", reads=True)] = Field(
        default="auto",
        pattern="^(auto|mediapipe|(densepose|dwpose)(=.+)?)$",
        description="method that finds the person in an ordinary video; densepose and dwpose also as NAME=PATH of "
        "your own networks",
    )
    person: Annotated[int | None, Shown(MOTION, reads=True, default="the largest")] = Field(
        default=None, ge=1, le=20, description="number of one of several people, from left to right"
    )
    fit: Annotated[
        Literal["cover", "contain", "stretch"] | None,
        Shown(
            LOOK,
            reads=True,
            default="cover",
            page="Other shapes",
            place=(3, 1),
            choices={"Crop": "cover", "Pad": "contain", "Stretch": "stretch"},
        ),
    ] = Field(
        default=None,
        description="fit picture and motion to another aspect ratio: crop, pad, or distort",
    )
    align: Annotated[
        Literal["auto", "none"] | None,
        Shown(
            LOOK,
            reads=True,
            default="auto",
            page="Fit the motion to the person in the picture",
            place=(6, 0),
            switch=True,
        ),
    ] = Field(
        default=None, description="auto: give the motion the place, size and proportions of the person in the picture"
    )
    background: Annotated[
        str,
        Shown(
            LOOK,
            "picture|driver|PATH|#rrggbb|transparent",
            page="Background",
            place=(3, 0),
            choices={
                "The picture's": PICTURE,
                "The motion's video": DRIVER,
                "White": "#ffffff",
                "Green": "#00ff00",
                "Transparent": TRANSPARENT,
            },
        ),
    ] = Field(
        default=PICTURE,
        description="background behind the person: the picture's own; driver: the motion's video, in which "
        "they take the place of the one who moves; another picture or video; a color; or nothing (transparent: in "
        "webm, mov, webp, apng or a folder of PNG frames)",
    )
    person_edit: Annotated[str | None, Shown(LOOK, "FILE", reads=True, default="none")] = Field(
        default=None,
        description="corrected joints and mask of the person in the picture: a JSON file, as `motion PICTURE -o "
        "person.json` begins it and the page's editor saves it",
    )
    label: Annotated[bool, Shown(LOOK, page="Write “AI-generated” into the video", place=(8, 0))] = Field(
        default=False, description="write AI-generated into a corner of the video"
    )
    expression: Annotated[float, Shown(LOOK, page="Facial expression (0 to 1)", place=(2, 1), hint="0.7")] = Field(
        default=0.7,
        ge=0,
        le=1,
        description="how far mouth, eyes and brows follow the face in the motion's video, where that is large enough; "
        "0 keeps the picture's expression",
    )
    smooth: Annotated[float, Shown(MOTION, "s", reads=True)] = Field(
        default=0.0, ge=0, le=5, description="smooth the motion over a window of this length, 0.3 for example"
    )
    speed: Annotated[float, Shown(MOTION, "times", reads=True)] = Field(
        default=1.0, ge=0.1, le=10, description="speed of the motion, 2 is twice as fast"
    )
    mirror: Annotated[bool, Shown(MOTION, reads=True)] = Field(
        default=False, description="exchange left and right in the motion"
    )
    hold: Annotated[float, Shown(MOTION, "s", reads=True)] = Field(
        default=0.0, ge=0, le=60, description="hold the last pose for this long"
    )
    loop: Annotated[bool, Shown(LOOK, reads=True, page="Make the end run into the beginning", place=(7, 0))] = Field(
        default=False, description="blend the end into the beginning, for videos that are repeated"
    )
    scheduler: Annotated[str | None, Shown(SOLVER, "NAME", default="the preset's")] = Field(
        default=None, description="solver, e.g. ddim, dpm++, unipc, euler"
    )
    fusion: Annotated[Literal["mean", "triangular"] | None, Shown(SOLVER, default="mean")] = Field(
        default=None, description="weights where windows overlap"
    )
    noise: Annotated[Literal["shared", "independent", "static"] | None, Shown(SOLVER, default="the model's")] = Field(
        default=None, description="initial noise: repeated for each window, each frame its own, or one for all frames"
    )
    guidance_interval: Annotated[Interval | None, Shown(SOLVER, "FROM-TO", default="0-1")] = Field(
        default=None,
        description="where guidance acts, as fractions of the steps from noisy (0) to clean (1), e.g. 0-0.5",
    )
    guidance_every: Annotated[int | None, Shown(SOLVER, "steps", default="the preset's")] = Field(
        default=None,
        ge=1,
        le=100,
        description="compute the unconditional half at every n-th step; reuse its difference in between",
    )
    cache: Annotated[int | None, Shown(SOLVER, "steps", default="the preset's")] = Field(
        default=None,
        ge=1,
        le=100,
        description="compute everything at every n-th step; reuse deep features in between; 1 is off",
    )
    cache_layers: Annotated[int, Shown(SOLVER)] = Field(
        default=1, ge=1, description="layers at the end of the denoiser that cached steps compute"
    )
    window: Annotated[int | None, Shown(SOLVER, "frames", default="the model's")] = Field(
        default=None, ge=1, le=128, description="frames denoised together"
    )
    overlap: Annotated[int | None, Shown(SOLVER, "frames", default="the model's")] = Field(
        default=None, ge=0, le=127, description="frames that neighboring windows share"
    )
    detail: Annotated[bool, Shown(LOOK)] = Field(
        default=True, description="take detail of face, clothes, and background from the picture, if the model can"
    )
    decode_chunk: Annotated[int | None, Shown(SOLVER, "frames", default="by their size")] = Field(
        default=None, ge=1, le=256, description="frames decoded at once"
    )

    # Behavior of the original that only its preset switches on; not offered by front ends.
    wrap: bool = Field(default=False, description="the last window continues with the first frames")
    pad_frames: int = Field(default=1, ge=1, description="repeat the last frame up to a multiple, compute, and cut")
    truncate: bool = Field(default=False, description="convert to 8 bit by truncation instead of rounding")
    resample: bool = Field(default=True, description="with another frame rate, keep the speed of the motion")
    raw_control: bool = Field(default=False, description="control frames as read, instead of cleaned to the palette")

    @field_validator(*_PARSERS, mode="before")
    @classmethod
    def _as_written(cls, value: Any, about: ValidationInfo) -> Any:
        return _PARSERS[str(about.field_name)](value) if isinstance(value, str) else value

    @field_validator("fps")
    @classmethod
    def _fps_range(cls, value: float | None) -> float | None:
        if value is not None and value < SLOWEST:
            raise ValueError(f"should be at least {SLOWEST:g}")
        return value

    @field_validator("scheduler")
    @classmethod
    def _solver(cls, value: str | None) -> str | None:
        return None if value is None else check_solver(value)

    @field_validator("background")
    @classmethod
    def _background(cls, value: str) -> str:
        return parse_background(value)

    @field_validator("guidance_interval")
    @classmethod
    def _interval_range(cls, value: Any) -> Any:
        if value is not None and not 0 <= value[0] <= value[1] <= 1:
            raise ValueError("must rise within 0 to 1")
        return value

    @field_validator("end")
    @classmethod
    def _order(cls, value: float | None, others: ValidationInfo) -> float | None:
        if value is not None and value <= others.data.get("start", 0):
            raise ValueError(f"should be after start, which is {others.data['start']:g} s")
        return value

    @field_validator("size")
    @classmethod
    def _size_range(cls, value: Any) -> Any:
        if value not in ("auto", "motion") and not all(SMALLEST <= side <= LARGEST for side in value):
            raise ValueError(f"both sides must be between {SMALLEST} and {LARGEST} pixels")
        return value

    def for_model(self, config: ModelConfig) -> ChosenSettings:
        """Return the same with nothing left open but `fps` and `size`, which depend on the motion.

        Raises:
            InputError: window and overlap do not go together.
        """
        chosen = PRESETS[self.preset] | {name: getattr(self, name) for name in self.model_fields_set}
        model = {
            "steps": config.steps, "guidance": config.guidance, "window": config.window,
            "overlap": config.overlap, "scheduler": "ddim", "fusion": "mean", "noise": config.noise,
            "fit": "cover", "align": "auto", "guidance_interval": (0.0, 1.0), "guidance_every": 1, "cache": 1,
        } | by_steps(self.preset, config.steps)  # fmt: skip
        filled: dict[str, Any] = model | {name: value for name, value in chosen.items() if value is not None}
        if "overlap" not in chosen and filled["overlap"] >= filled["window"]:
            filled["overlap"] = filled["window"] // 4
        if filled["overlap"] >= filled["window"]:
            raise InputError(
                f"overlap: {filled['overlap']} frames cannot be shared by windows of {filled['window']}; choose fewer."
            )
        if self.preset == "original" and "size" not in self.model_fields_set:
            filled["size"] = tuple(config.resolution)
        return validated(ChosenSettings, filled)


class ChosenSettings(AnimateSettings):
    """Settings with a value for everything that preset and model decide; made by `AnimateSettings.for_model`."""

    steps: int
    guidance: float
    fit: Literal["cover", "contain", "stretch"]
    align: Literal["auto", "none"]
    scheduler: str
    fusion: Literal["mean", "triangular"]
    noise: Literal["shared", "independent", "static"]
    guidance_interval: Interval
    guidance_every: int
    cache: int
    window: int
    overlap: int


def make_settings(**values: Any) -> AnimateSettings:
    """Return validated settings.

    Raises:
        InputError: one sentence that names every setting at fault.
    """
    return validated(AnimateSettings, values)


def validated(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """Return settings of a kind; InputError with one sentence that names every setting at fault."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise InputError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    problems: list[str] = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        message = problem["msg"].removeprefix("Value error, ")
        message = message.replace("Input should be", "should be")
        message = message.replace("Extra inputs are not permitted", "there is no such setting")
        if problem["type"] == "extra_forbidden":
            message += did_you_mean(name, AnimateSettings.model_fields)
        given = repr(problem["input"])
        line = f"{name[:_LONGEST]}: {message} (got {given if len(given) <= _LONGEST else given[:_LONGEST] + '...'})"
        if not any(known.startswith(f"{name}:") for known in problems):
            problems.append(line)
    return "; ".join(problems) + "."
