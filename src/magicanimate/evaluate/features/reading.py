"""Weights files into networks: safe formats only, every name accounted for."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from magicanimate.errors import InputError
from magicanimate.models.weights import misfits, read_state

PREFIX = "module."  # what training on several GPUs put before every name
COUNTER = "num_batches_tracked"  # of batch normalization: unused in inference, absent from older files


@dataclass(frozen=True)
class Tolerated:
    """Names that may be in a file though the network has no use for them.

    pattern: of the whole name. why: for people. classes: rows that such a tensor must have (None: any); a classifier of
    another size means that the file is another network, of the same layout otherwise.
    """

    pattern: str
    why: str
    classes: int | None = None


TOLERATED: dict[str, tuple[Tolerated, ...]] = {
    # AuxLogits are not tolerated: only torchvision's own Inception has them, which is not the network of FID.
    "inception": (Tolerated(r"fc\.(weight|bias)", "the classifier", classes=1008),),
    "i3d": (),
    "resnet3d": (Tolerated(r"fc\.(weight|bias)", "the classifier", classes=400),),
    "lpips-vgg": (
        Tolerated(r"classifier\.\d+\.(weight|bias)", "the classifier"),
        Tolerated(r"lins\.\d\.model\.1\.weight", "the heads once more"),
        Tolerated(r"scaling_layer\.(shift|scale)", "constants"),
    ),
    "lpips-alex": (
        Tolerated(r"classifier\.\d+\.(weight|bias)", "the classifier"),
        Tolerated(r"lins\.\d\.model\.1\.weight", "the heads once more"),
        Tolerated(r"scaling_layer\.(shift|scale)", "constants"),
    ),
}
"""Tolerated names by kind of network; the counters of batch normalization are tolerated everywhere."""


def read_published(path: Path) -> dict[str, Tensor]:
    """Read a state dict as `weights.read_state`; names lose the prefix `module.` if all have it."""
    state = read_state(path)
    stripped = len(PREFIX) if all(name.startswith(PREFIX) for name in state) else 0
    return {name[stripped:]: value for name, value in state.items()}


def is_torchscript(path: Path) -> bool:
    """Return True if a file is a TorchScript archive: a zip file that has code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def load_strict(network: nn.Module, state: Mapping[str, Tensor], kind: str, source: object) -> nn.Module:
    """Put weights into a network that was built on the meta device, and make it ready for inference in float32.

    Raises one InputError with every missing, unexpected and misshapen name; see TOLERATED for the exceptions.
    """
    wanted = network.state_dict()
    given = {name: value for name, value in state.items() if name in wanted or not _is_tolerated(name, kind)}
    expected = {name: value for name, value in wanted.items() if name in given or not name.endswith(COUNTER)}
    problems = misfits(expected, given)
    problems += _wrong_classifiers(state, kind)
    if problems:
        raise InputError(
            f"The weights {source} do not fit the network {kind} ({len(problems)}): {'; '.join(problems)}."
        )
    counters = {name: torch.zeros_like(value, device="cpu") for name, value in wanted.items() if name.endswith(COUNTER)}
    values = {name: value.float() if value.is_floating_point() else value for name, value in given.items()}
    network.load_state_dict({**counters, **values}, assign=True)
    return network.eval().requires_grad_(False)


def _is_tolerated(name: str, kind: str) -> bool:
    return name.endswith(COUNTER) or any(re.fullmatch(entry.pattern, name) for entry in TOLERATED[kind])


def _wrong_classifiers(state: Mapping[str, Tensor], kind: str) -> Iterable[str]:
    for entry in TOLERATED[kind]:
        for name, value in state.items():
            if entry.classes and re.fullmatch(entry.pattern, name) and len(value) != entry.classes:
                yield f"{name} has {len(value)} classes instead of {entry.classes}, so this is another network"
