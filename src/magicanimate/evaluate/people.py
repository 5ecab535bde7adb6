"""Figures of the person: colors of body parts against the target's, and the pose against the control.

Shape legend: F frames, H W pixels, P parts. Frames are [F, H, W, 3] uint8, part maps [F, H, W] uint8 in 0..24.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magicanimate.evaluate.basic import SMALLEST_PART

_PARTS = 25


@dataclass(frozen=True)
class PartColors:
    """Differences of the mean color of each body part from the target's, in gray levels of 255."""

    errors_P: np.ndarray
    """[25] mean over frames of the absolute difference; NaN for parts that are never seen."""
    drifts_P: np.ndarray
    """[25] standard deviation over frames of the signed difference; NaN for parts seen in fewer than two frames."""


def part_colors(output_FHWC: np.ndarray, target_FHWC: np.ndarray, parts_FHW: np.ndarray) -> PartColors:
    """Compare each part's mean color in every frame that shows enough of it (SMALLEST_PART, scaled to the size).

    The error tells whether clothes and skin keep the identity's colors, the drift whether they keep them over time:
    what the light does to the target is taken out of it.
    """
    least = SMALLEST_PART * parts_FHW[0].size / 256**2
    differences_FPC = np.full((len(parts_FHW), _PARTS, 3), np.nan)
    for t, parts_HW in enumerate(parts_FHW):
        counts_P = np.bincount(parts_HW.reshape(-1), minlength=_PARTS)[:_PARTS]
        judged = counts_P >= least
        judged[0] = False
        step = output_FHWC[t].astype(np.float64) - target_FHWC[t]
        for channel in range(3):
            sums_P = np.bincount(parts_HW.reshape(-1), step[..., channel].reshape(-1), _PARTS)[:_PARTS]
            differences_FPC[t, judged, channel] = sums_P[judged] / counts_P[judged]
    seen_FP = ~np.isnan(differences_FPC[..., 0])
    errors_P, drifts_P = np.full(_PARTS, np.nan), np.full(_PARTS, np.nan)
    for part in np.flatnonzero(seen_FP.any(0)):
        shown_FC = differences_FPC[seen_FP[:, part], part]
        errors_P[part] = np.abs(shown_FC).mean()
        if len(shown_FC) > 1:
            drifts_P[part] = np.sqrt(shown_FC.var(0).mean())
    return PartColors(errors_P, drifts_P)


def pose_overlap(found_FHW: np.ndarray, parts_FHW: np.ndarray) -> tuple[float, float]:
    """Compare the parts found in an output with those asked for: intersection over union (mean over parts, silhouette).

    Pixels of all frames are counted together. A part counts if the control shows enough of it, on average, or if it
    was found and is not in the control at all. NaN if there is nobody on either side.
    """
    pairs = np.bincount((parts_FHW.astype(np.int64) * _PARTS + found_FHW).reshape(-1), minlength=_PARTS**2).reshape(
        _PARTS, _PARTS
    )  # [asked for, found]
    both_P = np.diag(pairs)
    asked_P, found_P = pairs.sum(1), pairs.sum(0)
    least = SMALLEST_PART / 256**2 * parts_FHW.size
    counted = np.maximum(asked_P, np.where(asked_P == 0, found_P, 0)) >= least
    counted[0] = False
    union_P = asked_P + found_P - both_P
    mean = float((both_P[counted] / union_P[counted]).mean()) if counted.any() else float("nan")
    either = pairs.sum() - pairs[0, 0]
    silhouette = float(pairs[1:, 1:].sum() / either) if either else float("nan")
    return mean, silhouette
