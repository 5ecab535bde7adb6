"""Device, number format and memory: the only file that knows what machine this is."""

from __future__ import annotations

import resource
import sys

import torch

from magicanimate.errors import InputError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def select_device(name: str = "auto") -> torch.device:
    """The device to compute on; "auto" takes CUDA, then Apple's MPS, then the CPU. InputError if it is not there."""
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
    """The networks' number format; "auto" is float16 on CUDA and float32 elsewhere."""
    if name == "auto":
        return torch.float16 if device is not None and device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise InputError(f"Unknown number format {name!r}: choose auto, {', '.join(DTYPES)}.")
    return DTYPES[name]


def peak_memory(device: torch.device | None = None) -> int:
    """The most bytes used so far: on a CUDA device its allocator's, else this process's resident memory."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
