"""Models with random weights in the sizes that are measured, `official` and `small`; or any model by name or folder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from magicanimate.models.config import ORIGINAL_SCHEDULE, ModelConfig
from magicanimate.models.model import Model, load_model
from magicanimate.models.weights import load_strict, stored_state
from magicanimate.networks.appearance import build_appearance
from magicanimate.networks.control import build_control
from magicanimate.networks.denoiser import build_denoiser
from magicanimate.networks.vae import build_vae

# size -> channels of the networks, of the VAE, of the condition embedding, width of the prompt, groups of the norms,
# layers of a block
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int, int, int]] = {
    "official": ((320, 640, 1280, 1280), (128, 256, 512, 512), (16, 32, 96, 256), 768, 32, 2),
    "small": ((32, 64, 64, 64), (16, 16, 32, 32), (8, 8, 16, 16), 32, 16, 2),
    "shallow": ((32, 64, 64, 64), (16, 16, 32, 32), (8, 8, 16, 16), 32, 16, 1),  # for tests
    "thin": ((32, 32, 32, 32), (16, 16, 16, 16), (8, 8, 8, 8), 32, 8, 2),  # nothing to compute: for the host's own time
}
HEADS, PROMPT_TOKENS = 8, 77


def sized_model(name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """A model of one of SIZES with random weights, or a real one."""
    if name not in SIZES:
        return load_model(name, dtype).to(device)
    channels, vae_channels, condition_channels, width, groups, layers = SIZES[name]
    common: dict[str, Any] = {
        "block_out_channels": channels, "layers_per_block": layers, "cross_attention_dim": width,
        "norm_num_groups": groups,
    }  # fmt: skip
    torch.manual_seed(0)
    with torch.device("meta"):
        networks = {
            "denoiser": build_denoiser(common | {
                "num_attention_heads": HEADS, "motion_num_attention_heads": HEADS, "motion_max_seq_length": 24,
                "use_motion_mid_block": False,
            }),
            "appearance": build_appearance(common | {"attention_head_dim": HEADS}),
            "control": build_control(
                common | {"attention_head_dim": HEADS, "conditioning_embedding_out_channels": condition_channels}
            ),
            "vae": build_vae({
                "block_out_channels": vae_channels, "layers_per_block": layers, "latent_channels": 4,
                "norm_num_groups": groups if groups < vae_channels[0] else vae_channels[0] // 2,
                "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
            }),
        }  # fmt: skip
    for part, network in networks.items():
        with torch.device(device):  # for the tables that are computed
            load_strict(network, random_state(network, device, dtype), f"of {part} (random)")
        network.eval().requires_grad_(False)
    return Model(
        config=ModelConfig(name=name, resolution=(512, 512), scheduler=ORIGINAL_SCHEDULE),
        empty_prompt=torch.randn(PROMPT_TOKENS, width, device=device, dtype=dtype),
        **networks,
    )


def random_state(network: nn.Module, device: torch.device | str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights that keep activations at a common size, made where they are used."""

    def weight(name: str, shape: torch.Size) -> Tensor:
        if len(shape) > 1:
            return torch.randn(shape, device=device, dtype=dtype) * shape[1:].numel() ** -0.5
        return torch.full(shape, float(name.endswith("weight")), device=device, dtype=dtype)

    return {name: weight(name, value.shape) for name, value in stored_state(network).items()}
