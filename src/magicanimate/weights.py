"""Names and formats of weights: the original's names, strict loading, int8 storage, safe files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Original name of a part of a temporal transformer -> diffusers' name. The original wraps each transformer once more.
TEMPORAL_NAMES = (
    (re.compile(r"\.temporal_transformer\."), "."),
    (re.compile(r"\.attention_blocks\.0\."), ".attn1."),
    (re.compile(r"\.attention_blocks\.1\."), ".attn2."),
    (re.compile(r"\.norms\.0\."), ".norm1."),
    (re.compile(r"\.norms\.1\."), ".norm2."),
    (re.compile(r"\.ff_norm\."), ".norm3."),
)
ORIGINAL_TEMPORAL_GROUPS = 32  # hard-coded in the original, whatever the spatial layers have


def map_original_key(name: str) -> str | None:
    """The diffusers name of a parameter of the original's video UNet; None for position tables, which are computed.

    Spatial names are the same in both.
    """
    if name.endswith("pos_encoder.pe"):
        return None
    if ".motion_modules." in name:
        for pattern, replacement in TEMPORAL_NAMES:
            name = pattern.sub(replacement, name)
    return name


def original_denoiser_config(unet: Mapping[str, Any], motion: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration for `build_denoiser` of an original checkpoint.

    unet: config.json of the spatial UNet; what it calls attention_head_dim is the number of heads.
    motion: `motion_module_kwargs` of the original's inference settings.
    """
    same = (
        "in_channels", "out_channels", "block_out_channels", "layers_per_block", "downsample_padding",
        "mid_block_scale_factor", "act_fn", "norm_num_groups", "norm_eps", "cross_attention_dim", "sample_size",
    )  # fmt: skip
    blocks = {
        key: tuple(re.sub(r"(2D|3D)$", "Motion", block) for block in unet[key])
        for key in ("down_block_types", "up_block_types")
    }
    return {
        **{key: unet[key] for key in same if key in unet},
        **blocks,
        "num_attention_heads": unet["attention_head_dim"],
        "motion_num_attention_heads": motion["num_attention_heads"],
        "motion_max_seq_length": motion["temporal_position_encoding_max_len"],
        "motion_norm_num_groups": ORIGINAL_TEMPORAL_GROUPS,
        "use_motion_mid_block": False,
    }
