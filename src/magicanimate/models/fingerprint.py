"""Short names of weights, by which models are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from magicanimate.files import sha256

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from magicanimate.models.model import Model

_SAMPLED = 64  # values of each weight tensor that tell models apart
_SHOWN = 16  # characters of a hash


def model_fingerprint(model: Model) -> str:
    """Hash some values of every weight tensor of a model; reading all of them would take long."""
    if model.compute.fingerprint is not None:
        return model.compute.fingerprint
    pieces: list[bytes] = []
    for network in model.networks.values():
        for name, tensor in network.state_dict().items():
            plain = tensor.detach()
            if type(plain) is not Tensor:  # 8-bit weights
                plain = plain.dequantize()
            values = plain.flatten()[:_SAMPLED].float().cpu().numpy().tobytes()
            pieces.append(name.encode() + str((tuple(tensor.shape), tensor.dtype)).encode() + values)
    return sha256(*pieces)[:_SHOWN]


def encoder_fingerprint(vae: AutoencoderKL) -> str:
    """Hash a VAE's encoder and scaling factor: latents of another one must not be used."""
    pieces = [str(vae.config["scaling_factor"]).encode()]
    for name, value in vae.encoder.state_dict().items():
        pieces.append(name.encode() + value.double().sum().cpu().numpy().tobytes())
    return sha256(*pieces)[:_SHOWN]
