"""Frames that wait in memory for a long time, compressed: part maps shrink to about a hundredth.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

_LEVEL = 1  # part maps are flat areas: more effort gains little


class PackedFrames:
    """Frames [H, W] or [H, W, C] uint8 of one size. Reads like an array [F, ...]; what is read is unpacked anew."""

    def __init__(self, frames: Iterable[np.ndarray] = ()) -> None:
        self._packed: list[bytes] = []
        self._shape: tuple[int, ...] = ()
        for frame in frames:
            self.append(frame)

    def append(self, frame: np.ndarray) -> None:
        """Add a frame at the end."""
        self._shape = frame.shape
        self._packed.append(zlib.compress(frame.tobytes(), _LEVEL))

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._unpack(packed) for packed in self._packed)

    def __getitem__(self, which: int | slice | Sequence[int]) -> np.ndarray:
        """Return one frame, or those of a slice or list."""
        if isinstance(which, int):
            return self._unpack(self._packed[which])
        chosen = self._packed[which] if isinstance(which, slice) else [self._packed[index] for index in which]
        return np.stack([self._unpack(packed) for packed in chosen])

    def padded(self, count: int) -> PackedFrames:
        """Append `count` copies of the last frame."""
        longer = PackedFrames()
        longer._packed, longer._shape = self._packed + self._packed[-1:] * count, self._shape
        return longer

    def tobytes(self) -> bytes:
        """Return the compressed frames; the same frames give the same bytes."""
        return b"".join(self._packed)

    def _unpack(self, packed: bytes) -> np.ndarray:
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self._shape)


def remembered(start: Callable[[], Iterator[np.ndarray]]) -> Callable[[], Iterator[np.ndarray]]:
    """Frames that take long to make, the same every time: made once, and kept when they have been read to the end."""
    kept: PackedFrames | None = None

    def read() -> Iterator[np.ndarray]:
        nonlocal kept
        if kept is not None:
            yield from kept
            return
        made = PackedFrames()
        for frame in start():
            made.append(frame)
            yield frame
        kept = made

    return read
