"""The networks' names and shapes against those of the published state dicts, key by key."""

from __future__ import annotations

import re

import pytest
import torch

from magicanimate.errors import InputError
from magicanimate.evaluate.features.i3d import I3D
from magicanimate.evaluate.features.inception import InceptionV3
from magicanimate.evaluate.features.lpips import LPIPS, torchvision_names
from magicanimate.evaluate.features.published import KINDS
from magicanimate.evaluate.features.reading import COUNTER, TOLERATED, load_strict
from magicanimate.evaluate.features.resnet3d import ResNet3D
from published_weights import inventory

NETWORKS = {
    "inception": InceptionV3,
    "i3d": I3D,
    "resnet3d": ResNet3D,
    "lpips-vgg": lambda: LPIPS("lpips-vgg"),
    "lpips-alex": lambda: LPIPS("lpips-alex"),
}
FILES = {
    "inception": ["inception"],
    "i3d": ["i3d"],
    "resnet3d": ["resnet3d"],
    "lpips-vgg": ["lpips-vgg-backbone", "lpips-vgg-heads"],
    "lpips-alex": ["lpips-alex-backbone", "lpips-alex-heads"],
}


def built(kind):
    with torch.device("meta"):
        return NETWORKS[kind]()


def published(kind) -> dict[str, list[int]]:
    """Everything that the files of a kind hold."""
    return {name: shape for file in FILES[kind] for name, shape in inventory(file).items()}


def tolerated(kind, name) -> bool:
    return any(re.fullmatch(entry.pattern, name) for entry in TOLERATED[kind])


def layout(network) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in network.state_dict().items() if not name.endswith(COUNTER)}


@pytest.mark.parametrize("kind", KINDS)
def test_layout_is_the_published_one(kind):
    wanted = {name: shape for name, shape in published(kind).items() if not tolerated(kind, name)}
    assert layout(built(kind)) == wanted


@pytest.mark.parametrize("kind", ["lpips-vgg", "lpips-alex"])
def test_layout_of_the_package_lpips(kind):
    state = dict.fromkeys(inventory(f"{kind}-combined"), torch.zeros(0))
    names = {name for name in torchvision_names(state) if not tolerated(kind, name)}
    assert names == set(layout(built(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_exception_is_needed_and_none_hides_a_weight(kind):
    names = [*published(kind), *(inventory(f"{kind}-combined") if kind.startswith("lpips") else [])]
    for entry in TOLERATED[kind]:
        assert any(re.fullmatch(entry.pattern, name) for name in names), entry
    assert not any(tolerated(kind, name) for name in layout(built(kind)))


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("inception", 21_785_568),
        ("i3d", 12_697_264),
        ("resnet3d", 46_198_976),
        ("lpips-vgg", 14_716_160),
        ("lpips-alex", 2_470_848),
    ],
)
def test_number_of_parameters(kind, parameters):
    assert sum(value.numel() for value in built(kind).parameters()) == parameters


def without_numbers(file):
    return {name: torch.empty(shape, device="meta") for name, shape in inventory(file).items()}


@pytest.fixture
def state():
    return without_numbers("i3d")


def test_a_file_without_counters_and_one_with_them_fit(state):
    network = load_strict(built("i3d"), state, "i3d", "a")
    assert not network.training
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    counters = {name: torch.tensor(7) for name in network.state_dict() if name.endswith(COUNTER)}
    assert len(counters) == 57
    load_strict(built("i3d"), state | counters, "i3d", "a")


def test_every_difference_is_listed(state):
    changed = dict(state)
    changed["Mixed_3b.b0.conv.weight"] = changed.pop("Mixed_3b.b0.conv3d.weight")
    del changed["logits.conv3d.bias"]
    changed["logits.conv3d.weight"] = torch.zeros(600, 1024, 1, 1, 1)
    with pytest.raises(InputError) as error:
        load_strict(built("i3d"), changed, "i3d", "file.pt")
    message = str(error.value)
    for part in (
        "file.pt",
        "(4)",
        "missing Mixed_3b.b0.conv3d.weight",
        "unexpected Mixed_3b.b0.conv.weight",
        "missing logits.conv3d.bias",
        "logits.conv3d.weight has shape [600, 1024, 1, 1, 1] instead of [400, 1024, 1, 1, 1]",
    ):
        assert part in message


@pytest.mark.parametrize(("kind", "classes"), [("inception", 1000), ("resnet3d", 700)])
def test_a_classifier_of_another_size_means_another_network(kind, classes):
    state = without_numbers(kind) | {"fc.weight": torch.zeros(classes, 2048)}
    with pytest.raises(InputError, match=rf"fc.weight has {classes} classes instead of .* another network"):
        load_strict(built(kind), state, kind, "a")
    state.pop("fc.weight")
    state.pop("fc.bias")
    load_strict(built(kind), state, kind, "a")
