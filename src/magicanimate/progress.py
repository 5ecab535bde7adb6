"""The callback that long work reports its progress to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with (stage, done, total) after every piece of work; total is None while unknown. It may raise to cancel.

Stages of an animation: reading, extracting, control, denoise, decode.
"""
