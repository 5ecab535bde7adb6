"""Small real networks with random weights, in the two styles of model folder."""

from __future__ import annotations

from typing import Any

import torch

V_PREDICTION = {
    "beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False,
    "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
}  # fmt: skip
LEADING = {
    "beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False, "steps_offset": 1,
}  # fmt: skip


def random_model(style: str = "parts", **config: Any) -> Any:
    """parts: as the shipped model (patch 4, factor 8, 6 latent channels, coordinates); rgb: as the official one."""
    from magicanimate.models.config import WARP_PLANES, ModelConfig
    from magicanimate.models.model import Model
    from magicanimate.networks.appearance import build_appearance
    from magicanimate.networks.control import build_control
    from magicanimate.networks.denoiser import build_denoiser
    from magicanimate.networks.vae import build_vae

    torch.manual_seed(0)
    parts = style == "parts"
    patch, latent, coordinates = (4, 6, 8) if parts else (1, 4, 0)
    widths = (16, 32)
    common: dict[str, Any] = {
        "block_out_channels": widths, "layers_per_block": 1, "cross_attention_dim": 8, "norm_num_groups": 8,
        "attention_head_dim": 2, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    }  # fmt: skip
    up = {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "out_channels": latent}
    moving = common | up | {
        "in_channels": latent * (1 + config.get("reference_input", False)) + coordinates,
        "num_attention_heads": 2, "motion_num_attention_heads": 2,
        "motion_max_seq_length": 16, "use_motion_mid_block": False,
        "down_block_types": ("CrossAttnDownBlockMotion", "DownBlockMotion"),
        "up_block_types": ("UpBlockMotion", "CrossAttnUpBlockMotion"),
    }  # fmt: skip
    del moving["attention_head_dim"]
    planes = {"parts": 25, "rgb": 3 * patch**2, "depth": patch**2}[config.get("control_encoding", style)]
    planes += WARP_PLANES * config.get("warp_input", False)
    denoiser = build_denoiser(moving, "frame" if parts else "window")
    control = build_control(
        common | {
            "in_channels": latent + coordinates, "conditioning_channels": planes,
            "conditioning_embedding_out_channels": (8, 16),
        }
    )  # fmt: skip
    vae = build_vae(
        {
            "in_channels": 3 * patch**2, "out_channels": 3 * patch**2, "latent_channels": latent,
            "block_out_channels": (16, 16), "layers_per_block": 1, "norm_num_groups": 8,
            "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
        }
    )  # fmt: skip
    for network in (denoiser, control):
        awaken(network)
    description = {
        "name": f"random-{style}", "resolution": (64, 64), "patch": patch, "coordinates": coordinates,
        "control_encoding": style, "norm_scope": "frame" if parts else "window", "window": 8, "overlap": 2,
        "scheduler": V_PREDICTION if parts else LEADING, "steps": 2, "guidance": 2.0,
    }  # fmt: skip
    return Model(
        config=ModelConfig(**(description | config)),
        denoiser=denoiser.eval(),
        appearance=build_appearance(common | up | {"in_channels": latent + coordinates}).eval(),
        control=control.eval(),
        vae=vae.eval(),
        empty_prompt=torch.randn(1, 8),
    )


def awaken(network: torch.nn.Module) -> None:
    """Weights that start at zero (ControlNet's outputs, the motion modules') would hide what they are for."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1 and not weight.any():
                weight.normal_(std=0.1)
