"""Calls of a model's networks; plain calls by default."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Calls what depends only on its arguments: `compute(work, *arguments)` is `work(*arguments)`.

    device, dtype: where and in which format networks compute, if not where and as their weights are. control_bucket:
    ControlNet sees a multiple of so many frames. bank_steps: the appearance encoder works for so many steps at once.
    fingerprint: of weights that can no longer be read.
    """

    device: torch.device | None = None
    dtype: torch.dtype | None = None
    control_bucket: int = 1
    bank_steps: int = 1
    fingerprint: str | None = None

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return `work(*arguments)`."""
        return work(*arguments)

    def begin(self, scope: Hashable) -> None:
        """Say that a run begins. scope: what decides the shapes of its arguments."""

    def expect(self, calls: int) -> None:
        """Say how often each call will come again."""

    def forget(self) -> None:
        """Forget what belongs to the weights, which will be elsewhere."""
