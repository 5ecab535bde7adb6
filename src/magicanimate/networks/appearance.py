"""The appearance encoder F_a: one pass over the clean reference latents fills the bank that the denoiser reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from magicanimate.networks.attention import ReferenceBank, Text, install_attention, reads_reference
from magicanimate.networks.build import build
from magicanimate.networks.coordinates import append_coordinates

FUSION_BLOCKS = ("mid_block", "up_blocks")  # the original always uses these, whatever its configuration says


class LastBankBlock(nn.Module):
    """Remainder of the encoder's last transformer block: the norm whose output is its bank entry.

    Nothing behind that is read, so the encoder does not compute it, nor store its weights.
    """

    def __init__(self, stock: BasicTransformerBlock, path: str) -> None:
        super().__init__()
        self.norm1 = stock.norm1
        self.path = path

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: None = None,
        encoder_hidden_states: Text | None = None,
        encoder_attention_mask: None = None,
        timestep: Tensor | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        class_labels: None = None,
    ) -> Tensor:
        """Arguments as of the block that it replaces: gradient checkpointing passes them by position."""
        record = (cross_attention_kwargs or {}).get("record")
        if record is not None:
            record[self.path] = self.norm1(hidden_states)
        return hidden_states


def build_appearance(config: Mapping[str, Any]) -> UNet2DConditionModel:
    """Build an appearance encoder with fresh weights: a UNet2DConditionModel without its unread end.

    config: the arguments of diffusers' UNet2DConditionModel. Raises InputError for arguments that it does not have.
    """
    network = build(UNet2DConditionModel, config, "appearance encoder")
    install_attention(network)
    network.conv_norm_out = None
    network.conv_out = nn.Identity()
    cut_last_block(network)
    return network


def cut_last_block(network: UNet2DConditionModel) -> None:
    """Replace the last transformer block by its first norm, if it is the last thing before the head."""
    index = len(network.up_blocks) - 1
    attentions = getattr(network.up_blocks[index], "attentions", None)
    if attentions is None:
        return
    last = attentions[-1]
    path = f"up_blocks.{index}.attentions.{len(attentions) - 1}.transformer_blocks"
    block = len(last.transformer_blocks) - 1
    last.transformer_blocks[block] = LastBankBlock(last.transformer_blocks[block], f"{path}.{block}.attn1")
    last.proj_out = nn.Identity()


def reference_bank(
    encoder: UNet2DConditionModel,
    ref_latents_Bchw: Tensor,
    timestep: Tensor | int,
    text: Text,
    coordinates: int = 0,
    blocks: tuple[str, ...] = FUSION_BLOCKS,
) -> ReferenceBank:
    """Compute the reference bank y_a = F_a(z_ref | I_ref, t): inputs `[B, T, D]` of the self-attentions in `blocks`.

    Keys are the module paths of those self-attentions, the same in encoder and denoiser. The reference latents are
    clean; timestep (one, or one per sample) and text are those of the denoiser's call. Differentiable.
    """
    record: ReferenceBank = {}
    sample = append_coordinates(ref_latents_Bchw, coordinates)
    encoder(sample, timestep, text, cross_attention_kwargs={"record": record}, return_dict=False)
    return {path: entry for path, entry in record.items() if reads_reference(path, blocks)}
