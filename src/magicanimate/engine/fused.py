"""Fused inference layers that save memory traffic.

They keep the weights and the names of diffusers' layers, and compute the same with one rounding where there were
several. On a GPU the biases of convolutions join what is computed next; see `operations` for that. On a CPU they join
the convolution, with the time embedding, and results are written over what nobody reads any more: new memory costs as
much time as a sum. For inference alone: hooks on single convolutions (`--offload`) would never be called.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from einops import rearrange
from torch import Tensor, nn

from magicanimate.engine.onednn_layers import PackedConv2d, PackedGEGLU, PackedLinear
from magicanimate.engine.operations import add_biased, add_norm, add_to, gated_gelu, group_norm, short_attention
from magicanimate.networks.attention import JOINT, SharedSourceAttention, Text
from magicanimate.networks.denoiser import FrameGroupNorm, WindowGroupNorm, slice_rows


class FusedGroupNorm(nn.GroupNorm):
    """Any of the networks' group norms, in place of `stock`. silu: the activation that follows it."""

    def __init__(self, stock: nn.GroupNorm, silu: bool = False) -> None:
        super().__init__(stock.num_groups, stock.num_channels, stock.eps, device="meta")
        self.weight, self.bias = stock.weight, stock.bias
        self.silu = silu
        self.window = stock.window if isinstance(stock, WindowGroupNorm) else None

    def forward(self, input: Tensor, shift: Tensor | None = None) -> Tensor:
        """`[N, C, h, w] -> [N, C, h, w]`. shift: `[N, C]` or `[1, C]`, added before."""
        frames = self.window.frames if self.window else 1
        return group_norm(
            input, self.num_groups, self.weight, self.bias, self.eps, frames=frames, shift=shift, silu=self.silu
        )


class FusedFrameNorm(nn.GroupNorm):
    """The entrance norm of a motion module, in place of `stock`."""

    def __init__(self, stock: FrameGroupNorm) -> None:
        super().__init__(stock.num_groups, stock.num_channels, stock.eps, device="meta")
        self.weight, self.bias = stock.weight, stock.bias

    def forward(self, input: Tensor) -> Tensor:
        """Return `[B, C, K, h, w]`, a view of frames, to a view of contiguous `[B, h, w, K, C]`."""
        frames = input.shape[2]
        x_NChw = rearrange(input, "b c k h w -> (b k) c h w")
        return group_norm(
            x_NChw, self.num_groups, self.weight, self.bias, self.eps, frames=frames, by_position=True
        )  # fmt: skip


class FusedResnet(nn.Module):
    """A residual block with SiLU, in place of `stock`: two norms and two convolutions, and one sum at the end."""

    def __init__(self, stock: ResnetBlock2D) -> None:
        super().__init__()
        self.norm1, self.norm2 = FusedGroupNorm(stock.norm1, silu=True), FusedGroupNorm(stock.norm2, silu=True)
        self.conv1, self.conv2, self.conv_shortcut = stock.conv1, stock.conv2, stock.conv_shortcut
        self.time_emb_proj = stock.time_emb_proj

    def forward(self, input_tensor: Tensor, temb: Tensor | None = None) -> Tensor:
        """`[N, C, h, w] -> [N, C', h, w]`. temb: the time embedding `[N, D]`."""
        bias_1C = self.conv1.bias[None]
        shift_NC = bias_1C if self.time_emb_proj is None or temb is None else self.time_emb_proj(F.silu(temb)) + bias_1C
        x, shift = convolve(self.conv1, self.norm1(input_tensor), shift_NC)
        x = self.norm2(x, shift)
        if self.conv_shortcut is None:
            x, bias = convolve(self.conv2, x, self.conv2.bias[None])
        else:
            x, bias = convolve(self.conv2, x, (self.conv2.bias + self.conv_shortcut.bias)[None])
            input_tensor = with_bias(self.conv_shortcut, input_tensor, None)
        return add_to(x, input_tensor) if bias is None else add_biased(input_tensor, x, bias[0])

    @staticmethod
    def replaces(stock: nn.Module) -> bool:
        """Return True if this layer computes the same as the block."""
        return (
            type(stock) is ResnetBlock2D
            and isinstance(stock.nonlinearity, nn.SiLU)
            and stock.upsample is stock.downsample is None
            and (stock.time_embedding_norm == "default" or stock.time_emb_proj is None)
            and (stock.output_scale_factor, stock.training) == (1.0, False)
        )


class FusedTransformer(nn.Module):
    """A spatial transformer in place of `stock`, in the memory format of its input, with 1x1 convolutions as linear
    layers, which are rows of a matrix there."""

    use_linear_projection = True

    def __init__(self, stock: Transformer2DModel) -> None:
        super().__init__()
        self.norm, self.proj_in = FusedGroupNorm(stock.norm), stock.proj_in
        self.transformer_blocks, self.proj_out = stock.transformer_blocks, stock.proj_out

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Text | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        **unused: Any,
    ) -> tuple[Tensor]:
        """`[N, C, h, w] -> [N, C, h, w]`."""
        height = hidden_states.shape[2]
        x = linear(self.proj_in, rearrange(self.norm(hidden_states), "n c h w -> n (h w) c"))
        for block in self.transformer_blocks:
            x = block(x, encoder_hidden_states=encoder_hidden_states, cross_attention_kwargs=cross_attention_kwargs)
        x = rearrange(linear(self.proj_out, x), "n (h w) c -> n c h w", h=height)
        return (add_to(x, hidden_states),)

    @staticmethod
    def replaces(stock: nn.Module) -> bool:
        """Return True if this layer computes the same as the transformer."""
        return type(stock) is Transformer2DModel and stock.is_input_continuous


class FusedBlock(nn.Module):
    """A transformer block in place of `stock`, whose sums join the norms that follow them."""

    def __init__(self, stock: BasicTransformerBlock) -> None:
        super().__init__()
        self.norm1, self.attn1, self.norm2, self.attn2 = stock.norm1, stock.attn1, stock.norm2, stock.attn2
        self.norm3, self.ff, self.pos_embed = stock.norm3, stock.ff, stock.pos_embed
        self.sums = False  # whether the last matrix product adds itself to the sum before; see `join_products`

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: None = None,
        encoder_hidden_states: Text | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        **unused: Any,
    ) -> Tensor:
        """`[N, T, C] -> [N, T, C]`."""
        options = cross_attention_kwargs or {}
        places = None if self.pos_embed is None else self.pos_embed.pe[0, : hidden_states.shape[1]]
        x, normed = layer_norm(self.norm1, hidden_states, None, places)
        mixed = self.attn1(normed, **options)
        if self.attn2 is not None:
            x, normed = layer_norm(self.norm2, x, mixed, places)
            mixed = self.attn2(normed, encoder_hidden_states=encoder_hidden_states, **options)
        if not self.sums:
            x, normed = layer_norm(self.norm3, x, mixed)
            return add_feed_forward(self.ff, x, normed)
        *layers, last = self.ff.net
        x, inner = add_norm(x, mixed, self.norm3.weight, self.norm3.bias, self.norm3.eps, later_C=last.bias)
        for layer in layers:
            inner = layer(inner)
        x.view(-1, x.shape[-1]).addmm_(inner.view(-1, inner.shape[-1]), last.weight.T)
        return x

    @staticmethod
    def replaces(stock: nn.Module) -> bool:
        """Return True if this layer computes the same as the block."""
        return (
            type(stock) is BasicTransformerBlock
            and (stock.norm_type, stock.only_cross_attention, stock.training) == ("layer_norm", False, False)
            and not hasattr(stock, "fuser")
            and all(norm is None or norm.weight is not None for norm in (stock.norm1, stock.norm2, stock.norm3))
        )


class FusedGEGLU(GEGLU):
    """A gated activation in place of `stock`."""

    def __init__(self, stock: GEGLU) -> None:
        nn.Module.__init__(self)
        self.proj = stock.proj

    def forward(self, hidden_states: Tensor, *unused: Any, **unused_too: Any) -> Tensor:
        """`[..., D] -> [..., D']`."""
        return gated_gelu(self.proj(hidden_states))


def convolve(conv: nn.Conv2d | PackedConv2d, x_NChw: Tensor, shift_NC: Tensor) -> tuple[Tensor, Tensor | None]:
    """Convolve with `shift`, `[N, C]` or `[1, C]`, in place of the bias; return also what of it is left to be added.

    On a GPU that is all of it, since it joins what is computed next. On a CPU a bias costs nothing.
    """
    if x_NChw.is_cuda:
        return with_bias(conv, x_NChw, None), shift_NC
    if len(shift_NC) > 1:
        return add_to(with_bias(conv, x_NChw, None), shift_NC[:, :, None, None]), None
    return with_bias(conv, x_NChw, shift_NC[0]), None


def with_bias(conv: nn.Conv2d | PackedConv2d, x_NChw: Tensor, bias_C: Tensor | None) -> Tensor:
    """Convolve with another bias than the layer's own."""
    if isinstance(conv, PackedConv2d):
        return conv.convolve(x_NChw, bias_C)
    return F.conv2d(x_NChw, conv.weight, bias_C, conv.stride, conv.padding)


def layer_norm(
    norm: nn.LayerNorm, x_NTC: Tensor, y_NTC: Tensor | None, places_TC: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `operations.add_norm`; on CPUs the sum may be written over y."""
    if y_NTC is not None and not y_NTC.is_cuda and y_NTC.is_contiguous():  # else it is one row for all
        x_NTC, y_NTC = add_to(y_NTC, x_NTC), None
    return add_norm(x_NTC, y_NTC, norm.weight, norm.bias, norm.eps, places_TC)


def add_feed_forward(layer: nn.Module, x_NTC: Tensor, normed_NTC: Tensor) -> Tensor:
    """Return Add `x + layer(normed)`; on CPUs slice by slice, as `SlicedFeedForward` does, in the memory of x."""
    if normed_NTC.is_cuda or torch.is_grad_enabled():
        return x_NTC + layer(normed_NTC)
    rows, given = (z.view(-1, z.shape[-1]).split(slice_rows(z)) for z in (x_NTC, normed_NTC))
    for own, normed in zip(rows, given, strict=True):
        own += layer(normed)
    return x_NTC


def linear(layer: nn.Module, x_NTC: Tensor) -> Tensor:
    """Apply a linear layer, or a convolution of single positions as one; other layers as they are."""
    if isinstance(layer, nn.Conv2d):
        return F.linear(x_NTC, layer.weight.flatten(1), layer.bias)
    return layer(x_NTC)


def fuse_network(network: nn.Module) -> None:
    """Replace a network's layers in place; names and weights stay."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if FusedResnet.replaces(child):
                replace(module, name, FusedResnet(child))
            elif FusedTransformer.replaces(child):
                replace(module, name, FusedTransformer(child))
            elif isinstance(child, FrameGroupNorm):
                replace(module, name, FusedFrameNorm(child))
            elif FusedBlock.replaces(child):
                replace(module, name, FusedBlock(child))
            elif type(child) is GEGLU:
                replace(module, name, FusedGEGLU(child))
        if isinstance(getattr(module, "conv_norm_out", None), nn.GroupNorm) and isinstance(module.conv_act, nn.SiLU):
            module.conv_norm_out = FusedGroupNorm(module.conv_norm_out, silu=True)
            module.conv_act = nn.Identity()
        processor = getattr(module, "processor", None)
        if isinstance(processor, SharedSourceAttention) and ".motion_modules." in processor.path:
            processor.attend = short_attention


def join_products(network: nn.Module, sums: bool) -> None:
    """Fewer and larger matrix products, in place: the three projections of a self-attention as one, whose weights are
    shared. Not for weights that are stored in 8 bit.

    sums: the last product of a feed-forward layer also adds itself to the sum before. On CPUs slices are better.
    """
    for module in network.modules():
        if isinstance(module, FusedBlock):
            module.sums = sums and isinstance(module.ff.net[-1], nn.Linear)
        shared = isinstance(module, Attention) and isinstance(module.processor, SharedSourceAttention)
        if shared and not module.is_cross_attention:
            layers = (module.to_q, module.to_k, module.to_v)
            if any(layer.bias is not None or layer.weight.shape != module.to_q.weight.shape for layer in layers):
                continue
            joint = torch.cat([layer.weight for layer in layers])
            for layer, share in zip(layers, joint.chunk(3), strict=True):
                layer.weight = nn.Parameter(share, requires_grad=False)
            module.register_buffer(JOINT, joint, persistent=False)


def pack_network(network: nn.Module) -> None:
    """Pack the weights of a network's convolutions and linear layers for CPUs, in place; see onednn_layers.py."""
    for module in network.modules():  # as it goes on: what has been replaced is not visited
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear or (isinstance(module, FusedTransformer) and isinstance(child, nn.Conv2d)):
                replace(module, name, PackedLinear(child))
            elif PackedConv2d.replaces(child):
                replace(module, name, PackedConv2d(child))
            elif isinstance(child, FusedGEGLU) and child.proj.bias is not None:
                replace(module, name, PackedGEGLU(child))


def replace(parent: nn.Module, name: str, child: nn.Module) -> None:
    """Put a layer in another one's place, in a list of layers too."""
    parent._modules[name] = child.eval()
