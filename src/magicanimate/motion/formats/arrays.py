"""Part indices that come as numbers: arrays in `.npz` and `.npy`, index planes and IUV pictures.

Shape legend: F frames, H W pixels, C planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from magicanimate.errors import InputError
from magicanimate.media import Clip
from magicanimate.untrusted import array_names, read_array

_PARTS = 24
FASTEST = 1000.0
"""Highest frame rate that a file may state, frames per second."""
_NAMES = ("parts", "iuv", "I", "IUV", "labels", "arr_0")
_LOST_IN_VIDEO = (7, 14, 21)
"""Gray levels that video of limited range (16 to 235) cannot show: its steps are 255/219 wide and skip them."""
_LOSSLESS = (".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", "")


def is_array_file(start: bytes) -> bool:
    """Return True if a file begins like an npz or npy file."""
    return start.startswith((b"PK\x03\x04", b"\x93NUMPY"))


def read_parts(path: Path) -> np.ndarray:
    """Return parts [F, H, W] uint8 of an array file with indices or IUV planes.

    Accepted are [H, W] and [F, H, W] indices, and IUV as [H, W, 3], [3, H, W], [F, H, W, 3] or [F, 3, H, W].

    Raises:
        InputError: it cannot be read, or its numbers are no part indices.
    """
    array = read_array(path, _NAMES)
    parts = _indices(array)
    if parts is None:
        raise InputError(
            f"{path} holds an array of shape {array.shape} and type {array.dtype}, which is neither part indices 0..24 "
            "[frames, height, width] nor IUV planes."
        )
    return parts


def read_rate(path: Path) -> float | None:
    """Return the frames per second that an npz file with parts states; None if it states none.

    Raises:
        InputError: the rate is no number of frames per second.
    """
    if "fps" not in array_names(path):
        return None
    rate = read_array(path, ("fps",))
    if rate.shape or rate.dtype.kind not in "uif" or not 0 < rate <= FASTEST:
        raise InputError(f"The fps in {path} is no frame rate between 0 and {FASTEST:g}; write the file again.")
    return float(rate)


def _indices(array: np.ndarray) -> np.ndarray | None:
    """Return [F, H, W] uint8; None if the array holds no indices."""
    if array.ndim not in (2, 3, 4) or array.size == 0 or array.dtype.kind not in "uif":
        return None
    candidates = [array] if array.ndim < 4 else []
    if array.ndim > 2 and array.shape[-1] == 3:
        candidates = [array[..., 0], array[..., 2]]
    elif array.ndim > 2 and array.shape[-3] == 3:
        candidates += [array[..., 0, :, :]]
    frames = [plane.reshape(-1, *plane.shape[-2:]) for plane in candidates]
    for plane_FHW in frames:
        if all(_are_indices(plane_HW) for plane_HW in plane_FHW):
            return plane_FHW.astype(np.uint8, copy=False)
    return None


def _are_indices(plane_HW: np.ndarray) -> bool:
    """Looked at frame by frame: comparisons of the whole would take its memory several times."""
    return bool(plane_HW.min() >= 0 and plane_HW.max() <= _PARTS and (plane_HW == np.floor(plane_HW)).all())


def check_lossless(clip: Clip, values: np.ndarray) -> None:
    """Refuse raw indices that went through video compression: neighboring ones cannot be told apart any more.

    Args:
        clip: where they come from.
        values: those seen in a few frames.

    Raises:
        InputError: it is a video whose levels show that they were rounded.
    """
    if clip.path.suffix.lower() not in _LOSSLESS and not np.isin(_LOST_IN_VIDEO, values).any():
        raise InputError(
            f"{clip.path} holds part indices 0..24 as color values, and video compression has mixed them; give PNG "
            "frames or .npz, or paint them through the viridis map."
        )


def plane_frames(clip: Clip, channel: int) -> Iterator[np.ndarray]:
    """Yield the index plane of each frame. Raises InputError: a frame has other values."""
    for index, frame_HWC in enumerate(clip):
        parts_HW = frame_HWC[..., channel]
        if parts_HW.max() > _PARTS:
            raise InputError(
                f"Frame {index} of {clip.path} has the value {parts_HW.max()}, and part indices end at {_PARTS}; write "
                "the frames again, without compression."
            )
        yield parts_HW
