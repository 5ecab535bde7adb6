"""The attention processor of all networks: reads the reference bank, and projects what frames share only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import Tensor, nn


class KeyValue(NamedTuple):
    """Projected keys and values, each `[B, heads, T, D/heads]`."""

    key: Tensor
    value: Tensor


JOINT = "joint"
"""Attribute of a self-attention with its three projections as one weight; see `fused.join_products`."""

ReferenceBank = dict[str, Tensor]  # module path of a self-attention -> its input in the appearance encoder [B, T, D]
ProjectedBank = dict[str, KeyValue]  # the same, through the denoiser's own key and value projections
ProjectedText = dict[str, KeyValue]  # module path of a cross-attention -> the prompt through its projections
Text: TypeAlias = Tensor | ProjectedText  # a prompt's embedding [B, T, D], or its keys and values for one network


Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


class SharedSourceAttention:
    """Attention whose sources may have fewer rows than its queries.

    Queries have B*K rows (K frames of B samples, sample first). Text and bank have B rows: they are projected once
    per sample (or before, see `project_text`) and then expanded over frames. With `record`, the layer's input is
    stored there under the layer's path: this is how the appearance encoder fills its bank. With `bank`, keys and
    values of the bank are appended to the frame's own (paper, section 3.2: K' = W_K [h, y_a], V' = W_V [h, y_a]).
    attend: scaled dot-product attention over `[N, heads, T, d]`, by default `attend`; a faster one may be put here.
    """

    def __init__(self, path: str, attend: Attend | None = None) -> None:
        self.path, self.attend = path, attend

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Text | None = None,
        attention_mask: Tensor | None = None,
        bank: ProjectedBank | None = None,
        record: ReferenceBank | None = None,
    ) -> Tensor:
        """`[B*K, T, D] -> [B*K, T, D]`."""
        if attention_mask is not None:
            raise ValueError("attention masks are not used by any of our networks")
        if record is not None and encoder_hidden_states is None:
            record[self.path] = hidden_states
        rows, tokens, _ = hidden_states.shape
        query, key, value = self._project(attn, hidden_states, encoder_hidden_states)
        if encoder_hidden_states is not None and value.shape[2] == 1:
            # Attention over a single token is that token's value, whatever query and key say.
            return expand_rows(output_projection(attn, value), rows).expand(-1, tokens, -1)
        query = split_heads(attn.to_q(hidden_states), attn.heads) if query is None else query
        key, value = expand_rows(key, rows), expand_rows(value, rows)
        if bank is not None and self.path in bank:
            key = torch.cat([key, expand_rows(bank[self.path].key, rows)], dim=2)
            value = torch.cat([value, expand_rows(bank[self.path].value, rows)], dim=2)
        return output_projection(attn, (self.attend or attend)(query, key, value))

    def _project(
        self, attn: Attention, hidden_NTD: Tensor, source: Text | None
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """Return query, key, and value; the query only if it comes with the others."""
        joint = getattr(attn, JOINT, None)
        if source is None and joint is not None:
            query, key, value = (split_heads(x, attn.heads) for x in F.linear(hidden_NTD, joint).chunk(3, dim=-1))
            return query, key, value
        given = hidden_NTD if source is None else source
        return None, *(given[self.path] if isinstance(given, dict) else project(attn, given))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute scaled dot-product attention over `[N, heads, T, d]`."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad:
        # The fused kernel's backward is slower there than three plain matrix products.
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        return weights @ value
    return F.scaled_dot_product_attention(query, key, value)


def split_heads(x_NTD: Tensor, heads: int) -> Tensor:
    """`[N, T, D] -> [N, heads, T, D/heads]`."""
    return rearrange(x_NTD, "n t (g d) -> n g t d", g=heads)


def output_projection(attn: Attention, mixed: Tensor) -> Tensor:
    """Merge heads and apply one attention layer's output projection: `[N, heads, T, d] -> [N, T, D]`."""
    return attn.to_out[1](attn.to_out[0](rearrange(mixed, "n g t d -> n t (g d)")))


def project(attn: Attention, source_BTD: Tensor) -> KeyValue:
    """Project `[B, T, D]` to keys and values of one attention layer."""
    return KeyValue(split_heads(attn.to_k(source_BTD), attn.heads), split_heads(attn.to_v(source_BTD), attn.heads))


def expand_rows(x_B: Tensor, rows: int) -> Tensor:
    """Repeat each of B rows for its K = rows / B frames; without a copy where B is 1 or K is 1."""
    if x_B.shape[0] == rows:
        return x_B
    frames, remainder = divmod(rows, x_B.shape[0])
    if remainder:
        raise ValueError(f"{rows} rows cannot be divided among {x_B.shape[0]} samples")
    return x_B[:, None].expand(-1, frames, *x_B.shape[1:]).flatten(0, 1)


def project_bank(network: nn.Module, bank: ReferenceBank | ProjectedBank) -> ProjectedBank:
    """Project the bank to keys and values of `network`; entries that are projected already are kept."""
    return {
        path: entry if isinstance(entry, KeyValue) else project(network.get_submodule(path), entry)
        for path, entry in bank.items()
    }


def project_text(network: nn.Module, text_BTD: Tensor) -> ProjectedText:
    """Project a prompt to keys and values of all cross-attentions of `network`: the same for all frames and steps."""
    return {
        path: project(module, text_BTD)
        for path, module in network.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention
    }


def install_attention(network: nn.Module) -> None:
    """Give every attention layer of a diffusers network the processor above."""
    for path, module in network.named_modules():
        if isinstance(module, Attention):
            module.set_processor(SharedSourceAttention(path))


def reads_reference(path: str, blocks: tuple[str, ...]) -> bool:
    """Return True if a module is a spatial self-attention of one of the given top-level blocks.

    Motion modules also have a layer called attn1: only paths through `.attentions.` count.
    """
    return path.startswith(blocks) and ".attentions." in path and path.endswith(".attn1")
