"""Features of videos on disk, found again by the content of the frames, so that none is computed twice.

Shape legend: F frames, H W pixels, N frames or windows, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from magicanimate.errors import InputError
from magicanimate.evaluate.interfaces import FeatureNetwork
from magicanimate.files import sha256, write_npy

_PIXELS = 8 * 16 * 256 * 256  # that are given to a network at once


def count_windows(frames: int, window: int) -> int:
    """Return windows of consecutive frames, one from every start frame."""
    return max(0, frames - window + 1)


class FeatureSpool:
    """A folder of feature files [N, D] float64. Nothing stays in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def key(self, network: FeatureNetwork, frames_FHWC: np.ndarray) -> str:
        """Name of the features of these frames."""
        told = f"{network.name} {network.sha256} {network.window} {frames_FHWC.shape} ".encode()
        return sha256(told, np.ascontiguousarray(frames_FHWC).tobytes())[:32]

    def compute(self, network: FeatureNetwork, frames_FHWC: np.ndarray) -> str:
        """Make sure that the features of these frames are there; their key.

        Raises:
            InputError: they are not finite, or cannot be written.
        """
        key = self.key(network, frames_FHWC)
        if not self.has(key):
            features_ND = np.concatenate([network.features(batch) for batch in _batches(frames_FHWC, network.window)])
            if not np.isfinite(features_ND).all():
                raise InputError(f"{network.name} gives features that are not finite; its weights file is damaged.")
            self._write(key, features_ND.astype(np.float64))
        return key

    def has(self, key: str) -> bool:
        """Return True if the features are there."""
        return self._path(key).is_file()

    def count(self, key: str) -> int:
        """Number of frames or windows N."""
        return len(self.load(key, mapped=True))

    def load(self, key: str, mapped: bool = False) -> np.ndarray:
        """Return features [N, D]; mapped: read from the disk where they are used."""
        try:
            return np.load(self._path(key), "r" if mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"The features in {self._path(key)} are damaged; delete the file and repeat.") from error

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npy"

    def _write(self, key: str, features_ND: np.ndarray) -> None:
        path = self._path(key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_npy(path, features_ND)
        except OSError as error:
            raise InputError(f"{path} could not be written: {error.strerror or error}.") from error


def _batches(frames_FHWC: np.ndarray, window: int) -> Iterator[np.ndarray]:
    """Yield [N, H, W, 3] for window 1, else [N, window, H, W, 3], a few at a time."""
    count = count_windows(len(frames_FHWC), window)
    pixels = frames_FHWC.shape[1] * frames_FHWC.shape[2] * window
    size = max(1, _PIXELS // pixels)
    for start in range(0, count, size):
        stop = min(start + size, count)
        if window == 1:
            yield frames_FHWC[start:stop]
        else:
            yield np.stack([frames_FHWC[i : i + window] for i in range(start, stop)])
