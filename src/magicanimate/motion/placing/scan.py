"""One look through a whole motion before it is aligned.

Shape legend: F frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from magicanimate.motion.placing.edges import EDGE
from magicanimate.motion.report import count_heads
from magicanimate.parts.skeleton import JOINT, Skeleton, measure_skeleton

_EVERY = 8  # frames of which heads are counted
_OFTEN = 0.3  # of the frames with a body that reach an edge


@dataclass(frozen=True)
class Survey:
    """Summary of a motion over its whole length."""

    skeleton: Skeleton
    people: int
    """Heads in a typical frame."""
    cut_top: bool
    """The body often runs out of the clip at the top."""
    cut_bottom: bool
    feet: float
    """Share of the frames in which an ankle is seen."""


def survey(maps: Iterable[np.ndarray]) -> Survey | None:
    """Look through part maps [H, W], holding one at a time; None if none shows anybody."""
    heads: list[int] = []
    edges: list[tuple[bool, bool]] = []

    def watched() -> Iterator[np.ndarray]:
        for index, parts_HW in enumerate(maps):
            if index % _EVERY == 0:
                heads.append(count_heads(parts_HW))
            if parts_HW.any():
                margin = max(1, round(EDGE * parts_HW.shape[0]))
                edges.append((bool(parts_HW[:margin].any()), bool(parts_HW[-margin:].any())))
            yield parts_HW

    skeleton = measure_skeleton(watched())
    if not edges:
        return None
    cut_top, cut_bottom = np.mean(edges, axis=0) > _OFTEN
    ankles = skeleton.joints_FJ2[:, [JOINT["ankle.L"], JOINT["ankle.R"]], 0]
    return Survey(
        skeleton, int(np.median(heads)), bool(cut_top), bool(cut_bottom), float((~np.isnan(ankles)).any(1).mean())
    )
