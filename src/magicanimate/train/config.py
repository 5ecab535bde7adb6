"""Settings of a training configuration (YAML). Unknown keys are refused."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from magicanimate.errors import InputError
from magicanimate.models.config import ControlKind, ModelConfig
from magicanimate.networks.vae import NoiseMode
from magicanimate.train.detail import DetailSettings
from magicanimate.train.diffusion import BranchSettings
from magicanimate.train.distill import DistillSettings
from magicanimate.train.initial import InitialWeights
from magicanimate.train.loop import LoopSettings
from magicanimate.train.lora import LoraSettings
from magicanimate.train.views import ViewSettings
from magicanimate.untrusted import parse_yaml, read_yaml_mapping


class VaeSettings(BaseModel):
    """Sizes of a small VAE."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int = Field(4, description="space-to-depth factor in front of the VAE")
    channels: tuple[int, ...] = Field((32, 96, 192), description="channels of each level, the finest first")
    latent_channels: int = Field(16, description="channels of the latents")
    start: Path | None = Field(None, description="a trained VAE (diffusers format), or a model whose VAE is continued")
    further_channels: int = Field(0, ge=0, description="with start: so many latent channels more than it has")
    decoder_only: bool = Field(False, description="leave the encoder as it is, so that cached latents stay valid")
    body_weight: float = Field(2.0, ge=0, description="extra weight of the person's pixels")
    latent_noise: float = Field(
        0.05, ge=0, description="noise on the latents that are decoded, as a share of their spread"
    )


class DecoderSettings(BaseModel):
    """Sizes of a small decoder for a finished model's latents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = Field(64, ge=8, description="channels of every layer")
    blocks: tuple[int, ...] = Field((2, 2), description="residual blocks of each level, the coarsest first")
    body_weight: float = Field(2.0, ge=0, description="extra weight of the person's pixels")
    latent_noise: float = Field(0.05, ge=0, description="as for the VAE")


class NetworkSettings(BaseModel):
    """Sizes of denoiser, appearance encoder and ControlNet trained from scratch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[int, ...] = Field((96, 128, 160), description="channels of each level, the finest first")
    heads: int = Field(4, description="attention heads at every level")
    appearance: Literal["encoder", "global"] = Field(
        "encoder", description="global: one embedding of the whole picture instead of the appearance encoder"
    )
    text_width: int = Field(8, description="width of the empty prompt's single token")
    control_channels: tuple[int, ...] = Field(
        (48, 64), description="condition embedding; n entries shrink 2**(n-1) times"
    )
    positions: int = Field(32, description="longest window the temporal layers can take")


class GeneratorSettings(BaseModel):
    """The adversarial baseline: sizes of its generator, and the weight of its discriminator."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int = Field(4, description="space-to-depth factor of the pictures")
    channels: tuple[int, ...] = Field((64, 96, 128), description="channels of each level, the finest first")
    adversarial: float = Field(0.2, ge=0, description="weight of the discriminator's judgement")


class TrainSettings(BaseModel):
    """One run of one stage. Paths are relative to the working directory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["vae", "appearance", "temporal", "distill", "detail", "decoder", "gan", "standin"] = Field(
        description="what is trained"
    )
    out: Path = Field(description="folder of the run: checkpoint, log, grids, and at the end the result")
    data: Path = Field(description="training data set (magicanimate synth)")
    held_out: Path = Field(description="data set of people that are not in the training data")
    images: Path | None = Field(None, description="still pictures for joint training; default: frames of the videos")
    loop: LoopSettings
    vae: VaeSettings | None = None
    vae_folder: Path | None = Field(
        None,
        description="appearance: the trained VAE (diffusers format); with start, instead of the model's, perhaps with "
        "further latent channels",
    )
    model: ModelConfig | None = Field(None, description="appearance: model.json of the model to be trained")
    networks: NetworkSettings | None = None
    generator: GeneratorSettings | None = Field(None, description="gan: the adversarial baseline")
    start: Path | None = Field(
        None,
        description="model folder that training starts from: temporal: of stage 1; distill: the teacher; detail, "
        "decoder: a finished one; appearance: any, instead of vae_folder, model and networks",
    )
    initial: InitialWeights | None = Field(
        None, description="appearance: pretrained weights of the original's size, instead of vae_folder and networks"
    )
    control: ControlKind | None = Field(
        None, description="with start: train a ControlNet of this kind for it, where it has another"
    )
    warp_input: bool = Field(
        False, description="with start: give its ControlNet the warped picture too, where it does without"
    )
    noise: NoiseMode | None = Field(
        None, description="with start: the noise of its frames from here on, in training too"
    )
    lora: LoraSettings | None = Field(
        None, description="appearance, with start: train low-rank changes of denoiser and appearance encoder instead"
    )
    branches: BranchSettings | None = None
    distill: DistillSettings | None = None
    detail: DetailSettings | None = None
    decoder: DecoderSettings | None = None
    views: ViewSettings = Field(default_factory=ViewSettings, description="mirrored and cropped copies")
    preview: dict[str, Any] = Field(default_factory=dict, description="SampleSettings of the sample grids")
    preview_people: int = Field(8, description="held-out people or clips of the sample grids")

    @model_validator(mode="after")
    def _complete(self) -> "TrainSettings":
        fresh = ("model",) if self.initial else ("vae_folder", "model", "networks")
        needs = {
            "vae": ("vae",),
            "appearance": ("branches",) if self.start else (*fresh, "branches"),
            "temporal": ("start", "branches"),
            "distill": ("start", "branches", "distill"),
            "detail": ("start", "detail"),
            "decoder": ("start", "decoder"),
            "gan": ("generator",),
            "standin": (),
        }[self.stage]
        missing = [name for name in needs if getattr(self, name) is None]
        if missing:
            raise ValueError(f"stage {self.stage} needs {', '.join(missing)}")
        sources = [name for name in ("start", "initial", "networks") if getattr(self, name) is not None]
        if len(sources) > 1:
            raise ValueError(f"only one of {' and '.join(sources)} can say where the networks come from")
        if self.lora and (self.stage != "appearance" or not self.start):
            raise ValueError("lora changes a finished model: it needs stage appearance and start")
        if self.noise and not self.start:
            raise ValueError("noise changes the model that training starts from; without start set model.noise")
        if self.vae_folder and self.stage != "appearance":
            raise ValueError(f"stage {self.stage} has the VAE of the model that it starts from, not vae_folder")
        if self.vae and self.vae.further_channels and self.vae.start is None:
            raise ValueError("vae.further_channels are further than those of vae.start, which is missing")
        if self.loop.frozen != "float32" and self.stage not in ("appearance", "temporal", "distill"):
            raise ValueError(f"stage {self.stage} keeps nothing in loop.frozen: {self.loop.frozen}")
        if self.branches and self.branches.stage != self.stage:
            raise ValueError(f"branches.stage must be {self.stage}")
        return self


def _read_yaml(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a configuration with what it extends filled in. Raises InputError."""
    if path.resolve() in below:
        raise InputError(f"The configuration {path} extends itself; name another file in extends.")
    content = read_yaml_mapping(path, "The configuration")
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str) or not base:
        raise InputError(f"extends in {path} must be the name of one configuration.")
    return _merged(_read_yaml(path.parent / base, (*below, path.resolve())), content)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the base with the changes, mappings merged key by key."""
    both = {key: (base[key], value) for key, value in changes.items() if key in base}
    deeper = {key: _merged(a, b) for key, (a, b) in both.items() if isinstance(a, dict) and isinstance(b, dict)}
    return base | changes | deeper


def read_settings(path: Path, overrides: list[str] | None = None) -> TrainSettings:
    """Read a YAML file; `overrides` are "loop.steps=100" and the like. Raises InputError that says what is wrong.

    A file may say `extends: other.yaml` (beside it): it then only has what is different.
    """
    content = _read_yaml(path)
    for item in overrides or []:
        key, separator, value = item.partition("=")
        if not separator:
            raise InputError(f"The override {item!r} is not of the form key=value.")
        *parents, last = key.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise InputError(f"The override {item!r} goes into {parent}, which holds a value and no settings.")
        try:
            place[last] = parse_yaml(value)
        except ValueError as error:
            raise InputError(f"The override {item!r} has no value that can be read ({error}).") from error
    try:
        return TrainSettings.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())
        raise InputError(f"The configuration {path} is not valid: {problems}.") from error
