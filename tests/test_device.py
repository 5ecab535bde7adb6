"""Devices, dtypes, and memory."""

from __future__ import annotations

import pytest
import torch

from magicanimate.engine.device import peak_memory, select_device, select_dtype
from magicanimate.errors import InputError


def test_automatic_choices():
    assert select_device().type in ("cpu", "cuda", "mps")
    assert select_dtype("auto", torch.device("cpu")) == torch.float32
    assert select_dtype("auto", torch.device("cuda")) == torch.float16


def test_named_choices():
    assert select_device("cpu") == torch.device("cpu")
    assert select_dtype("bfloat16") == torch.bfloat16


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "meta", ""])
def test_devices_that_are_not_there(name):
    with pytest.raises(InputError, match="device"):
        select_device(name)


def test_unknown_number_format():
    with pytest.raises(InputError, match="float16"):
        select_dtype("float7")


def test_peak_memory_is_plausible():
    assert 10**7 < peak_memory() < 10**12
