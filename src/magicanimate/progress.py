"""The callback that long work reports its progress to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with (stage, done, total) after every piece of work; total is None while unknown. It may raise to cancel.

Stages of an animation: reading, extracting, control, denoise, decode.
"""


class Counter:
    """Counts finished work of one stage and reports it."""

    def __init__(self, stage: str, total: int, progress: Progress | None) -> None:
        self.stage, self.total, self.progress, self.done = stage, total, progress, 0

    def add(self, amount: int) -> None:
        """Count some more work as finished."""
        self.done += amount
        if self.progress is not None:
            self.progress(self.stage, self.done, self.total)
