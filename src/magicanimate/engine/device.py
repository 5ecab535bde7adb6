"""Device, dtype, and memory of the machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from magicanimate.errors import InputError

if TYPE_CHECKING:
    from magicanimate.models.model import Model

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def select_device(name: str = "auto") -> torch.device:
    """Choose the device; "auto" takes CUDA, then Apple's MPS, then the CPU. Raises InputError if it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"Unknown device {name!r}: choose auto, cpu, cuda, cuda:0 or mps.") from error
    there = {
        "cpu": lambda: True,
        "cuda": lambda: (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }.get(device.type)
    if there is None or not there():
        raise InputError(f"The device {name} is not available on this machine: choose auto or cpu.")
    return device


def select_dtype(name: str = "auto", device: torch.device | None = None) -> torch.dtype:
    """Return the networks' dtype; "auto" is float16 on CUDA and float32 elsewhere."""
    if name == "auto":
        return torch.float16 if device is not None and device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise InputError(f"Unknown dtype {name!r}: choose auto, {', '.join(DTYPES)}.")
    return DTYPES[name]


def fast_on_cpu(dtype: torch.dtype) -> bool:
    """Return True if this CPU has convolutions and matrix products in a dtype; else torch's are 5 to 100 times
    slower than in float32."""
    if dtype == torch.float32:
        return True
    supported = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return torch.backends.mkldnn.is_available() and supported[dtype]()


def to_device(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Move a tensor to a device; from the host to a GPU through pinned memory, so that nobody waits for the copy."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.to(dtype).pin_memory().to(device, non_blocking=True)
    return x.to(device, dtype)


def to_model(x: Tensor, model: Model) -> Tensor:
    """Move a tensor to the networks' device and dtype."""
    return to_device(x, model.device, model.dtype)


def begin_window(device: torch.device) -> None:
    """Tell CUDA graphs that nothing of what they returned before is needed any more.

    Without any, the call itself would load the compiler, which takes seconds.
    """
    if device.type == "cuda" and "torch._inductor.cudagraph_trees" in sys.modules:
        torch.compiler.cudagraph_mark_step_begin()


def peak_memory(device: torch.device | None = None) -> int:
    """Return the peak memory in bytes: on a CUDA device its allocator's, else this process's resident memory."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
