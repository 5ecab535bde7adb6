"""An evaluation: videos come one at a time, and at the end there is a result.

    evaluation = Evaluation(networks=[...])
    for name, output, target in videos:
        evaluation.add(name, output, target)
    result = evaluation.result()

Memory does not grow with the number of videos: their features lie on disk.

Shape legend: F frames, H W pixels.
"""

from __future__ import annotations

import math
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from magicanimate.errors import InputError
from magicanimate.evaluate.catalog import BLOCKS, catalog
from magicanimate.evaluate.feature_cache import FeatureSpool, count_windows
from magicanimate.evaluate.interfaces import FeatureNetwork, PackagedNetwork, PerceptualNetwork
from magicanimate.evaluate.intervals import weighted_mean
from magicanimate.evaluate.measure import VideoPair, as_protocol, check_video, measure
from magicanimate.evaluate.pooling import pool_distance, pool_means
from magicanimate.evaluate.result import Figure, LeftOut, NetworkNote, Result, VideoRow
from magicanimate.progress import Progress


class EvaluationSettings(BaseModel):
    """The protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int | None = Field(default=256, ge=16, le=4096)
    """Side in pixels of the center square that is compared; None: frames as they are."""
    reference: Literal["first", "none"] = "first"
    """first: the first frame was given to the method, so it is not counted; none: all frames are."""
    short_videos: Literal["refuse", "leave out"] = "leave out"
    """Treatment of videos with fewer frames than a network's window."""
    resamples: int = Field(default=2000, ge=100)
    """Resamples of the bootstrap."""
    seed: int = 0
    """Seed of the bootstrap."""


class Evaluation:
    """Figures of many videos under one protocol."""

    def __init__(
        self,
        networks: Sequence[FeatureNetwork] = (),
        perceptual: Sequence[PerceptualNetwork] = (),
        settings: EvaluationSettings | None = None,
        spool: Path | None = None,
        packaged: Sequence[PackagedNetwork] = (),
    ) -> None:
        """Start one.

        Args:
            networks: for Frechet distances, each under the name that its `metric` says.
            perceptual: for LPIPS.
            settings: the protocol.
            spool: folder for features, where they are found again in later evaluations of the same frames (targets,
                mostly); default: a temporary folder, which goes with this object.
            packaged: for faces and ImageNet features, see evaluate/packaged.py.
        """
        self.settings = settings or EvaluationSettings()
        self.rows: list[VideoRow] = []
        self.notes: list[str] = []
        self._networks, self._perceptual, self._packaged = list(networks), list(perceptual), list(packaged)
        shown = [network.metric for network in networks] + [network.name for network in perceptual]
        if len(set(shown)) < len(shown):
            raise InputError(f"Two networks print their figures under one name: {', '.join(shown)}.")
        self._metrics = catalog([n.name for n in perceptual], [n.metric for n in networks])
        self._temporary = None if spool else tempfile.TemporaryDirectory(prefix="magicanimate-features-")
        self._spool = FeatureSpool(spool or Path(self._temporary.name))  # type: ignore[union-attr]

    def add(
        self,
        name: str,
        output_FHWC: np.ndarray,
        target_FHWC: np.ndarray,
        parts_FHW: np.ndarray | None = None,
        found_FHW: np.ndarray | None = None,
        group: str | None = None,
    ) -> VideoRow:
        """Measure a video.

        Args:
            name: of the video; each once.
            output_FHWC: [F, H, W, 3] uint8, the reference frame included (it is left out here).
            target_FHWC: the true frames, of the same shape.
            parts_FHW: part maps [F, H, W] in 0..24 of the target: the control.
            found_FHW: part maps that an extractor found in the output.
            group: who is seen: intervals are over groups first. Default: every video is a group of its own.

        Raises:
            InputError: shapes differ, a frame is not finite, or a video is too short for a window (and is not to be
                left out).
        """
        if any(row.name == name for row in self.rows):
            raise InputError(f"The video {name} was added twice; give every video its own name.")
        video = VideoPair(output_FHWC, target_FHWC, parts_FHW, found_FHW)
        check_video(name, video)
        skip = 1 if self.settings.reference == "first" else 0
        if len(video) <= skip:
            raise InputError(f"{name} has {len(video)} frames, so none is left to compare beside the reference.")
        video = as_protocol(video, self.settings.size, skip)
        used = [network for network in self._networks if self._long_enough(name, len(video), network)]
        values, part_errors = measure(video, self._perceptual, self._packaged)
        sides = (video.output_FHWC, video.target_FHWC)
        features = {n.metric: (self._spool.compute(n, sides[0]), self._spool.compute(n, sides[1])) for n in used}
        height, width = video.output_FHWC.shape[1:3]
        row = VideoRow(
            name=name, group=group or name, frames=len(video), size=(height, width), part_errors=part_errors,
            values={key: value if math.isfinite(value) else None for key, value in values.items()}, features=features,
        )  # fmt: skip
        self.rows.append(row)
        return row

    def restore(self, row: VideoRow) -> bool:
        """Take a row that was measured before; False if its features are no longer there."""
        if not all(self._spool.has(key) for keys in row.features.values() for key in keys):
            return False
        self.rows.append(row)
        return True

    def result(self, progress: Progress | None = None) -> Result:
        """Pool what was added.

        Raises:
            InputError: nothing was added, or at different resolutions.
        """
        if not self.rows:
            raise InputError("Nothing was evaluated; add at least one video.")
        sizes = {row.size for row in self.rows}
        if len(sizes) > 1:
            raise InputError("The videos have different resolutions; set a size, so that all are compared at one.")
        figures = pool_means(self.rows, self._metrics, self.settings.resamples, self.settings.seed)
        left_out: dict[str, LeftOut] = {}
        for network in self._networks:
            pooled = pool_distance(self.rows, network, self._metrics[network.metric], self._spool, progress)
            if pooled:
                figures[network.metric], left_out[network.metric] = pooled
        return Result(
            settings=self.settings.model_dump(), videos=len(self.rows), frames=sum(row.frames for row in self.rows),
            size=self.rows[0].size, groups=len({row.group for row in self.rows}), blocks=self._blocks(figures),
            rows=self.rows, part_errors=_pool_parts(self.rows), networks=self._described(), left_out=left_out,
            notes=self._remarks(figures), versions=versions(),
        )  # fmt: skip

    def _long_enough(self, name: str, frames: int, network: FeatureNetwork) -> bool:
        if count_windows(frames, network.window):
            return True
        if self.settings.short_videos == "refuse":
            raise InputError(
                f"{name} has {frames} frames to compare, fewer than a window of {network.window}, so {network.metric} "
                "cannot be measured; leave it or the video out."
            )
        return False

    def _blocks(self, figures: dict[str, Figure]) -> dict[str, dict[str, Figure]]:
        return {
            block: {m.name: figures[m.name] for m in self._metrics.values() if block in m.blocks and m.name in figures}
            for block in BLOCKS
        }

    def _described(self) -> list[NetworkNote]:
        distances = [
            NetworkNote(
                metric=n.metric, name=n.name, sha256=n.sha256, dimensions=n.dimensions, window=n.window,
                recognized=getattr(n, "recognized", None),
            )
            for n in self._networks
        ]  # fmt: skip
        perceptual = [
            NetworkNote(metric=n.name, name=n.name, sha256=n.sha256, recognized=getattr(n, "recognized", None))
            for n in self._perceptual
        ]
        packaged = [NetworkNote(metric=m, name=n.name, sha256=n.sha256) for n in self._packaged for m in n.metrics]
        return distances + perceptual + packaged

    def _remarks(self, figures: dict[str, Figure]) -> list[str]:
        """Return notes, and a sentence on each distance that does not rest on all videos, or on few windows."""
        remarks = list(dict.fromkeys([*self.notes, *(note for row in self.rows for note in row.notes)]))
        for note in self._described():
            if note.recognized == "":
                remarks.append(f"The weights of {note.name} are none of the published files that this version knows.")
        for network in self._networks:
            short = [row.name for row in self.rows if network.metric not in row.features]
            if len(short) == len(self.rows):
                remarks.append(f"{network.metric} is left out: no video has {network.window} frames to compare.")
                continue
            if short:
                remarks.append(
                    f"{network.metric} leaves out {len(short)} of {len(self.rows)} videos, which are shorter than a "
                    f"window of {network.window} frames."
                )
            windows = figures[network.metric].windows or 0
            if windows <= network.dimensions:
                remarks.append(
                    f"{network.metric} rests on {windows} windows of {network.dimensions} features: with so few, it is "
                    "far above its value for many, and comparable only at the same number."
                )
        return remarks


def _pool_parts(rows: list[VideoRow]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row.part_errors)
    frames_V = np.array([row.frames for row in rows], np.float64)
    errors = {name: np.array([row.part_errors.get(name, np.nan) for row in rows]) for name in names}
    return {name: weighted_mean(values_V, frames_V) for name, values_V in errors.items()}


def versions() -> dict[str, str]:
    """Return the versions of this package and of the libraries that compute the figures, as far as installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("magicanimate", "numpy", "scipy", "scikit-image", "opencv-python-headless", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
