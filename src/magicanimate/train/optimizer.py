"""The optimizers that a stage can be trained with."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

OptimizerName = Literal["adamw", "adafactor"]


class FactoredOptimizer(torch.optim.Adafactor):
    """Adafactor (arXiv 1804.04235) with AdamW's meaning of the learning rate; it sees convolutions as matrices.

    Its second moments are a row and a column for each matrix, and there is no first moment. torch factors the last two
    axes, which of a 3 x 3 convolution would save a third only; so weights of more axes are shown to it as `[D, rest]`.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        self._shown = {p: nn.Parameter(p.detach().view(len(p), -1)) for p in parameters if p.ndim > 2}
        # eps[1] = 1: rates are absolute, not shares of a weight's size, by which silent layers would stay silent.
        # One weight after the other: all at once would need their memory once more.
        super().__init__(
            [self._shown.get(p, p) for p in parameters], lr, eps=(None, 1.0), weight_decay=weight_decay, foreach=False
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for p, matrix in self._shown.items():
            matrix.grad = None if p.grad is None else p.grad.reshape(matrix.shape)
        result = super().step(closure)
        for matrix in self._shown.values():
            matrix.grad = None
        return result


def build_optimizer(
    name: OptimizerName, parameters: list[nn.Parameter], lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return an optimizer of `parameters` with nothing remembered yet."""
    if name == "adafactor":
        return FactoredOptimizer(parameters, lr, weight_decay)
    # fused: one pass over each weight. torch's own choice on a CPU is a dozen passes, which take four times as long.
    return torch.optim.AdamW(parameters, lr, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
