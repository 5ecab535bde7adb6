"""Layers of which nothing is trained, kept in bfloat16: half the memory, and no second copy under autocast."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STORED = torch.bfloat16


class StoredLinear(nn.Linear):
    """A linear layer with weights in bfloat16 that computes in its input's dtype; it keeps `stock`'s."""

    def __init__(self, stock: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = stock.in_features, stock.out_features
        _take_over(self, stock)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, _as_computed(self.weight, input), _as_computed(self.bias, input))


class StoredConv2d(nn.Conv2d):
    """A convolution with weights in bfloat16 that computes in its input's dtype; it keeps `stock`'s."""

    def __init__(self, stock: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        for name in (*nn.Conv2d.__constants__, "_reversed_padding_repeated_twice"):
            setattr(self, name, getattr(stock, name))
        _take_over(self, stock)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, _as_computed(self.weight, input), _as_computed(self.bias, input))


def _take_over(layer: nn.Module, stock: nn.Linear | nn.Conv2d) -> None:
    layer.training = stock.training
    for name in ("weight", "bias"):
        value = getattr(stock, name)
        layer.register_parameter(name, None if value is None else nn.Parameter(value.detach().to(STORED), False))


def _as_computed(value: Tensor | None, input: Tensor) -> Tensor | None:
    """Return the weights as the layer needs them. Autocast wants them as they are: it would only round them again."""
    kind = input.device.type
    if value is None or (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return value
    return value.to(input.dtype)


def store_frozen(networks: Iterable[nn.Module], trained: Iterable[nn.Parameter]) -> None:
    """Keep linear layers and convolutions of which nothing is trained in bfloat16, in place. Networks may come twice.

    Under autocast results stay the same to the bit; without it they are those of rounded weights. Norms and tables,
    a thousandth of a network, stay as they are, and so does the first layer, which tells diffusers the dtype.
    """
    kept = {id(p) for p in trained}
    for network in networks:
        kept.add(id(next(network.parameters())))
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if any(id(p) in kept for p in child.parameters(recurse=False)):
                    continue
                if type(child) is nn.Linear:
                    setattr(parent, name, StoredLinear(child))
                elif type(child) is nn.Conv2d:
                    setattr(parent, name, StoredConv2d(child))
