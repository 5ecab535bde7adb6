"""Options of model execution, and which of them go together. Imports no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from magicanimate.errors import InputError

if TYPE_CHECKING:
    import torch

Quantize = Literal["none", "int8", "fp8"]


@dataclass(frozen=True, kw_only=True)
class Acceleration:
    """Options of model execution.

    quantize: weights of the linear layers in 8 bit. offload: weights rest on the host and visit the GPU layer by
    layer. compile: the residual blocks and feed-forward layers, in the first step of every size.
    decoder: a folder with a small decoder (diffusers' AutoencoderTiny) for the model's latents.
    graphs: what steps compute is recorded as CUDA graphs; see cuda_graphs.py. None: on NVIDIA GPUs, with plain layers.
    """

    quantize: Quantize = "none"
    offload: bool = False
    compile: bool = False
    decoder: Path | None = None
    graphs: bool | None = None

    @property
    def plain(self) -> bool:
        """True if the layers are called unchanged."""
        return not (self.offload or self.compile or self.quantize != "none")


def check_options(options: Acceleration, device: torch.device) -> None:
    """Raise InputError for options that exclude each other or that the device cannot do."""
    if options.quantize not in get_args(Quantize):
        raise InputError(f"Unknown weights {options.quantize!r}: choose {', '.join(get_args(Quantize))}.")
    if options.offload and device.type != "cuda":
        raise InputError(f"--offload moves weights between host and GPU, and {device.type} is none; leave it out.")
    if options.offload and options.compile:
        raise InputError("Layers that visit the GPU cannot be compiled: choose --offload or --compile.")
    if options.graphs and device.type != "cuda":
        raise InputError(f"--graphs records what an NVIDIA GPU does, and {device.type} is none; leave it out.")
    if options.graphs and not options.plain:
        raise InputError("--graphs goes with plain layers only: leave out --offload, --compile and --quantize.")
