"""Part maps out of compressed video, exact at the contours too.

Video keeps brightness for every pixel and color for blocks of two by two only. Along a contour the nearest color is
then a mixture, and often that of a third part far away on the body. Here the labels of the pixels of a block are
chosen together: their brightness has to fit pixel by pixel, their mean color has to fit that of the block, and only
labels that are certain nearby are allowed. This is solved by changing one pixel of each block at a time (iterated
conditional modes; Besag, 1986).

Shape legend: H W pixels, h w blocks, N pixels, L labels, C color channels, D chroma channels (2).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

_RED, _BLUE = 0.299, 0.114  # in brightness (ITU-R BT.601); those of BT.709 give the same parts within 0.03%
_SPREAD, _MOST = 4.0, 0.9  # levels by which color may differ inside a block of usual video, in most blocks
_EVERY = 4  # rows of blocks that are looked at
_SWEEPS = 4
_SURE, _LIKELY = 7, 3  # pixels of the nine around with the same label: at first, later
_CHROMA = 0.1  # weight of the block's color against a pixel's brightness
_TEXTURE = 0.4  # weight of brightness where an unknown picture is beneath
_LONELY = 40.0  # squared levels that each differing neighbor costs


@dataclass(frozen=True)
class Shades:
    """Appearance of labels: color and brightness of each, and the share of the picture beneath that shows through."""

    luma_L: np.ndarray
    chroma_LD: np.ndarray
    share_L: np.ndarray


def shades(colors_LC: np.ndarray, share_L: np.ndarray) -> Shades:
    """Return the shades of RGB colors [L, 3]."""
    luma_L, chroma_LD = _to_ycc(colors_LC.astype(np.float32))
    return Shades(luma_L, chroma_LD, share_L.astype(np.float32))


def _to_ycc(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert RGB [..., 3] to brightness [...] and chroma [..., 2], all in levels."""
    luma = rgb @ np.array([_RED, 1 - _RED - _BLUE, _BLUE], np.float32)
    chroma = np.stack([(rgb[..., 2] - luma) / (2 * (1 - _BLUE)), (rgb[..., 0] - luma) / (2 * (1 - _RED))], -1)
    return luma, chroma


def is_subsampled(frame_HWC: np.ndarray) -> bool:
    """Return True if chroma is constant in blocks of two by two pixels, as usual video leaves it."""
    blocks = _blocks(_even(frame_HWC))[::_EVERY]
    inside_hw = ((blocks > 0) & (blocks < 255)).all((2, 3))
    mixed_hw = np.ptp(blocks.max(-1), axis=-1) > _SPREAD
    chosen = blocks[inside_hw & mixed_hw].astype(np.int16)
    hues = chosen[..., ::2] - chosen[..., 1:2]
    return len(hues) > 0 and float(np.quantile(np.ptp(hues, axis=1).max(-1), _MOST)) <= _SPREAD


def _even(frame: np.ndarray) -> np.ndarray:
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def _blocks(planes_HWC: np.ndarray) -> np.ndarray:
    """[H, W, C] -> [h, w, 4, C]."""
    height, width, channels = planes_HWC.shape
    split = planes_HWC.reshape(height // 2, 2, width // 2, 2, channels)
    return split.transpose(0, 2, 1, 3, 4).reshape(height // 2, width // 2, 4, channels)


def _block_sums(planes_HWC: np.ndarray) -> np.ndarray:
    """[H, W, C] -> [h, w, C]; several times faster than a sum over an axis of four."""
    upper, lower = planes_HWC[::2], planes_HWC[1::2]
    return upper[:, ::2] + upper[:, 1::2] + lower[:, ::2] + lower[:, 1::2]


def refine(frame_HWC: np.ndarray, labels_HW: np.ndarray, near_HW: np.ndarray, look: Shades) -> np.ndarray:
    """Return labels that agree with brightness and block color, starting from those of the nearest color."""
    settled_HW = labels_HW.copy()
    labels = _even(settled_HW)  # a view: an odd last row or column keeps its labels
    near = _even(near_HW)
    alike_HW = _alike(labels)
    active_HW = _dilated((alike_HW < 9) | ~near)
    luma_HW, chroma_hwD = _planes(_even(frame_HWC), active_HW | look.share_L.any())
    for sweep in range(_SWEEPS):
        sure_HW = (alike_HW >= _SURE) & near if sweep == 0 else alike_HW >= _LIKELY
        bits_HW = _spread_bits(np.where(sure_HW, np.uint32(1) << labels.astype(np.uint32), np.uint32(0)))
        before = labels.copy()
        beneath_HW = _beneath(luma_HW, labels, sure_HW, look)
        for row, column in ((0, 0), (1, 1), (0, 1), (1, 0)):
            y, x = np.nonzero(active_HW[row::2, column::2])
            _update(labels, 2 * y + row, 2 * x + column, luma_HW, chroma_hwD, bits_HW, beneath_HW, look)
        alike_HW = _alike(labels)
        active_HW = active_HW & _dilated(labels != before) if sweep else active_HW
    return settled_HW


def _planes(frame_HWC: np.ndarray, wanted_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the brightness [H, W] and chroma [h, w, 2].

    Channels that were cut off at 0 or 255 are left out where they can be; in brightness only where it is wanted.
    """
    rgb = frame_HWC.astype(np.float32)
    luma_HW, chroma_HWD = _to_ycc(rgb)
    red_HW, green_HW, blue_HW = np.moveaxis((frame_HWC > 0) & (frame_HWC < 255), -1, 0)
    whole_HW = red_HW & green_HW & blue_HW
    trust_HW1 = np.where(whole_HW, np.float32(1), np.float32(1e-3))[..., None]
    chroma_hwD = _block_sums(chroma_HWD * trust_HW1) / _block_sums(trust_HW1)
    y, x = np.nonzero(wanted_HW & ~whole_HW)
    blueness, redness = chroma_hwD[y // 2, x // 2].T
    above = np.stack([2 * (1 - _RED) * redness, np.zeros_like(redness), 2 * (1 - _BLUE) * blueness], -1)
    above[:, 1] = -(_RED * above[:, 0] + _BLUE * above[:, 2]) / (1 - _RED - _BLUE)
    usable = ((frame_HWC[y, x] > 0) & (frame_HWC[y, x] < 255)).astype(np.float32) + 1e-3
    luma_HW[y, x] = ((rgb[y, x] - above) * usable).sum(-1) / usable.sum(-1)
    return luma_HW, chroma_hwD


def _shifted(plane_HW: np.ndarray) -> list[np.ndarray]:
    """Return the nine neighbors of every pixel, itself in the middle; the border repeats."""
    padded = np.pad(plane_HW, 1, mode="edge")
    height, width = plane_HW.shape
    return [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]


def _alike(labels_HW: np.ndarray) -> np.ndarray:
    """Count the pixels of each 3x3 neighborhood that have the central pixel's label."""
    return functools.reduce(np.add, [(labels_HW == other).view(np.uint8) for other in _shifted(labels_HW)])


def _dilated(mask_HW: np.ndarray) -> np.ndarray:
    return functools.reduce(np.logical_or, _shifted(mask_HW))


def _spread_bits(bits_HW: np.ndarray) -> np.ndarray:
    """Return labels, as bits, that are in the five by five pixels around."""
    for _ in range(2):
        bits_HW = functools.reduce(np.bitwise_or, _shifted(bits_HW))
    return bits_HW


def _beneath(luma_HW: np.ndarray, labels_HW: np.ndarray, sure_HW: np.ndarray, look: Shades) -> np.ndarray | None:
    """Average the brightness [H, W] of the picture beneath over certain pixels around; None if there is none."""
    if not look.share_L.any():
        return None
    seen_HW = (luma_HW - look.luma_L[labels_HW]) / look.share_L[labels_HW]
    total_HW, weight_HW = np.where(sure_HW, seen_HW, 0), sure_HW.astype(np.float32)
    for _ in range(2):
        total_HW, weight_HW = np.sum(_shifted(total_HW), axis=0), np.sum(_shifted(weight_HW), axis=0)
    return total_HW / np.maximum(weight_HW, 1e-3)


def _update(
    labels_HW: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    luma_HW: np.ndarray,
    chroma_hwD: np.ndarray,
    bits_HW: np.ndarray,
    beneath_HW: np.ndarray | None,
    look: Shades,
) -> None:
    """Give N pixels, one of a block at most, the labels that fit best while their neighbors stay."""
    height, width = labels_HW.shape
    count = len(look.luma_L)
    own = labels_HW[y, x]
    top, left = y // 2 * 2, x // 2 * 2
    block_ND = sum(look.chroma_LD[labels_HW[top + dy, left + dx]] for dy in (0, 1) for dx in (0, 1)) / 4
    missing_ND = chroma_hwD[y // 2, x // 2] - block_ND + look.chroma_LD[own] / 4
    blueness_NL, redness_NL = (missing_ND[:, None, d] - look.chroma_LD[None, :, d] / 4 for d in (0, 1))
    misfit_NL = 4 * _CHROMA * (blueness_NL**2 + redness_NL**2)
    expected_NL = look.luma_L[None]
    if beneath_HW is not None:
        expected_NL = expected_NL + look.share_L[None] * beneath_HW[y, x][:, None]
    misfit_NL += (1.0 if beneath_HW is None else _TEXTURE) * (luma_HW[y, x][:, None] - expected_NL) ** 2
    rows = np.arange(len(y))
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                other = labels_HW[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
                misfit_NL[rows, other] -= _LONELY
    bits_N = np.where(bits_HW[y, x] == 0, ~np.uint32(0), bits_HW[y, x])  # where nothing is certain all are allowed
    misfit_NL[(bits_N[:, None] & (np.uint32(1) << np.arange(count, dtype=np.uint32))) == 0] = np.inf
    labels_HW[y, x] = misfit_NL.argmin(1)
