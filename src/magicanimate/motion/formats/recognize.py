"""Recognize a clip's content from a few frames: part map in some coloring, IUV planes, depth, or pictures.

Shape legend: F frames, H W pixels, C color channels, N pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from magicanimate.motion.formats.palettes import COLORINGS, NEAR, Coloring
from magicanimate.parts.densepose import BACKGROUND

Kind = Literal["parts", "iuv", "indices", "depth", "picture", "flat", "empty"]

_EVERY, _SAMPLES, _AT_MOST = 8, 6, 1500  # every 8th frame, until 6 of them show something
_PIXELS = 20_000  # that are looked at, of all samples together
_PLAIN = 6  # levels: a frame that varies less shows nothing
_EXPLAINED = 0.6  # share of pixels that must have a coloring's colors
_BODY, _PARTS = 0.003, 3  # share of pixels, and number of parts, that a body has at least
_COLORED = 24  # spread of the channels of what is no gray
_OUTSIDE = 0.7  # share of the background that must have a color of backgrounds
_BORDER = 0.75  # of the frame's border that a body covers at most: people do not fill all four sides
_FLAT = (0.5, 0.83, 0.8)  # least shares that `_flatness` has in a map; smooth pictures of one person come near
_ROWS = 256  # rows of a frame that are examined for flatness
_BASE_64, _BASE_16 = np.array([4096, 64, 1]), np.array([256, 16, 1])
_SMOOTH = 0.9  # share of neighboring pixels that differ by two levels at most
_GRAY = 6  # spread of the channels of what is gray


@dataclass(frozen=True)
class Recognized:
    """Recognized content; `coloring` only for parts."""

    kind: Kind
    coloring: Coloring | None = None
    channel: int = 0
    """Channel of the indices in IUV frames."""
    near: float = 0.0
    """Share of pixels that have one of the coloring's colors."""
    black: float = 0.0
    """Share of pixels that are black."""


def sample(frames: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return a few frames [H, W, 3] that show something, from the first such on; none where all are plain."""
    shown: list[np.ndarray] = []
    for index, frame_HWC in enumerate(itertools.islice(frames, _AT_MOST)):
        if (not shown or index % _EVERY == 0) and np.ptp(frame_HWC) > _PLAIN:
            shown.append(frame_HWC)
        if len(shown) == _SAMPLES:
            break
    return shown


def recognize(frames: list[np.ndarray]) -> Recognized:
    """Recognize the content of sampled frames [H, W, 3] uint8."""
    if not frames:
        return Recognized("empty")
    thinned = [frame[:: _stride(frame, len(frames)), :: _stride(frame, len(frames))] for frame in frames]
    pixels_NC = np.concatenate([frame.reshape(-1, 3) for frame in thinned])
    black = float((pixels_NC.max(1) <= NEAR).mean())
    exact = _exact_indices(np.concatenate([frame.reshape(-1, 3) for frame in frames]))
    if exact is not None:
        return Recognized(*exact, black=black)
    best, near = _best_coloring(pixels_NC, np.concatenate([_border(frame) for frame in thinned]))
    if best is not None:
        return Recognized("parts", best, near=near, black=black)
    if (np.ptp(pixels_NC, axis=1) <= _GRAY).all() and _is_smooth(frames):
        return Recognized("depth", black=black)
    return Recognized("flat" if _is_flat(frames) else "picture", black=black)


def _stride(frame_HWC: np.ndarray, count: int) -> int:
    return max(1, int((frame_HWC.shape[0] * frame_HWC.shape[1] * count / _PIXELS) ** 0.5))


def _exact_indices(pixels_NC: np.ndarray) -> tuple[Kind, None, int] | None:
    """Return frames that hold the numbers 0..24 themselves: alone (indices) or beside U and V (iuv)."""
    highest_C = pixels_NC.max(0)
    if highest_C.max() <= 24:
        return ("indices", None, 0) if (np.ptp(pixels_NC, axis=1) == 0).all() else None
    for channel in (0, 2):
        if highest_C[channel] <= 24 and not pixels_NC[pixels_NC[:, channel] == BACKGROUND].any():
            return "iuv", None, channel
    return None


def _border(frame_HWC: np.ndarray) -> np.ndarray:
    """Return pixels [N, 3] along the four sides."""
    return np.concatenate([frame_HWC[0], frame_HWC[-1], frame_HWC[:, 0], frame_HWC[:, -1]])


def _best_coloring(pixels_NC: np.ndarray, border_NC: np.ndarray) -> tuple[Coloring | None, float]:
    """Return the coloring that explains most; of nearly equal ones the first, which is the plainest."""
    best, best_share = None, 0.0
    colored_N = np.ptp(pixels_NC, axis=1) > _COLORED
    for coloring in COLORINGS:
        label_N, near_N = _labels(coloring, pixels_NC)
        body_N = near_N & (label_N != BACKGROUND) & (label_N < 25)
        counts = np.bincount(label_N[body_N], minlength=25) / len(pixels_NC)
        enough = body_N.mean() > _BODY and (counts > _BODY / 25).sum() >= _PARTS
        part_N = (label_N != BACKGROUND) & (label_N < 25)
        painted_N = colored_N | part_N
        clean = near_N[painted_N].mean() > coloring.exact if painted_N.any() else False
        clean = clean and (part_N.all() or near_N[~part_N].mean() > _OUTSIDE)
        share = float(near_N.mean())
        likely = enough and clean and share > max(_EXPLAINED, best_share + 0.02)
        if likely and _border_share(coloring, border_NC) <= _BORDER:
            best, best_share = coloring, share
    return best, best_share


def _labels(coloring: Coloring, pixels_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest label of every pixel, and whether its color is near. [N], [N]."""
    distances_NL = coloring.distances(pixels_NC)
    return distances_NL.argmin(1), distances_NL.min(1) <= coloring.near**2


def _border_share(coloring: Coloring, border_NC: np.ndarray) -> float:
    """Share of the border that would be body."""
    label_N, _ = _labels(coloring, border_NC)
    return float(((label_N != BACKGROUND) & (label_N < 25)).mean())


def _is_smooth(frames: list[np.ndarray]) -> bool:
    """Return True if levels change slowly nearly everywhere, as in depth maps; gray pictures have texture."""
    steps = [np.abs(np.diff(frame[..., 0].astype(np.int16), axis=1)) for frame in frames]
    changing = [step_HW[frame[:, 1:, 0] > NEAR] for step_HW, frame in zip(steps, frames, strict=True)]
    return float(np.mean([(step <= 2).mean() for step in changing if step.size] or [0.0])) > _SMOOTH


def _is_flat(frames: list[np.ndarray]) -> bool:
    """Return True if frames are few flat colors on a constant background, as painted maps are."""
    rows = [frame[:: max(1, len(frame) // _ROWS)] for frame in frames]
    return bool((np.median([_flatness(frame) for frame in rows], axis=0) > _FLAT).all())


def _flatness(frame_HWC: np.ndarray) -> tuple[float, float, float]:
    """Share of pixels in the commonest color; of the others, those like their neighbor, and in the 25 commonest."""
    colors, counts = np.unique((frame_HWC >> 2).astype(np.int32) @ _BASE_64, return_counts=True)
    commonest = (colors[counts.argmax()] // _BASE_64 % 64) * 4 + 2
    away_HW = np.abs(frame_HWC.astype(np.int16) - commonest).max(-1)
    body_HW = away_HW > 16
    if not body_HW[:, 1:].any():
        return 1.0, 0.0, 0.0
    steps_HW = np.abs(np.diff(frame_HWC.astype(np.int16), axis=1)).max(-1)
    shades = np.sort(np.bincount((frame_HWC[body_HW] >> 4).astype(np.int32) @ _BASE_16))[::-1]
    alike = (steps_HW[body_HW[:, 1:]] <= 3).mean()
    return float((away_HW <= 6).mean()), float(alike), float(shades[:25].sum() / shades.sum())
