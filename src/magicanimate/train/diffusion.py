"""Stage 1 (appearance encoder, ControlNet and, if it is trained too, the denoiser) and stage 2 (temporal layers).

Joint image-video training (reference.md section 1). Stage 1: with probability tau_0 a still image reconstructs itself,
else another frame of the video is the target. Stage 2, by r ~ U(0,1): r <= tau_1 a still image, r <= tau_2 one other
frame, else a clip of K frames.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from magicanimate.models.model import Model
from magicanimate.train.batches import Prefetched, moved
from magicanimate.train.cache import LatentCache
from magicanimate.train.data import in_turn
from magicanimate.train.forward import predict_noisy
from magicanimate.train.lora import MARK
from magicanimate.train.objective import Objective, cell_weight, offset_noise, sampling_noise
from magicanimate.train.preview import Preview


class BranchSettings(BaseModel):
    """Settings of the samples that a stage shows the networks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["appearance", "temporal", "distill"]
    tau_0: float = Field(0.1, ge=0, le=1, description="stage 1: share of samples that reconstruct the reference")
    tau_1: float = Field(0.1, ge=0, le=1, description="stage 2: r up to tau_1 reconstructs a still image")
    tau_2: float = Field(0.3, ge=0, le=1, description="stage 2: r up to tau_2 takes one other frame, above it a clip")
    targets: int = Field(3, ge=1, description="stage 1: frames that share one reference")
    window: int = Field(8, ge=1, description="stages 2 and 3: frames of a clip (K); stage 3 with 1: as stage 1")
    min_gap: float = Field(0.0, ge=0, description="seconds between reference and targets, where the clip is so long")
    person_weight: float = Field(1.0, ge=0, description="extra weight of the loss where the person is")
    unknown_weight: float = Field(
        0.0, ge=0, description="extra weight of the loss where the warped picture knows nothing, for models shown it"
    )
    noise_bias: float = Field(0.0, ge=0, description="0: timesteps uniform; b: their density rises as t**b")
    noise_offset: float = Field(0.0, ge=0, description="spread of a common shift of each channel's noise")
    snr_gamma: float | None = Field(None, gt=0, description="min-SNR-gamma weighting of the timesteps")
    drop_reference: float = Field(0.1, ge=0, lt=1, description="share of samples without reference, for guidance")
    drop_warp: float = Field(
        0.1, ge=0, le=1, description="share of samples without the warped picture, where the model is shown it"
    )
    wrong_warp: float = Field(
        0.2, ge=0, le=1, description="share of samples whose reference's part map has errors, as found ones have"
    )
    control_only: bool = Field(False, description="stage 1: train the ControlNet alone, for a model that is complete")
    embedding_only: bool = Field(
        False, description="with control_only: only its condition embedding, which is all that kinds need to differ in"
    )
    in_turn: bool = Field(
        False, description="single frames: all clips once, in random order, before any comes again; else drawn freely"
    )
    train_denoiser: bool = Field(True, description="stage 1: False leaves a pretrained denoiser as it is")

    @model_validator(mode="after")
    def _turns(self) -> "BranchSettings":
        if self.in_turn and not self.single_frames:
            raise ValueError("in_turn is for stages of single frames")
        return self

    @property
    def clip_frames(self) -> int:
        """Frames of one training sample's clip; 1: single frames without temporal layers."""
        return 1 if self.stage == "appearance" else self.window

    @property
    def single_frames(self) -> bool:
        return self.clip_frames == 1 and self.stage != "temporal"


@dataclass(frozen=True)
class Batch:
    """clips [B]; frames [B]; targets [B,K]; what was drawn, for the log. images: clips are those of the image data."""

    clips: np.ndarray
    references: np.ndarray
    targets: np.ndarray
    temporal: bool
    branch: str
    images: bool = False


def draw_batch(
    rng: np.random.Generator,
    settings: BranchSettings,
    data: LatentCache,
    count: int,
    images: LatentCache | None = None,
    turn: int = 0,
) -> Batch:
    """Choose clips, references and targets. In stage 2 one branch holds for the whole batch: lengths differ.

    turn: the batch's number in the whole run, for clips that come in turn.
    images: still pictures for the image branches; without them, those are frames of the videos. With them, one branch
    holds for the whole batch in stage 1 too.
    """
    if images and rng.random() <= (settings.tau_0 if settings.single_frames else settings.tau_1):
        many = count * (settings.targets if settings.single_frames else settings.window)
        frames = rng.integers(images.frames, size=many)
        clips = rng.integers(len(images), size=many)
        return Batch(clips, frames, frames[:, None], not settings.single_frames, "image", images=True)
    clips = in_turn(turn * count, count, len(data)) if settings.in_turn else rng.integers(len(data), size=count)
    if settings.single_frames:
        order = rng.permuted(np.tile(np.arange(data.frames), (count, 1)), axis=1)
        if settings.min_gap:
            apart = data.distances(clips, order[:, :1])
            order = np.concatenate([order[:, :1], _far_first(rng, apart, settings.min_gap)], 1)
        targets = order[:, 1 : 1 + settings.targets]
        same = rng.random(count) < (0 if images else settings.tau_0)
        targets[:, 0] = np.where(same, order[:, 0], targets[:, 0])
        return Batch(clips, order[:, 0], targets, False, "joint")
    r = rng.uniform(settings.tau_1, 1) if images else rng.random()
    if r <= settings.tau_2:  # images: as many as a clip has frames, so that every step costs the same
        clips = rng.integers(len(data), size=count * settings.window)
        targets = rng.integers(1, data.frames, size=(len(clips), 1))
        still = r <= settings.tau_1
        references = targets[:, 0] if still else _references(rng, settings, data, clips, targets)
        return Batch(clips, references, targets, True, "image" if still else "pair")
    first = data.first_of_run if settings.min_gap else 1
    start = rng.integers(first, data.frames - settings.window + 1, size=(count, 1))
    targets = start + np.arange(settings.window)
    return Batch(clips, _references(rng, settings, data, clips, targets), targets, True, "clip")


def _references(
    rng: np.random.Generator, settings: BranchSettings, data: LatentCache, clips: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Return references of stage 2: frame 0, or with a gap any frame that is so far from all targets. [B]."""
    if not settings.min_gap:
        return np.zeros(len(clips), int)
    return _far_first(rng, data.distances(clips, targets), settings.min_gap)[:, 0]


def _far_first(rng: np.random.Generator, apart_BF: np.ndarray, gap: float) -> np.ndarray:
    """Shuffle each clip's frames, those nearer than the gap at the end, the nearest ones last. [B,F]."""
    key = np.where(apart_BF >= gap, rng.random(apart_BF.shape), 2 - apart_BF / gap)
    return key.argsort(axis=1, kind="stable")


@dataclass
class SampleSource:
    """Source of batches: the videos, and the still pictures if there are any; and which batch is next."""

    videos: LatentCache
    images: LatentCache | None = None
    turn: int = 0

    def draw(self, rng: np.random.Generator, settings: BranchSettings, count: int) -> Batch:
        return draw_batch(rng, settings, self.videos, count, self.images, self.turn)

    def of(self, drawn: Batch) -> LatentCache:
        return self.images if drawn.images and self.images else self.videos

    def sample(self, rng: np.random.Generator, settings: BranchSettings, count: int) -> "Sample":
        """Return a batch on the host; what its warps lack, and `chance`, are drawn from rng too."""
        drawn = self.draw(rng, settings, count)
        data, host = self.of(drawn), torch.device("cpu")
        clean, motion = data.take(drawn.clips, drawn.targets, host)
        planes = motion
        if data.small is not None:
            warps = data.small.warps(
                rng, drawn.clips, drawn.references, drawn.targets, settings.drop_warp, settings.wrong_warp
            )
            planes = torch.cat([motion, warps], 1)
        reference = data.take(drawn.clips, drawn.references[:, None], host)[0][:, :, 0]
        chance = torch.from_numpy(rng.random(len(clean)))
        return Sample(clean, motion, planes, reference, chance, drawn.temporal, drawn.branch)

    def clips(self, rng: np.random.Generator, settings: BranchSettings, count: int) -> list[str]:
        """Return names of the clips that `draw` chooses with the same random numbers."""
        drawn = self.draw(rng, settings, count)
        return [f"image {name}" if drawn.images else name for name in map(self.of(drawn).name, np.unique(drawn.clips))]


class Sample(NamedTuple):
    """A batch's frames."""

    clean: Tensor
    """Targets [B,c,K,h,w]."""
    motion: Tensor
    """The motion's control planes [B*K,P,h',w']."""
    planes: Tensor
    """Control planes: the motion's, then those of the warped picture, if any, the last of which is its known share."""
    reference: Tensor
    """[B,c,h,w]."""
    chance: Tensor
    """One draw from [0, 1) for each sample, for the stage's own use. [B]."""
    temporal: bool
    branch: str


class DiffusionStage(Prefetched):
    """Loss and sample grid of a diffusion stage; the loop does the rest."""

    def __init__(
        self,
        model: Model,
        data: LatentCache,
        settings: BranchSettings,
        preview: Preview,
        device: torch.device,
        images: LatentCache | None = None,
    ) -> None:
        self._model, self._settings, self._preview, self._device = model, settings, preview, device
        self._source = SampleSource(data, images)
        self._objective = Objective(model.config.scheduler, device)
        names = ("denoiser", "appearance", "control")
        self.modules: dict[str, nn.Module] = {name: model.networks[name] for name in names}
        for module in model.networks.values():
            module.requires_grad_(False)
        for _, parameter in self.trainable():
            parameter.requires_grad_(True)

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        temporal = self._settings.stage == "temporal"
        every = [(f"{name}.{key}", p) for name, module in self.modules.items() for key, p in module.named_parameters()]
        changes = [(name, p) for name, p in every if MARK in name]
        every = [(name, p) for name, p in changes or every if (".motion_modules." in name) == temporal]
        if not temporal and not self._settings.train_denoiser:
            every = [(name, p) for name, p in every if not name.startswith("denoiser.")]
        if self._settings.control_only:
            inside = "control.controlnet_cond_embedding." if self._settings.embedding_only else "control."
            every = [(name, p) for name, p in every if name.startswith(inside)]
        return [(name, p) for name, p in every if not unreached(name, self._model.empty_prompt)]

    def clips(self, rng: np.random.Generator, batch: int) -> list[str]:
        return self._source.clips(rng, self._settings, batch)

    def turn(self, number: int) -> None:
        self._source.turn = number

    def draw(self, rng: np.random.Generator, batch: int) -> Sample:
        return self._source.sample(rng, self._settings, batch)

    def loss_of(self, drawn: Sample, generator: torch.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        settings = self._settings
        dropped = drawn.chance < settings.drop_reference
        clean, motion, planes, reference, _, _, _ = moved(drawn, self._device)
        mode = self._model.config.noise if drawn.temporal else "independent"
        noise = offset_noise(sampling_noise(clean, mode, generator), settings.noise_offset, generator)
        t = self._objective.timesteps(generator, len(clean), settings.noise_bias)
        noisy = self._objective.noisy(clean, noise, t)
        prediction = predict_noisy(self._model, noisy, t, reference, planes, drawn.temporal, dropped)
        control = self._model.config.control
        weight = cell_weight(motion, clean, settings.person_weight, control, settings.unknown_weight, planes[:, -1:])
        loss = self._objective.loss(prediction, clean, noise, t, weight, settings.snr_gamma)
        return loss, {f"n_{drawn.branch}": 1.0, "n_dropped": float(dropped.float().mean())}

    def grid(self, path: Path) -> dict[str, float]:
        return self._preview.write(path)


def unreached(name: str, prompt: Tensor) -> bool:
    """Attention over a single text token is that token's value: its queries, keys and norm get no gradient."""
    inside = any(f".{part}." in name for part in ("attn2.to_q", "attn2.to_k", "transformer_blocks.0.norm2"))
    return len(prompt) == 1 and inside and ".motion_modules." not in name
