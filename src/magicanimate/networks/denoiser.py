"""The video denoiser F^T: diffusers' UNetMotionModel, edited to compute what the original computes.

Three edits, all by replacing submodules: group norms whose statistics run over the whole window, motion modules whose
entrance norm runs over single frames (or none at all), and self-attention that reads the reference bank. A fourth
changes no result: feed-forward layers work through their rows in slices.

`forward` is diffusers' own. `trunk`, `branch` and `head` are the same computation in three parts: what both halves of
guidance have in common, the middle and most of the decoder, and the last layers, which are also the shallow way that
remains when deep features are reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, Unpack

import torch
import torch.nn.functional as F
from diffusers import UNetMotionModel
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from einops import rearrange
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.networks.attention import ProjectedBank, ReferenceBank, Text, install_attention, project_bank
from magicanimate.networks.build import build
from magicanimate.networks.coordinates import append_coordinates

if TYPE_CHECKING:
    from magicanimate.networks.control import Residuals

NormScope = Literal["window", "frame"]
SLICE_ROWS = 1024
"""Rows in float32 that a feed-forward layer works on at once on a CPU: enough for matrix products, few enough for its
cache."""


@dataclass
class WindowShape:
    """State of the call in progress for the edited modules; one object shared within one denoiser."""

    frames: int = 1
    temporal: bool = True


class Trunk(NamedTuple):
    """A call up to its first read of the reference; rows are B*K frames.

    x: what enters the rest of the middle block (of no use in a shallow call). skips: of the encoder, ControlNet's
    residuals added; in a shallow call only the first ones. mid: ControlNet's residual of the middle block. emb: the
    time embedding.
    """

    x_Ndhw: Tensor
    skips: tuple[Tensor, ...]
    mid_Ndhw: Tensor | None
    emb_ND: Tensor


class WindowGroupNorm(nn.GroupNorm):
    """Group norm of `[B*K, C, h, w]` with statistics over all K frames of a sample's window."""

    def __init__(self, stock: nn.GroupNorm, window: WindowShape) -> None:
        super().__init__(stock.num_groups, stock.num_channels, stock.eps, device="meta")
        self.weight, self.bias = stock.weight, stock.bias
        self.window = window

    def forward(self, input: Tensor) -> Tensor:
        frames = self.window.frames
        if frames == 1:
            return super().forward(input)
        folded = rearrange(input, "(b k) c h w -> b c k h w", k=frames)
        return rearrange(super().forward(folded), "b c k h w -> (b k) c h w")


class FrameGroupNorm(nn.GroupNorm):
    """Group norm of `[B, C, K, h, w]` with statistics over single frames."""

    def __init__(self, groups: int, stock: nn.GroupNorm) -> None:
        super().__init__(groups, stock.num_channels, stock.eps, device="meta")
        self.weight, self.bias = stock.weight, stock.bias

    def forward(self, input: Tensor) -> Tensor:
        flat = rearrange(input, "b c k h w -> (b k) c h w")
        normed = F.group_norm(flat, self.num_groups, self.weight, self.bias, self.eps)
        # Laid out as the linear layer behind wants it: on other layouts it is several times slower.
        rows = rearrange(normed, "(b k) c h w -> b h w k c", b=input.shape[0]).contiguous()
        return rearrange(rows, "b h w k c -> b c k h w")


class MotionModule(AnimateDiffTransformer3D):
    """A temporal transformer with a per-frame entrance norm, which can be skipped; it keeps `stock`'s layers."""

    def __init__(self, stock: AnimateDiffTransformer3D, groups: int, window: WindowShape) -> None:
        nn.Module.__init__(self)
        self.norm = FrameGroupNorm(groups, stock.norm)
        self.proj_in = stock.proj_in
        self.transformer_blocks = stock.transformer_blocks
        self.proj_out = stock.proj_out
        self.window = window
        self.gradient_checkpointing = False  # diffusers sets it, and the function, as for its own blocks
        # As in the original, a motion module that has not been trained changes nothing.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, hidden_states: Tensor, *unused: Any, num_frames: int = 1, **unused_too: Any) -> Tensor:
        """`[B*K, C, h, w] -> [B*K, C, h, w]`, in the memory format of the input. num_frames: K."""
        if not self.window.temporal:
            return hidden_states
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(self._transform, hidden_states, num_frames)
        return self._transform(hidden_states, num_frames)

    def _transform(self, hidden_states: Tensor, num_frames: int) -> Tensor:
        normed_BCKhw = self.norm(rearrange(hidden_states, "(b k) c h w -> b c k h w", k=num_frames))
        batch, _, _, height, width = normed_BCKhw.shape
        x = self.proj_in(rearrange(normed_BCKhw, "b c k h w -> (b h w) k c"))
        for block in self.transformer_blocks:
            x = block(hidden_states=x)
        x = rearrange(self.proj_out(x), "(b h w) k c -> (b k) c h w", b=batch, h=height, w=width)
        return hidden_states + x


class NoMotionModule(nn.Module):
    """Stands where a denoiser of single frames has no motion module."""

    def forward(self, hidden_states: Tensor, *unused: Any, **unused_too: Any) -> Tensor:
        """Return the input."""
        return hidden_states


class SlicedFeedForward(FeedForward):
    """A feed-forward layer that never has its wide inner features of all rows at once; it keeps `stock`'s layers.

    On a CPU memory that is new to the process costs as much time as the activation function itself.
    """

    def __init__(self, stock: FeedForward) -> None:
        nn.Module.__init__(self)
        self.net = stock.net

    def forward(self, hidden_states: Tensor, *unused: Any, **unused_too: Any) -> Tensor:
        """`[..., D] -> [..., D]`."""
        rows_ND = hidden_states.flatten(0, -2)
        rows = slice_rows(rows_ND)
        if hidden_states.device.type != "cpu" or hidden_states.requires_grad or len(rows_ND) <= rows:
            return super().forward(hidden_states)
        run = super().forward
        return torch.cat([run(part) for part in rows_ND.split(rows)]).unflatten(0, hidden_states.shape[:-1])


def slice_rows(x: Tensor) -> int:
    """Return the rows of this dtype that a feed-forward layer processes at once on a CPU."""
    return SLICE_ROWS * torch.float32.itemsize // x.element_size()


class Denoiser(UNetMotionModel):
    """UNetMotionModel with the edits above. Build it with `build_denoiser`, call it with `predict`."""

    conv_norm_out: nn.GroupNorm

    def __init__(self, norm_scope: NormScope, motion_norm_num_groups: int | None, **config: Any) -> None:
        super().__init__(**config)
        groups = motion_norm_num_groups or self.config["norm_num_groups"]
        self.register_to_config(motion_norm_num_groups=groups)
        self.window = WindowShape()
        for module in list(self.modules()):
            for name, child in list(module.named_children()):
                if type(child) is AnimateDiffTransformer3D:
                    new = MotionModule(child, groups, self.window) if child.transformer_blocks else NoMotionModule()
                    setattr(module, name, new)
                elif type(child) is FeedForward:
                    setattr(module, name, SlicedFeedForward(child))
                elif isinstance(child, ResnetBlock2D) and norm_scope == "window":
                    child.norm1 = WindowGroupNorm(child.norm1, self.window)
                    child.norm2 = WindowGroupNorm(child.norm2, self.window)
        if norm_scope == "window":
            self.conv_norm_out = WindowGroupNorm(self.conv_norm_out, self.window)
        install_attention(self)

    @property
    def has_motion_modules(self) -> bool:
        """True unless frames are denoised without knowing each other."""
        return any(isinstance(module, MotionModule) for module in self.modules())

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        encoder_hidden_states: Tensor,
        bank: ReferenceBank | ProjectedBank | None = None,
        residuals: Residuals | None = None,
        temporal: bool = True,
    ) -> Tensor:
        """See `predict`, which adds the coordinates."""
        self.window.frames, self.window.temporal = sample.shape[2], temporal
        return super().forward(
            sample,
            timestep,
            encoder_hidden_states,
            cross_attention_kwargs={"bank": project_bank(self, bank)} if bank else None,
            down_block_additional_residuals=residuals.down if residuals else None,
            mid_block_additional_residual=residuals.mid if residuals else None,
            return_dict=False,
        )[0]

    def trunk(
        self,
        sample_BcKhw: Tensor,
        timestep_B: Tensor | int,
        text: Text,
        residuals: Residuals | None = None,
        temporal: bool = True,
        shallow: int | None = None,
    ) -> Trunk:
        """Compute the stem, the encoder, and the middle's first residual block, none of which reads the reference.

        shallow: only as far as the last `shallow` layers of the decoder need it; see `head`.
        """
        self.window.frames, self.window.temporal = sample_BcKhw.shape[2], temporal
        emb_ND = self._embed_time(timestep_B, sample_BcKhw)
        x = self.conv_in(rearrange(sample_BcKhw, "b c k h w -> (b k) c h w"))
        skips = [x]
        for block in self.down_blocks[: 1 if shallow else None]:
            for index in range(shallow - 1 if shallow else len(block.resnets)):
                x = self._layer(block, index, x, emb_ND, text, None)
                skips.append(x)
            if block.downsamplers is not None and not shallow:
                x = block.downsamplers[0](x)
                skips.append(x)
        if residuals is not None:
            skips = [skip + residual for skip, residual in zip(skips, residuals.down, strict=True)]
        if not shallow:
            x = self.mid_block.resnets[0](x, emb_ND)
        return Trunk(x, tuple(skips), residuals.mid if residuals else None, emb_ND)

    def branch(self, trunk: Trunk, text: Text, bank: ProjectedBank | None, head: int = 1) -> Tensor:
        """Compute from a full trunk the input of the last `head` decoder layers, `[B*K, D, h, w]`."""
        x, mid = trunk.x_Ndhw, self.mid_block
        motion = getattr(mid, "motion_modules", [None] * len(mid.attentions))
        for attention, module, resnet in zip(mid.attentions, motion, mid.resnets[1:], strict=True):
            x = _attend(attention, x, text, bank)
            x = x if module is None else module(x, num_frames=self.window.frames)
            x = resnet(x, trunk.emb_ND)
        if trunk.mid_Ndhw is not None:
            x = x + trunk.mid_Ndhw
        skips = list(trunk.skips)
        for block in self.up_blocks:
            last = block is self.up_blocks[-1]
            for index in range(len(block.resnets) - (head if last else 0)):
                x = self._layer(block, index, torch.cat([x, skips.pop()], dim=1), trunk.emb_ND, text, bank)
            if not last:
                x = block.upsamplers[0](x, output_size=skips[-1].shape[2:])
        return x

    def head(self, trunk: Trunk, deep_Ndhw: Tensor, text: Text, bank: ProjectedBank | None, head: int = 1) -> Tensor:
        """Compute the last `head` layers of the decoder and the output: the prediction `[B, c, K, h, w]`.

        They need only the first `head` skips, so a shallow trunk is enough where `deep_Ndhw`, from `branch`, is known.
        """
        x, block = deep_Ndhw, self.up_blocks[-1]
        first = len(block.resnets) - head
        for index, skip in zip(range(first, len(block.resnets)), reversed(trunk.skips[:head]), strict=True):
            x = self._layer(block, index, torch.cat([x, skip], dim=1), trunk.emb_ND, text, bank)
        x = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return rearrange(x, "(b k) c h w -> b c k h w", k=self.window.frames)

    def _embed_time(self, timestep_B: Tensor | int, sample_BcKhw: Tensor) -> Tensor:
        """Embed the timestep: of every frame, `[B*K, D]`, or one for all, `[1, D]`."""
        batch, frames = sample_BcKhw.shape[0], sample_BcKhw.shape[2]
        times = torch.as_tensor(timestep_B, device=sample_BcKhw.device).reshape(-1)
        emb = self.time_embedding(self.time_proj(times).to(sample_BcKhw.dtype))
        return emb if len(emb) == 1 else emb.repeat_interleave(frames, dim=0, output_size=batch * frames)

    def _layer(
        self, block: nn.Module, index: int, x_Ndhw: Tensor, emb_ND: Tensor, text: Text, bank: ProjectedBank | None
    ) -> Tensor:
        """Run one layer of the encoder or decoder: residual block, spatial transformer if any, motion module."""
        x_Ndhw = block.resnets[index](x_Ndhw, emb_ND)
        if hasattr(block, "attentions"):
            x_Ndhw = _attend(block.attentions[index], x_Ndhw, text, bank)
        return block.motion_modules[index](x_Ndhw, num_frames=self.window.frames)


def _attend(transformer: nn.Module, x_Ndhw: Tensor, text: Text, bank: ProjectedBank | None) -> Tensor:
    """Run one spatial transformer in the input's memory format (diffusers' own output is copied to another one)."""
    options = {"bank": bank} if bank else None
    if transformer.use_linear_projection:
        return transformer(x_Ndhw, encoder_hidden_states=text, cross_attention_kwargs=options, return_dict=False)[0]
    height = x_Ndhw.shape[2]
    x = rearrange(transformer.proj_in(transformer.norm(x_Ndhw)), "n d h w -> n (h w) d")
    for block in transformer.transformer_blocks:
        x = block(x, encoder_hidden_states=text, cross_attention_kwargs=options)
    return x_Ndhw + transformer.proj_out(rearrange(x, "n (h w) d -> n d h w", h=height))


def build_denoiser(config: Mapping[str, Any], norm_scope: NormScope = "window") -> Denoiser:
    """Build a denoiser with fresh weights.

    config: the arguments of diffusers' UNetMotionModel, and optionally `motion_norm_num_groups`, the groups of the
    motion modules' entrance norm (default: `norm_num_groups`; the original always has 32). With
    `temporal_transformer_layers_per_block` 0 there are no motion modules.
    norm_scope: "window", the original's, or "frame": group norms inside residual blocks take their statistics over
    all frames of the window, or over each frame. Raises InputError for arguments that the class does not have.
    """
    arguments = dict(config)
    groups = arguments.pop("motion_norm_num_groups", None)
    return build(partial(Denoiser, norm_scope, groups), arguments, "denoiser")


class StemOptions(TypedDict, total=False):
    """Channels appended at the stem; see `stem_input`."""

    coordinates: int
    reference_Bchw: Tensor | None


def predict(
    network: Denoiser,
    latents_BcKhw: Tensor,
    timestep_B: Tensor | int,
    text_BTD: Tensor,
    bank: ReferenceBank | ProjectedBank | None = None,
    residuals: Residuals | None = None,
    temporal: bool = True,
    **stem: Unpack[StemOptions],
) -> Tensor:
    """Predict one window of noisy latents, `[B, c, K, h, w]`.

    timestep_B: one for all samples or one each. text_BTD: B rows, or one for all. bank: B rows, used by all K frames;
    without it there is no reference. residuals: ControlNet's, with B*K rows, sample first. temporal=False skips the
    motion modules: K is then a batch of targets that share one bank. coordinates: as in the model's configuration.
    reference_Bchw: for models with `reference_input`, the clean reference latents (zeros: no reference); else None.
    Equation 1 of the paper: eps^{1:K} = F^T(z_t^{1:K} | t, y_a, y_p^{1:K}). Raises InputError for a window that is
    longer than the position table.
    """
    sample = stem_input(network, latents_BcKhw, temporal, **stem)
    return network(sample, timestep_B, text_BTD, bank=bank, residuals=residuals, temporal=temporal)


def stem_input(
    network: Denoiser,
    latents_BcKhw: Tensor,
    temporal: bool = True,
    coordinates: int = 0,
    reference_Bchw: Tensor | None = None,
) -> Tensor:
    """Concatenate the denoiser's input: latents, coordinates, and the reference for models that take it there.

    Arguments and errors as for `predict`.
    """
    longest = network.config["motion_max_seq_length"]
    if temporal and latents_BcKhw.shape[2] > longest:
        raise InputError(f"A window of {latents_BcKhw.shape[2]} frames is too long: this model takes up to {longest}.")
    sample = append_coordinates(latents_BcKhw, coordinates)
    if reference_Bchw is None:
        return sample
    reference_BcKhw = reference_Bchw[:, :, None].expand(-1, -1, latents_BcKhw.shape[2], -1, -1)
    return torch.cat([sample, reference_BcKhw], dim=1)
