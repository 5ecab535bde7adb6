"""ControlNet's residuals by frame: computed once per step, kept while a later window needs them.

Legend: B samples, F frames of the video, K frames of a window, c latent channels, D width, h w latent size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from einops import rearrange
from torch import Tensor

from magicanimate.engine.device import to_model
from magicanimate.networks.control import ConditionFeatures, Residuals, control_residuals
from magicanimate.sampling.control_features import together
from magicanimate.sampling.inputs import Conditions
from magicanimate.sampling.reuse import StepPlan
from magicanimate.sampling.windows import Window, frame_groups, frames_needed_later

if TYPE_CHECKING:
    from magicanimate.models.model import Model


class FrameResiduals:
    """The residuals of one step.

    Frames go through ControlNet in the same groups whichever process computes their window, so that their residuals
    do not differ in the last bit.
    """

    def __init__(
        self, model: Model, conditions: Conditions, windows: list[Window], scale: float, plan: StepPlan
    ) -> None:
        self._model, self._conditions, self._scale, self._plan = model, conditions, scale, plan
        self._windows, self._group_of, self._needed = windows, frame_groups(windows), frames_needed_later(windows)
        self._held: dict[int, tuple[Tensor, ...]] = {}  # frame -> levels, each [B, D, h, w]

    def window(self, latents_BcFhw: Tensor, time: Tensor, index: int) -> Residuals:
        """Return residuals of one window with B*K rows, sample first; without the middle in a shallow step."""
        window = self._windows[index]
        for group in dict.fromkeys(self._group_of[frame] for frame in window if frame not in self._held):
            levels = self._compute(latents_BcFhw, time, list(group))
            self._held |= {frame: tuple(x[:, i] for x in levels) for i, frame in enumerate(group)}
        per_level = zip(*(self._held[frame] for frame in window), strict=True)
        levels = tuple(together(level) for level in per_level)
        # Copied, so that the tensors of the others can be freed
        needed = self._needed[index]
        self._held = {frame: tuple(x.clone() for x in every) for frame, every in self._held.items() if frame in needed}
        return Residuals(levels, None) if self._plan.shallow else Residuals(levels[:-1], levels[-1])

    def _compute(self, latents_BcFhw: Tensor, time: Tensor, frames: list[int]) -> tuple[Tensor, ...]:
        """Return residuals of some frames, `[B, frames, ...]` each: skips, then the middle unless shallow."""
        model, plan = self._model, self._plan
        # Compiled networks are compiled again for every number of rows, so that there should be few of them
        missing = -len(frames) % model.compute.control_bucket
        rows = frames + frames[-1:] * missing
        residuals = model.compute(
            control_residuals,
            model.control,
            to_model(rearrange(latents_BcFhw[:, :, rows], "b c f h w -> (b f) c h w"), model),
            ConditionFeatures(self._conditions.features(rows)),
            time,
            self._conditions.prompts.control,
            self._scale,
            model.config.coordinates,
            plan.layers if plan.shallow else None,
        )
        levels = residuals.down if residuals.mid is None else (*residuals.down, residuals.mid)
        return tuple(level.unflatten(0, (latents_BcFhw.shape[0], len(rows))) for level in levels)
