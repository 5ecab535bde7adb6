"""Tensors on a device that is not there: a shape and no content, so that any size is counted in seconds."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

NOWHERE = "meta"
"""The device of tensors without content."""


class Nowhere(TorchDispatchMode):
    """Work that mixes that device with the CPU: what goes back to the CPU is zeros."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if func is torch.ops.aten._to_copy.default and options.get("device") == torch.device("cpu"):
            return torch.zeros(args[0].shape, dtype=options.get("dtype", args[0].dtype))
        return func(*args, **options)
