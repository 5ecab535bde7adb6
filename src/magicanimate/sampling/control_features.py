"""The motion signal as the denoising loop asks for it: a few frames at a time, whatever the video's length.

Legend: B samples, F frames of the video, K some of them, P control planes, D width, h w latents, h' w' planes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from magicanimate.engine.device import to_device
from magicanimate.networks.control import embed_control

if TYPE_CHECKING:
    from magicanimate.models.model import Model

HELD_BYTES = 2**29
"""Bytes of condition features kept on the host; those of further frames are computed again in each step."""
HELD_ON_GPU = 2**28
"""Bytes of features that are kept on a GPU; from the host they would travel in each step."""


class ControlSource(NamedTuple):
    """Control planes of any number of frames. planes: frame numbers -> `[B, K, P, h', w']`."""

    batch: int
    frames: int
    planes: Callable[[list[int]], Tensor]

    @classmethod
    def of(cls, control: Tensor | ControlSource) -> ControlSource:
        """Make a source of planes `[F, P, h', w']` or, with a batch of videos, `[B, F, P, h', w']`."""
        if isinstance(control, ControlSource):
            return control
        control_BFPhw = control if control.ndim == 5 else control[None]
        return cls(control_BFPhw.shape[0], control_BFPhw.shape[1], lambda frames: control_BFPhw[:, frames])


class FrameFeatures:
    """ControlNet's condition embedding by frame. It depends on neither noise nor timestep, so it is computed once for
    as many frames as `held_bytes` have room for, and for the others when it is asked for."""

    def __init__(self, model: Model, control: ControlSource, held_bytes: int = HELD_BYTES) -> None:
        self._model, self._control, self._room = model, control, held_bytes
        self._room_on_gpu = HELD_ON_GPU if model.device.type == "cuda" else 0
        self._held: dict[int, Tensor] = {}  # frame -> [B, D, h, w] on the host or on the GPU

    def __call__(self, frames: list[int]) -> Tensor:
        """Return features `[B*K, D, h, w]` on the networks' device."""
        if any(frame not in self._held for frame in frames):
            return self._compute(frames)
        held = [self._held[frame] for frame in frames]
        if len({x.device for x in held}) > 1:
            held = [to_device(x, self._model.device, x.dtype) for x in held]
        return to_device(together(tuple(held)), self._model.device, held[0].dtype)

    def hold(self, frames: list[int]) -> None:
        """Compute and keep the features of some frames, unless there is no room for more."""
        if not frames or self._room <= 0:
            return
        features = self._compute(frames)
        if features.nbytes <= self._room_on_gpu:
            self._room_on_gpu -= features.nbytes
        else:
            self._room -= features.nbytes
            features = features.cpu()
        by_frame = features.unflatten(0, (self._control.batch, len(frames))).unbind(1)
        self._held |= dict(zip(frames, by_frame, strict=True))

    def _compute(self, frames: list[int]) -> Tensor:
        planes_NPhw = self._control.planes(frames).flatten(0, 1)
        on_device = to_device(planes_NPhw, self._model.device, self._model.dtype)
        return embed_control(self._model.control, on_device).features


def together(frames: tuple[Tensor, ...]) -> Tensor:
    """Stack K tensors `[B, D, h, w]` as `[B*K, D, h, w]`, sample first; a single sample's without another copy, in the
    format that they have."""
    return rearrange(torch.cat(frames), "(k b) d h w -> (b k) d h w", k=len(frames))
