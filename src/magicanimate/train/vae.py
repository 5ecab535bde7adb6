"""The small VAE: pixels to latents and back. Its fidelity caps everything that comes after it.

Also a small decoder beside a finished one: the same pictures from the same latents in a fraction of the time.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from PIL import Image
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.networks.pixels import depth_to_space, space_to_depth
from magicanimate.synth.dataset import Dataset
from magicanimate.train.batches import Prefetched, moved
from magicanimate.train.data import FrameBatch, draw_frames, pixels_of, random_frames

KL_WEIGHT = 1e-4


def decibels(error: Tensor) -> Tensor:
    """Return the PSNR of a mean squared error of values in [0,1]. Scalar."""
    return -10 * torch.log10(error.clamp_min(1e-10))


@dataclass(frozen=True)
class VaeObjective:
    """Objective of the VAE."""

    decoder_only: bool = False
    body_weight: float = 2.0
    """Extra weight of the body's pixels: a fifth of the picture is all that people look at."""
    latent_noise: float = 0.05
    """Noise on the decoder's latents, as a share of their spread: at sampling they come from a denoiser."""


class VaeStage(Prefetched):
    """L1 + gradient L1 + squared error on pixels, a tiny KL term, noise on the latents."""

    def __init__(
        self,
        vae: AutoencoderKL,
        patch: int,
        data: Dataset,
        held_out: Dataset,
        device: torch.device,
        objective: VaeObjective,
        small: AutoencoderTiny | None = None,  # trained instead of the VAE's own decoder, which then stays as it is
    ) -> None:
        self.modules: dict[str, nn.Module] = {"vae": vae} if small is None else {"decoder": small}
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(not objective.decoder_only and small is None)
        self._vae, self._patch, self._data, self._held_out, self._device = vae, patch, data, held_out, device
        self._body_weight, self._latent_noise = objective.body_weight, objective.latent_noise
        self._trained = vae if small is None else small.decoder
        self._decoder = small or vae
        self._scale: float = 1.0 if small is None else vae.config["scaling_factor"]

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self._trained.named_parameters() if p.requires_grad]

    def clips(self, rng: np.random.Generator, batch: int) -> list[str]:
        return [str(i) for i in sorted({i for i, _, _ in draw_frames(self._data, rng, batch)})]

    def draw(self, rng: np.random.Generator, batch: int) -> FrameBatch:
        return random_frames(self._data, rng, batch)

    def loss_of(self, drawn: FrameBatch, generator: torch.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        pictures, masks = moved(drawn, self._device)
        pixels, body = pixels_of(pictures), masks[:, None]
        posterior = self._vae.encode(space_to_depth(pixels * 2 - 1, self._patch)).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator, device=self._device)
        latents = posterior.mean + (posterior.std + self._latent_noise * posterior.mean.std().detach()) * noise
        output = self._decode(latents)
        weight = 1 + self._body_weight * body
        weight = weight / weight.mean()
        difference = output - pixels
        squared = (weight * difference**2).mean()
        slopes = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = (weight * difference.abs()).mean() + 0.5 * slopes + 8 * squared + KL_WEIGHT * kl
        return loss, {
            "psnr": decibels((difference.detach() ** 2).mean()),
            "kl": kl.detach(),
            "std": posterior.mean.detach().std(),
        }

    @torch.no_grad()
    def reconstruct(self, pixels: Tensor) -> Tensor:
        """Reconstruct pictures [B,3,H,W] in [0,1] from their latents' means."""
        latents = self._vae.encode(space_to_depth(pixels * 2 - 1, self._patch)).latent_dist.mode()
        return self._decode(latents).clamp(0, 1)

    def _decode(self, latents: Tensor) -> Tensor:
        """Decode unscaled latents to pictures in about [0,1]."""
        return depth_to_space(self._decoder.decode(latents * self._scale).sample, self._patch) * 0.5 + 0.5

    def grid(self, path: Path) -> dict[str, float]:
        """Write held-out pictures above their reconstructions; return PSNR over the picture and inside the body."""
        whole, inside, rows = [], [], []
        for i in range(min(24, len(self._held_out))):
            pixels = torch.from_numpy(self._held_out.rgb(i)[:1].copy()).permute(0, 3, 1, 2).float() / 255
            body = torch.from_numpy(self._held_out.parts(i)[:1] > 0)[:, None]
            output = self.reconstruct(pixels.to(self._device)).cpu()
            error = (output - pixels) ** 2
            whole.append(float(decibels(error.mean())))
            if body.any():
                inside.append(float(decibels(error[body.expand_as(error)].mean())))
            rows.append(torch.cat([pixels, output], 2)[0])
        sheet = torch.cat(
            [torch.cat(rows[k : k + 8], 2) for k in range(0, len(rows), 8) if len(rows[k : k + 8]) == len(rows[:8])], 1
        )
        Image.fromarray((sheet.permute(1, 2, 0) * 255).round().byte().numpy()).save(path)
        return {"psnr": float(np.mean(whole)), "body_psnr": float(np.mean(inside))}


def _pass_through(conv: nn.Module, gain: float = 1.0, shrink: float = 0.3) -> None:
    """Make a convolution hand its first channels on, on top of a weaker random start."""
    assert isinstance(conv, nn.Conv2d)
    conv.weight.mul_(shrink)
    middle = conv.kernel_size[0] // 2
    for k in range(min(conv.in_channels, conv.out_channels)):
        conv.weight[k, k, middle, middle] += gain


@torch.no_grad()
def start_from_components(vae: AutoencoderKL, patch: int, data: Dataset) -> None:
    """Start near a linear autoencoder: stems at the data's principal components, a clear path between, silent branches.

    Brightness has many times the variance of color, and a deep network from a random start learns it long before any
    color: gray pictures (18 dB) for the first 4,000 samples, where a linear autoencoder takes a hundred.
    """
    pixels = pixels_of(random_frames(data, np.random.default_rng(0), 96).pictures)
    folded = space_to_depth(pixels * 2 - 1, patch).movedim(1, -1).flatten(0, -2)
    variance, basis = torch.linalg.eigh(folded.T @ folded / len(folded))
    stem, head = vae.encoder.conv_in, vae.decoder.conv_out
    top = min(stem.out_channels, head.in_channels, basis.shape[1])
    axes, root = basis.flip(1)[:, :top], variance.flip(0)[:top].clamp_min(1e-5) ** 0.25
    for conv in (stem, head):
        conv.weight.mul_(0.3)
    stem.weight[:top, :, 1, 1] += (axes / root).T.to(stem.weight)
    head.weight[:, :top, 1, 1] += (axes * root).to(head.weight)
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
            if module.conv_shortcut is not None:
                _pass_through(module.conv_shortcut)
        elif isinstance(module, Downsample2D):
            module.conv.weight.mul_(0.3)
            module.conv.weight[:, :, :2, :2] += torch.eye(module.channels)[..., None, None] / 4
        elif isinstance(module, Upsample2D):
            _pass_through(module.conv)
    latent = vae.config["latent_channels"]
    for conv in (vae.encoder.conv_out, vae.quant_conv, vae.post_quant_conv, vae.decoder.conv_in):
        _pass_through(conv)
    # Narrow posteriors: at log variance 0 the first minutes go into shouting over the noise.
    vae.quant_conv.weight[latent:] = 0
    vae.quant_conv.bias[latent:] = -6.0


@torch.no_grad()
def fit_scaling_factor(vae: AutoencoderKL, patch: int, data: Dataset, device: torch.device) -> float:
    """Return one over the standard deviation of the latents of 64 random frames; also sets it in the config."""
    pixels = pixels_of(random_frames(data, np.random.default_rng(0), 64).pictures)
    spread = [vae.encode(space_to_depth(p.to(device) * 2 - 1, patch)).latent_dist.mode() for p in pixels.split(8)]
    scale = round(float(1 / torch.cat(spread).std()), 5)
    vae.register_to_config(scaling_factor=scale)
    return scale


@torch.no_grad()
def with_further_channels(vae: AutoencoderKL, further: int) -> AutoencoderKL:
    """Widen a VAE's latents by further channels, which its decoder hardly sees at first; its own stay what they are.

    The further ones start like those of a fresh VAE: a weak random view of the encoder's features, narrow posteriors.
    """
    own = vae.config["latent_channels"]
    wide = own + further
    grown = AutoencoderKL.from_config(dict(vae.config) | {"latent_channels": wide})
    kept = torch.arange(own)
    both = torch.cat([kept, wide + kept])  # means, then log variances
    for conv in (grown.encoder.conv_out, grown.decoder.conv_in):
        conv.weight.mul_(0.1)
        conv.bias.zero_()
    for conv in (grown.quant_conv, grown.post_quant_conv):
        _pass_through(conv, shrink=0.0)
        conv.bias.zero_()
    grown.quant_conv.weight[wide:] = 0
    grown.quant_conv.bias[wide:] = -6.0
    places = {
        "encoder.conv_out": (both, None), "quant_conv": (both, both),
        "post_quant_conv": (kept, kept), "decoder.conv_in": (None, kept),
    }  # fmt: skip
    weights = grown.state_dict()
    for name, value in vae.state_dict().items():
        rows, columns = places.get(name.rpartition(".")[0], (None, None))
        rows = torch.arange(len(weights[name])) if rows is None else rows
        if value.ndim == 1:
            weights[name][rows] = value
            continue
        columns = torch.arange(weights[name].shape[1]) if columns is None else columns
        weights[name][rows[:, None], columns] = value
    return grown


def build_vae(patch: int, channels: tuple[int, ...], latent_channels: int, groups: int = 8) -> AutoencoderKL:
    """Build an AutoencoderKL on space-to-depth pixels; no attention (latents carry enough context at these sizes)."""
    n = len(channels)
    return AutoencoderKL(
        in_channels=3 * patch**2,
        out_channels=3 * patch**2,
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=latent_channels,
        # few wide groups: with two channels each, the norms would take the picture's overall color away
        norm_num_groups=groups,
        mid_block_add_attention=False,
    )


def new_small_decoder(vae: AutoencoderKL, channels: int, blocks: tuple[int, ...]) -> AutoencoderTiny:
    """Build a fresh one. blocks: of each level, the coarsest first. The format's encoder is there too, but not read."""
    levels = len(vae.config["block_out_channels"])
    if levels != len(blocks):
        raise InputError(f"decoder.blocks needs {levels} numbers, one for each level of the VAE.")
    unused = {"encoder_block_out_channels": (8,) * levels, "num_encoder_blocks": (1,) * levels}
    small = AutoencoderTiny(
        in_channels=vae.config["in_channels"],
        out_channels=vae.config["out_channels"],
        latent_channels=vae.config["latent_channels"],
        decoder_block_out_channels=(channels,) * levels,
        num_decoder_blocks=blocks,
        **unused,
    )
    small.encoder.requires_grad_(False)
    return small
