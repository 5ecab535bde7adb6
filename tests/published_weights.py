"""Weights files with the published layouts and random numbers, for tests of the feature networks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

INVENTORIES = Path(__file__).parent / "evaluate" / "features" / "inventories"
_NUMBERS = 1 << 20


def inventory(name: str) -> dict[str, list[int]]:
    """Name -> shape of a published state dict, without batch normalization's counters."""
    return json.loads((INVENTORIES / f"{name}.json").read_text())


def random_state(name: str, keep: str = "") -> dict[str, Tensor]:
    """A state dict of a published layout, float16, scaled so that signals keep their size through the network.

    keep: prefix of the names to make; "": all.
    """
    numbers = torch.randn(_NUMBERS, generator=torch.Generator().manual_seed(3))
    return {key: _tensor(key, shape, numbers) for key, shape in inventory(name).items() if key.startswith(keep)}


def _tensor(key: str, shape: list[int], numbers: Tensor) -> Tensor:
    count = math.prod(shape)
    start = 97 * len(key) if count < _NUMBERS // 2 else 0
    values = _sized(key, shape, numbers[start : start + count]).half()
    return values.repeat(-(-count // _NUMBERS))[:count].reshape(shape)


def _sized(key: str, shape: list[int], numbers: Tensor) -> Tensor:
    if key.startswith("lin"):
        return numbers.abs()
    if len(shape) > 1:
        return numbers / math.sqrt(math.prod(shape[1:]) / 2)
    if key.endswith(("running_var", "weight")):
        return 1 + numbers.abs() / 4
    return numbers / 8
