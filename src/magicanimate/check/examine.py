"""The input doctor: what would go wrong with a picture and a motion, why, and what to do about it.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from magicanimate.animation.inputs import as_picture
from magicanimate.animation.job import Job, prepare_job
from magicanimate.animation.settings import AnimateSettings, make_settings
from magicanimate.check.estimate import Estimate, Work, count_weights, estimate, estimate_drawing
from magicanimate.check.findings import Finding, find
from magicanimate.check.measure import measure
from magicanimate.check.sheet import draw_sheet
from magicanimate.models.config import ModelConfig
from magicanimate.models.description import DETAIL
from magicanimate.models.locations import named_models
from magicanimate.progress import Progress

__all__ = ["Examination", "Finding", "examine", "examine_job"]

_FACTOR = 8  # pixels per latent; only the invisible margin of the canvas depends on it


@dataclass(frozen=True)
class Examination:
    """Findings about a picture and a motion."""

    findings: list[Finding]
    sheet_HWC: np.ndarray
    """The contact sheet, uint8 RGB."""
    frames: int
    fps: float
    seconds: float | None
    """Estimated time of `animate`; None if the model's files are not here."""
    memory: int | None
    """Estimated bytes, likewise."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the sheet, for JSON."""
        facts = {"frames": self.frames, "fps": self.fps, "seconds": self.seconds, "memory": self.memory}
        return facts | {"findings": [asdict(finding) for finding in self.findings]}


def examine(
    image: Any,
    motion: Any,
    *,
    config: ModelConfig,
    settings: AnimateSettings | Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Examination:
    """Look at both inputs as `animate` would use them, without computing anything.

    Args:
        image, motion: as for the pipeline.
        config: the model's description.
        settings: of the animation.
        device: cpu or cuda, for the estimates.
        progress: told (stage, done, total).

    Raises:
        InputError: an input that cannot be used at all, or bad settings.
    """
    if not isinstance(settings, AnimateSettings):
        settings = make_settings(**(settings or {}))
    image_HWC = as_picture(image)
    folder = named_models().get(config.name)
    mends = folder is not None and (folder / DETAIL).is_dir()
    job = prepare_job(
        config, _FACTOR, image_HWC, motion, settings, progress, draws=config.warp_input or mends, mends=mends
    )
    findings = examine_job(job, config, (image_HWC.shape[0], image_HWC.shape[1]))
    needed = _estimate(job, config, device)
    if needed:
        text = f"About {_time(needed.seconds)} and {needed.memory / 1e9:.1f} GB on this kind of machine ({device})."
        findings.append(Finding("ok", "cost", text))
    return Examination(
        findings,
        draw_sheet(job),
        len(job),
        job.fps,
        needed.seconds if needed else None,
        needed.memory if needed else None,
    )


def examine_job(job: Job, config: ModelConfig, picture: tuple[int, int]) -> list[Finding]:
    """Return the findings about a prepared job; `picture` is the given picture's (height, width)."""
    return find(job, measure(job.signal.parts_FHW), config, picture)


def _estimate(job: Job, config: ModelConfig, device: str) -> Estimate | None:
    folder = named_models().get(config.name)
    weights = count_weights(folder) if folder else None
    if weights is None:
        return None
    if job.drawn_alone:
        return estimate_drawing(len(job), job.size[0] * job.size[1])
    pixels = job.frame.canvas[0] * job.frame.canvas[1]
    work = Work(
        frames=len(job), positions=pixels // (_FACTOR * config.patch) ** 2, pixels=pixels, steps=job.settings.steps,
        guided=job.settings.guidance != 1, window=job.settings.window, overlap=job.settings.overlap,
    )  # fmt: skip
    return estimate(weights, work, device)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
