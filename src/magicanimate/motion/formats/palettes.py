"""The colors in which DensePose part maps are found, and how each is turned into part indices.

A coloring paints a part with one color, or with one color laid over a gray picture: then every shade between
`color` and `color + lightest * (1, 1, 1)` stands for the same part. Facts about detectron2's own drawing: the
fine part index times 255/24, cut to 8 bits, goes through OpenCV's PARULA map and is blended with weight 0.7 over
the gray version of the picture; pixels outside a body keep the picture.

Shape legend: H W pixels, C color channels, N pixels, L labels (a label is a color; several may mean background).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from magicanimate.motion.formats.chroma import Shades, is_subsampled, refine, shades
from magicanimate.parts.densepose import BACKGROUND, PALETTE_25

NEAR = 14.0
"""RGB distance within which a decoded pixel counts as one of a palette's colors."""

PARULA_25: np.ndarray = np.array(
    [
        (53, 42, 135), (37, 60, 163), (20, 80, 194), (4, 97, 223), (8, 110, 221),
        (14, 122, 216), (20, 132, 212), (15, 144, 208), (11, 156, 203), (6, 166, 198),
        (22, 173, 185), (38, 179, 172), (55, 185, 159), (86, 187, 144), (114, 189, 130),
        (145, 191, 116), (170, 189, 105), (192, 188, 96), (216, 186, 86), (228, 192, 74),
        (240, 199, 60), (252, 206, 46), (251, 220, 36), (250, 235, 25), (249, 251, 14),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""[25, 3] RGB of OpenCV's PARULA map at the level of each part index."""

OVERLAY = 0.7
"""Weight of the part's color where detectron2 lays it over the picture."""
_GRAY_NEAR = 4.0  # two levels in each channel
_UNSEEN, _FAR = 0xFF, 0x80
_CHUNK = 1 << 15
_NEIGHBORS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


@dataclass(frozen=True, eq=False)
class Coloring:
    """One way to paint parts."""

    name: str
    """Common name, for messages."""
    colors_LC: np.ndarray = field(repr=False)
    """[25 + extra backgrounds, 3] float: the darkest shade of every label; labels from 25 on are background."""
    lightest_L: np.ndarray = field(repr=False)
    """[L] float: how much gray may lie on top of that shade; 0 for plain colors."""
    note: str = ""
    """One sentence for people; empty where nothing was converted."""
    near: float = NEAR
    """RGB distance within which a decoded pixel counts as one of the colors."""
    exact: float = 0.7
    """Share of what is painted that has to be so near."""

    @cached_property
    def _labels_of_colors(self) -> np.ndarray:
        """[2**24] uint8: label of each RGB color, plus 128 where it is not near; filled as colors are met."""
        return np.full(1 << 24, _UNSEEN, np.uint8)

    def distances(self, rgb_NC: np.ndarray) -> np.ndarray:
        """[N, 3] -> [N, L] squared RGB distances to the nearest allowed shade of each label."""
        away_NLC = rgb_NC[:, None, :].astype(np.float32) - self.colors_LC[None].astype(np.float32)
        gray_NL = np.clip(away_NLC.mean(-1), 0, self.lightest_L.astype(np.float32))
        return ((away_NLC - gray_NL[..., None]) ** 2).sum(-1)

    def labels(self, frame_HWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[H, W, 3] uint8 -> nearest label [H, W] uint8, and whether its color is near [H, W] bool."""
        r, g, b = (frame_HWC[..., i].astype(np.int32) for i in range(3))
        packed_HW = (r << 16) | (g << 8) | b
        table = self._labels_of_colors
        new = np.unique(packed_HW[table[packed_HW] == _UNSEEN])
        for start in range(0, new.size, _CHUNK):
            colors = new[start : start + _CHUNK]
            distances = self.distances(np.stack([colors >> 16, (colors >> 8) & 255, colors & 255], axis=1))
            far = distances.min(1) > self.near**2
            table[colors] = distances.argmin(1).astype(np.uint8) | (far * np.uint8(_FAR))
        found_HW = table[packed_HW]
        return found_HW & ~np.uint8(_FAR), found_HW < _FAR

    def decode(self, frame_HWC: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 -> parts [H, W] uint8 in 0..24."""
        labels_HW, near_HW = self.labels(frame_HWC)
        if is_subsampled(frame_HWC):
            return _as_parts(refine(frame_HWC, labels_HW, near_HW, self._shades))
        return _as_parts(self._settled(frame_HWC, labels_HW, near_HW))

    @cached_property
    def _shades(self) -> Shades:
        return shades(self.colors_LC, self.lightest_L / 255)

    def _settled(self, frame_HWC: np.ndarray, labels_HW: np.ndarray, near_HW: np.ndarray) -> np.ndarray:
        """Return labels in which a pixel of mixed color has the closest of the labels that are certain around it."""
        y, x = np.nonzero(~near_HW)
        if not 0 < y.size < 0.5 * near_HW.size:  # nothing to do, or no map at all
            return labels_HW
        height, width = labels_HW.shape
        rows, distances = np.arange(y.size), self.distances(frame_HWC[y, x])
        best, label = np.full(y.size, np.inf, np.float32), labels_HW[y, x]
        for dy, dx in _NEIGHBORS:
            row, column = np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)
            candidate = labels_HW[row, column]
            distance = np.where(near_HW[row, column], distances[rows, candidate], np.inf)
            label = np.where(distance < best, candidate, label)
            best = np.minimum(best, distance)
        settled_HW = labels_HW.copy()
        settled_HW[y, x] = label
        return settled_HW


def _as_parts(labels_HW: np.ndarray) -> np.ndarray:
    return np.where(labels_HW < len(PALETTE_25), labels_HW, np.uint8(BACKGROUND))


def _plain(name: str, parts_25C: np.ndarray, note: str, *backgrounds: tuple[int, int, int]) -> Coloring:
    colors_LC = np.concatenate([parts_25C, np.array(backgrounds, float).reshape(-1, 3)]).astype(float)
    return Coloring(name, colors_LC, np.zeros(len(colors_LC)), note)


def _over_gray(name: str, parts_25C: np.ndarray, note: str) -> Coloring:
    """Parts laid over a gray picture: label 0 is never painted, so that any gray is background."""
    colors_LC = np.floor(parts_25C * OVERLAY)
    colors_LC[BACKGROUND] = 0
    lightest_L = np.full(25, (1 - OVERLAY) * 255)
    lightest_L[BACKGROUND] = 255
    return Coloring(name, colors_LC, lightest_L, note)


def _gray(name: str, step: float, note: str) -> Coloring:
    """Gray levels lie so close together that only exact ones, up to compression, tell a map from a gray picture."""
    levels_LC = np.floor(np.arange(25) * step)[:, None].repeat(3, 1)
    return Coloring(name, levels_LC, np.zeros(25), note, _GRAY_NEAR, exact=0.85)


_BLACK = (0, 0, 0)

VIRIDIS = _plain("viridis", PALETTE_25, "", _BLACK)
COLORINGS: tuple[Coloring, ...] = (
    VIRIDIS,
    _plain("PARULA", PARULA_25, "The motion is painted with PARULA; it was converted.", _BLACK, tuple(PALETTE_25[0])),
    _plain(
        "PARULA on black",
        np.vstack([[_BLACK], np.floor(PARULA_25[1:] * OVERLAY)]),
        "The motion is painted with PARULA at 70% on black; it was converted.",
    ),
    _over_gray(
        "PARULA over the picture",
        PARULA_25,
        "The motion is painted with PARULA over the picture, as detectron2 does by default; it was converted.",
    ),
    _over_gray(
        "viridis over the picture",
        PALETTE_25,
        "The motion is painted with viridis at 70% over the picture; it was converted.",
    ),
    _gray(
        "gray levels", 255 / 24, "The motion shows part indices as gray levels (index times 255/24); it was converted."
    ),
)
PALETTE_NAMES = "viridis, PARULA, both also over a gray picture, gray levels, IUV"
