"""A decoded video frame becomes upright RGB of 8 bit with square pixels, whatever it was stored as.

Shape legend: H W pixels, C color channels.
"""

from __future__ import annotations

from functools import cache

import av
import numpy as np

_HD = 720  # rows from which untagged video is BT.709 rather than BT.601, as players assume
_BT709, _UNTAGGED = 1, 2
_PQ, _HLG, _BT2020 = 16, 18, 9  # codes of ITU-T H.273
_WHITE = 203.0  # cd/m2 of white in a graded HDR picture (ITU-R BT.2408)
_KNEE = 0.8  # brightness up to which tone mapping changes nothing
_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
"""Linear BT.2020 to linear BT.709 (ITU-R BT.2087)."""


def to_rgb8(frame: av.VideoFrame, aspect: float = 1.0) -> np.ndarray:
    """Return `frame_HWC` uint8 RGB.

    Rotation stored beside the pixels is applied, transparency is laid over white, pixels that are not square
    (`aspect` is their width to height) are made so, more than 8 bit are rounded, and PQ or HLG (HDR) brightness
    is mapped to the range of a screen.
    """
    if frame.colorspace == _UNTAGGED and frame.height >= _HD:
        frame.colorspace = _BT709
    width = max(1, round(frame.width * aspect))
    if frame.color_trc in (_PQ, _HLG):
        frame_HWC = _tone_mapped(frame.reformat(width=width, format="rgb48le").to_ndarray(), frame)
    elif any(component.is_alpha for component in frame.format.components):
        frame_HWC = over_white(frame.reformat(width=width, format="rgba").to_ndarray())
    else:
        frame_HWC = frame.reformat(width=width, format="rgb24").to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(frame_HWC, turns)) if turns else frame_HWC


def over_white(frame_HWC: np.ndarray) -> np.ndarray:
    """[H, W, 4] uint8 with straight alpha -> [H, W, 3] uint8 over white."""
    alpha_HW1 = frame_HWC[..., 3:].astype(np.uint16)
    return ((frame_HWC[..., :3] * alpha_HW1 + 255 * (255 - alpha_HW1) + 127) // 255).astype(np.uint8)


@cache
def _light(transfer: int) -> np.ndarray:
    """Return the light of each 16-bit level, [65536] float32, 1 is graded white (SMPTE ST 2084; ITU-R BT.2100 HLG)."""
    level = np.arange(65536, dtype=np.float64) / 65535
    if transfer == _PQ:
        root = level ** (1 / 78.84375)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return (light * 10000 / _WHITE).astype(np.float32)
    scene = np.where(level <= 0.5, level**2 / 3, (np.exp((level - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return (scene**1.2 * 1000 / _WHITE).astype(np.float32)  # as a screen of 1000 cd/m2 shows it


def _tone_mapped(frame_HWC: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """[H, W, 3] uint16 PQ or HLG -> uint8 sRGB; what is brighter than white is rolled off, hues kept."""
    light_HWC = _light(int(frame.color_trc))[frame_HWC]
    if frame.color_primaries == _BT2020:
        light_HWC = np.maximum(light_HWC @ _TO_BT709.T, 0)
    brightest_HW1 = np.maximum(light_HWC.max(-1, keepdims=True), 1e-6)
    above = np.maximum(brightest_HW1 - _KNEE, 0) / (1 - _KNEE)
    mapped_HW1 = np.where(brightest_HW1 > _KNEE, _KNEE + (1 - _KNEE) * above / (1 + above), brightest_HW1)
    linear_HWC = np.clip(light_HWC * (mapped_HW1 / brightest_HW1), 0, 1)
    curved = np.where(linear_HWC <= 0.0031308, 12.92 * linear_HWC, 1.055 * linear_HWC ** (1 / 2.4) - 0.055)
    return np.rint(curved * 255).astype(np.uint8)
