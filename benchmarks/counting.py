"""Counted work of one denoising step, engine against plain twin: `python benchmarks/counting.py --size 512`.

Floating point operations (one multiply-add counts as 2) of convolutions, matrix products and attention. Nothing is
computed: tensors have a shape and no content, so that any size is counted in seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import torch  # noqa: E402
from benchmarks.meta_device import NOWHERE, Nowhere  # noqa: E402
from benchmarks.sized_models import SIZES, sized_model  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_flop_count  # noqa: E402

from magicanimate.models.model import Model  # noqa: E402
from magicanimate.sampling.control_features import ControlSource  # noqa: E402
from magicanimate.sampling.settings import Run, SampleSettings  # noqa: E402
from magicanimate.sampling.video import VideoDenoiser  # noqa: E402
from plain import plain_attention, plain_prediction  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="official", choices=list(SIZES))
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    chosen = parser.parse_args(arguments)
    counted = count_step(chosen.model, chosen.size, chosen.frames)
    print(f"{chosen.model}, {chosen.frames} frames of {chosen.size}x{chosen.size}, one guided step, TFLOP:")
    for name, count in counted.items():
        print(f"  {name:<12} {count / 1e12:8.3f}")
    if chosen.json:
        chosen.json.write_text(json.dumps(counted, indent=2) + "\n", encoding="utf-8")
    return 0


def count_step(name: str, size: int, frames: int) -> dict[str, int]:
    """FLOPs of one guided step by the plain twin and by the engine, and what the engine does once for a video."""
    settings = SampleSettings(steps=1, guidance=7.5)
    with Nowhere(), torch.no_grad():
        model = sized_model(name, NOWHERE)
        inputs = step_inputs(model, size, frames)
        there, time = [tensor.to(NOWHERE) for tensor in inputs], torch.tensor(500, device=NOWHERE)
        text_2TD = model.empty_prompt.expand(2, -1, -1)
        with plain_attention(model):
            plain = flops(lambda: plain_prediction(model, *there, time, text_2TD, settings))
        return {"plain step": plain, **engine_flops(model, inputs, settings)}


def step_inputs(model: Model, size: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Reference latents, control planes and noisy latents."""
    channels, side = model.latent_channels, size // model.pixel_factor
    planes = model.control.config["conditioning_channels"]
    stride = size // model.config.control_stride
    return (
        torch.randn(1, channels, side, side),
        torch.rand(frames, planes, stride, stride),
        torch.randn(1, channels, frames, side, side),
    )


def engine_flops(model: Model, inputs: tuple[Tensor, Tensor, Tensor], settings: SampleSettings) -> dict[str, int]:
    """FLOPs of what the engine does once, and in one step."""
    ref, planes, latents = inputs
    time = torch.tensor(500)
    denoise = VideoDenoiser(model, settings, time[None], latents.shape[2], Run())
    once = flops(lambda: denoise.prepare(ref, ControlSource.of(planes), latents.shape))
    return {"engine once": once, "engine step": flops(lambda: denoise(latents, time, 0))}


def flops(work: Callable[[], Any]) -> int:
    """FLOPs of a piece of work."""
    with FlopCounterMode(display=False, custom_mapping=of_cpus()) as counter:
        work()
    return counter.get_total_flops()


def of_cpus() -> dict[Any, Callable[..., int]]:
    """Count operations that torch's counter lacks: fused attention of CPUs, products with packed weights. Of shapes."""
    mkldnn = torch.ops.mkldnn
    return {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
        mkldnn._convolution_pointwise: lambda x, w, *_, out_shape, **__: conv_flop_count(x, w, out_shape),
        mkldnn._linear_pointwise: lambda x, *_, out_shape, **__: 2 * x[-1] * prod(out_shape),
    }


if __name__ == "__main__":
    sys.exit(main())
