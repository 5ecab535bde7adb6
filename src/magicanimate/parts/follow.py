"""Choose one of several people and follow them from frame to frame.

Shape legend: N people.
"""

from __future__ import annotations

import numpy as np

_SAME = 0.1  # overlap from which a box in the next frame is the same person's


class Follower:
    """Picks one person per frame: by rank when somebody appears, then by where they were last."""

    def __init__(self, person: int | None = None) -> None:
        """`person`: from left to right, from 1; None: whoever is largest."""
        self._person = person
        self._last_4: np.ndarray | None = None

    def __call__(self, boxes_N4: np.ndarray) -> int | None:
        """Return the index of the person among boxes (left, top, right, bottom); None if there are not that many."""
        if self._last_4 is not None and len(boxes_N4):
            overlaps = overlap(boxes_N4, self._last_4)
            if overlaps.max() > _SAME:
                return self._keep(boxes_N4, int(overlaps.argmax()))
        if len(boxes_N4) < (self._person or 1):
            return None
        if self._person is None:
            return self._keep(boxes_N4, int(areas(boxes_N4).argmax()))
        from_left = np.argsort(boxes_N4[:, 0] + boxes_N4[:, 2], kind="stable")
        return self._keep(boxes_N4, int(from_left[self._person - 1]))

    def _keep(self, boxes_N4: np.ndarray, index: int) -> int:
        self._last_4 = boxes_N4[index]
        return index


def areas(boxes_N4: np.ndarray) -> np.ndarray:
    """Return [N] areas of boxes (left, top, right, bottom); 0 for empty ones."""
    return np.clip(boxes_N4[:, 2] - boxes_N4[:, 0], 0, None) * np.clip(boxes_N4[:, 3] - boxes_N4[:, 1], 0, None)


def overlap(boxes_N4: np.ndarray, box_4: np.ndarray) -> np.ndarray:
    """Return [N] intersection over union of each box with one."""
    inner_N4 = np.concatenate([np.maximum(boxes_N4[:, :2], box_4[:2]), np.minimum(boxes_N4[:, 2:], box_4[2:])], 1)
    both_N = areas(inner_N4)
    return both_N / np.maximum(areas(boxes_N4) + areas(box_4[None]) - both_N, 1e-9)
