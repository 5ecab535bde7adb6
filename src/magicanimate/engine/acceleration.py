"""Configure how a loaded model runs: int8 or fp8 weights, offloading, compiled layers, another decoder.

None of this changes what is computed, but for rounding (`quantize`) and the decoder's own error (`decoder`).
Memory format, fused layers (fused.py), and, on CPUs, the dtype of the arithmetic and of
packed weights (onednn_layers.py) are chosen here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny
from diffusers.hooks import apply_group_offloading, apply_layerwise_casting_hook
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from magicanimate.engine.cuda_graphs import CudaRecorder, GraphCompute, Graphs
from magicanimate.engine.device import fast_on_cpu
from magicanimate.engine.fused import fuse_network, join_products, pack_network
from magicanimate.engine.onednn_layers import can_pack
from magicanimate.engine.options import Acceleration, Quantize, check_options
from magicanimate.errors import InputError
from magicanimate.models.fingerprint import model_fingerprint
from magicanimate.models.hub import fetch_folder, is_hub_name
from magicanimate.models.model import Model, load_network
from magicanimate.networks.build import build

HEAVY = ("denoiser", "appearance", "control")
"""Networks that run in every step."""
COMPILED = (ResnetBlock2D, FeedForward)
"""Layers that fuse well. Attention layers differ by their place in the bank, so each would be compiled for itself."""
COMPILED_SHAPES = 128
"""Shapes compiled per kind of layer: a network has layers of many widths and sizes, which count together."""
CONTROL_BUCKET = 4
"""Frames whose multiple a compiled ControlNet is called with."""
BANK_STEPS = 5
"""Timesteps that the appearance encoder computes at once on CUDA: one picture does not fill a GPU."""
FP8_CAPABILITY = (8, 9)
CAST = (nn.Linear, nn.Conv2d, nn.Embedding)
"""Layers that hold nearly all weights."""


def accelerate_model(model: Model, device: torch.device, options: Acceleration) -> Model:
    """Make a model ready to run on a device: its networks are changed in place, and the model that has them returned.

    Raises:
        InputError: what model or device cannot do.
    """
    check_options(options, device)
    if options.decoder is not None:
        model = replace(model, small_decoder=read_small_decoder(options.decoder, model))
    if options.offload:
        quantize_model(model, options.quantize, device)
        return offload_model(model, device)
    model = model.to(device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # where kernels are launched
    fuse = not options.compile and (device.type == "cuda" or fast_on_cpu(model.dtype))
    arrange_networks(model, device, fuse)
    if device.type == "cpu" and not fast_on_cpu(model.dtype):
        model = widen_model(model, casting=options.quantize == "none" and not options.compile)
    quantize_model(model, options.quantize, device)
    if fuse and options.quantize == "none":
        model = join_or_pack(model, device)
    if device.type == "cuda":
        model = replace(model, compute=replace(model.compute, bank_steps=BANK_STEPS))
        if options.plain and options.graphs is not False:
            graphs = Graphs(CudaRecorder(device))
            model = replace(model, compute=GraphCompute(**vars(model.compute), graphs=graphs))
    return compile_model(model) if options.compile else model


def arrange_networks(model: Model, device: torch.device, fuse: bool) -> None:
    """Convert to channels-last where that is faster, and there to fused layers (fused.py) if asked for; in place."""
    for network in model.running:
        if wants_channels_last(network, device):
            network.to(memory_format=torch.channels_last)
            if fuse:
                fuse_network(network)


def join_or_pack(model: Model, device: torch.device) -> Model:
    """Join or pack the matrix products of fused networks, as the device likes, in place. Not for weights in 8 bit."""
    packs = device.type == "cpu" and can_pack(model.dtype)
    name = model_fingerprint(model) if packs else None
    for network in model.running:
        if packs:
            pack_network(network)
        else:
            join_products(network, sums=device.type == "cuda")
    return replace(model, compute=replace(model.compute, fingerprint=name))


def wants_channels_last(network: Any, device: torch.device) -> bool:
    """Return True if a network is faster in channels-last: in 16 bit on tensor cores, and on CPUs."""
    return device.type == "cpu" or (device.type == "cuda" and network.dtype != torch.float32)


def widen_model(model: Model, casting: bool) -> Model:
    """Let a model in 16 bit compute in float32, in place, where the CPU has no fast arithmetic of 16 bit.

    casting: weights rest in 16 bit and are widened layer by layer, when they are needed; else all at once.
    """
    stored = model.dtype
    if not casting:
        return model.to(dtype=torch.float32)
    for module in (m for network in model.running for m in network.modules()):
        if isinstance(module, CAST):
            apply_layerwise_casting_hook(module, stored, torch.float32, non_blocking=False)
        else:
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                tensor.data = tensor.data.float() if tensor.is_floating_point() else tensor.data
    compute = replace(model.compute, dtype=torch.float32)
    return replace(model, empty_prompt=model.empty_prompt.float(), compute=compute)


def read_small_decoder(folder: Path, model: Model) -> AutoencoderTiny:
    """Read a small decoder (AutoencoderTiny) from a folder or the hub (owner/name), checked against the latents."""
    if is_hub_name(folder.as_posix()):
        folder = fetch_folder(folder.as_posix())
    decoder = load_network(folder, build_small_decoder, model.dtype)
    channels, scale = decoder.config["latent_channels"], 2 ** (len(decoder.config["decoder_block_out_channels"]) - 1)
    wanted = (model.latent_channels, model.pixel_factor // model.config.patch, model.vae.config["out_channels"])
    found = (channels, scale, decoder.config["out_channels"])
    if found != wanted:
        raise InputError(
            f"The decoder {folder} does not fit this model: latent channels, enlargement and picture channels are "
            f"{found} instead of {wanted}."
        )
    return decoder


def build_small_decoder(config: Any) -> AutoencoderTiny:
    """Build an AutoencoderTiny with fresh weights. Raises InputError for unknown arguments."""
    derived = "block_out_channels"  # which diffusers writes beside the arguments
    return build(AutoencoderTiny, {key: value for key, value in config.items() if key != derived}, "small decoder")


def quantize_model(model: Model, quantize: Quantize, device: torch.device) -> None:
    """Store the weights of all linear layers in 8 bit, one scale per output channel; they compute in the model's own
    format."""
    if quantize == "none":
        return
    if quantize == "fp8" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < FP8_CAPABILITY):
        raise InputError("fp8 needs an NVIDIA GPU of compute capability 8.9 or newer; choose int8.")
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise InputError("8-bit weights need torchao: pip install 'magicanimate[fast]'.") from error
    config = Int8WeightOnlyConfig() if quantize == "int8" else Float8WeightOnlyConfig()
    for name in HEAVY:
        quantize_(model.networks[name], config)


def offload_model(model: Model, device: torch.device) -> Model:
    """Keep every layer's weights on the host, and on the device only while that layer computes."""
    for network in model.running:
        apply_group_offloading(network, onload_device=device, offload_type="leaf_level")
    return replace(model, compute=replace(model.compute, device=device))


def compile_model(model: Model, backend: str = "inductor") -> Model:
    """Compile residual blocks and feed-forward layers in place, for each shape once. backend: torch.compile's.

    On CUDA they are also recorded as CUDA graphs, which spares the few steps of a distilled model the launches.
    """
    graphs = {"mode": "reduce-overhead"} if model.device.type == "cuda" and backend == "inductor" else {}
    torch._dynamo.config.recompile_limit = max(COMPILED_SHAPES, torch._dynamo.config.recompile_limit)
    for name in HEAVY:
        for module in model.networks[name].modules():
            if isinstance(module, COMPILED):
                module.compile(backend=backend, dynamic=False, **graphs)
    return replace(model, compute=replace(model.compute, control_bucket=CONTROL_BUCKET))
