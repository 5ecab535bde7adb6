"""A model that went through the stages, made once for all training tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import configuration, settings, write_blocks
from magicanimate.train.run import run


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """All stages but the last one, a few steps each."""
    root = tmp_path_factory.mktemp("train")
    write_blocks(root / "train", 6, 5)
    write_blocks(root / "test", 3, 5)
    for stage in ("vae", "appearance", "temporal"):
        run(settings(root / f"{stage}.yaml", configuration(root, stage)), torch.device("cpu"))
    return root
