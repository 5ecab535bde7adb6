"""Random models whose zero-initialised layers are random too, so that no path is dead."""

from __future__ import annotations

from typing import Any

import torch

from random_models import random_model


def stir(network: torch.nn.Module) -> torch.nn.Module:
    """Fill parameters that are all zero with small random values, in place."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def stirred_model(style: str = "parts", **config: Any) -> Any:
    """`random_model` with every layer at work."""
    model = random_model(style, **config)
    for network in model.networks.values():
        stir(network)
    return model


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers of a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
