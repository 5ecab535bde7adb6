"""LPIPS with random backbones and the published heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, max_pool2d, relu

from magicanimate.errors import InputError
from magicanimate.evaluate.features import load_feature_network
from magicanimate.evaluate.features.loading import shipped_heads
from magicanimate.evaluate.features.published import HEADS
from published_weights import random_state


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def backbone(kind):
    """Make a backbone without the classifier, which is 20 times as large; two small tensors stand for it."""
    extra = {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}
    return random_state(f"{kind}-backbone", keep="features") | extra


@pytest.fixture(scope="module", params=["lpips-vgg", "lpips-alex"])
def network(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips") / "backbone.pth"
    torch.save(backbone(request.param), path)
    return load_feature_network(request.param, path)


def test_a_distance(network):
    a, b = noise(2, 40, 33), noise(2, 40, 33, seed=1)
    assert np.array_equal(network.distance(a, a, "signed"), [0, 0])
    forward, back = network.distance(a, b, "signed"), network.distance(b, a, "signed")
    assert forward.shape == (2,)
    assert forward.dtype == np.float64
    assert (forward > 1e-3).all()
    assert np.array_equal(forward, back)
    near = np.clip(a.astype(int) + 3, 0, 255).astype(np.uint8)
    assert (network.distance(a, near, "signed") < forward).all()


def test_the_range_of_disco_gives_other_numbers(network):
    a, b = noise(1, 40, 33), noise(1, 40, 33, seed=1)
    assert abs(network.distance(a, b, "unit") / network.distance(a, b, "signed") - 1) > 0.05


def test_pictures_are_independent_of_their_batch(network):
    a, b = noise(9, 32, 32), noise(9, 32, 32, seed=1)
    together = network.distance(a, b, "signed")
    assert np.allclose(together[8:], network.distance(a[8:], b[8:], "signed"), rtol=1e-5)
    assert len(np.unique(together)) == 9
    assert network.distance(a[:0], b[:0], "signed").shape == (0,)


def test_bad_pictures(network):
    with pytest.raises(InputError, match="the same size"):
        network.distance(noise(1, 40, 40), noise(1, 40, 41), "signed")
    with pytest.raises(InputError, match="at least 32x32"):
        network.distance(noise(1, 31, 40), noise(1, 31, 40), "signed")
    with pytest.raises(InputError, match="type uint8"):
        network.distance(noise(1, 40, 40) / 255, noise(1, 40, 40) / 255, "signed")


@pytest.mark.parametrize("input_range", ["signed", "unit"])
def test_alexnet_against_a_computation_by_hand(tmp_path, input_range):
    state = {name: value.float() for name, value in backbone("lpips-alex").items()}
    torch.save(state, tmp_path / "a.pth")
    heads = torch.load(shipped_heads("lpips-alex"), map_location="cpu", weights_only=True)
    a, b = noise(1, 64, 48), noise(1, 64, 48, seed=1)

    def features(picture):
        x = torch.from_numpy(picture).permute(0, 3, 1, 2).double() / 255
        x = x if input_range == "unit" else 2 * x - 1
        x = (x - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
            :, None, None
        ]
        found = []
        for index, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            x = max_pool2d(x, 3, 2) if index in (3, 6) else x
            weight, bias = (state[f"features.{index}.{part}"].double() for part in ("weight", "bias"))
            x = relu(conv2d(x, weight, bias, stride, padding))
            found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
        return found

    expected = sum(
        ((x - y) ** 2 * heads[f"lin{i}.model.1.weight"].double()).sum(1).mean()
        for i, (x, y) in enumerate(zip(features(a), features(b), strict=True))
    )
    network = load_feature_network("lpips-alex", tmp_path / "a.pth")
    assert network.distance(a, b, input_range)[0] == pytest.approx(float(expected), rel=1e-4)


def test_one_file_with_everything_is_the_same(tmp_path):
    state, heads = (
        backbone("lpips-alex"),
        torch.load(shipped_heads("lpips-alex"), map_location="cpu", weights_only=True),
    )
    torch.save(state, tmp_path / "two.pth")
    torch.save(state | heads, tmp_path / "one.pth")
    places = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    package = {f"net.slice{places[i]}.{i}.{p}": state[f"features.{i}.{p}"] for i in places for p in ("weight", "bias")}
    package |= heads | {f"lins.{name[3:]}": value for name, value in heads.items()}
    package |= {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}
    torch.save(package, tmp_path / "package.pth")
    torch.save({name: 2 * value for name, value in heads.items()}, tmp_path / "heads.pth")

    a, b = noise(1, 40, 33), noise(1, 40, 33, seed=1)
    networks = [load_feature_network("lpips-alex", tmp_path / f"{name}.pth") for name in ("two", "one", "package")]
    values = [network.distance(a, b, "signed")[0] for network in networks]
    assert values[0] == values[1] == values[2]
    assert networks[0].sha256.endswith("+" + HEADS["lpips-alex"].sha256)
    assert len(networks[1].sha256) == 64

    other = load_feature_network("lpips-alex", tmp_path / "two.pth", heads=tmp_path / "heads.pth")
    assert other.distance(a, b, "signed")[0] == pytest.approx(2 * values[0])
    assert other.sha256 != networks[0].sha256
    with pytest.raises(InputError, match=r"one.pth holds the heads of LPIPS already"):
        load_feature_network("lpips-alex", tmp_path / "one.pth", heads=tmp_path / "heads.pth")


def test_heads_of_the_other_backbone_do_not_fit(tmp_path):
    torch.save(backbone("lpips-alex"), tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"lin1.model.1.weight has shape \[1, 128, 1, 1\] instead of \[1, 192, 1, 1\]"):
        load_feature_network("lpips-alex", tmp_path / "a.pth", heads=shipped_heads("lpips-vgg"))


def test_without_torchmetrics_the_heads_are_asked_for(tmp_path, monkeypatch):
    torch.save(backbone("lpips-alex"), tmp_path / "a.pth")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs its heads, alex.pth of LPIPS 0.1.*magicanimate\[eval\]"):
        load_feature_network("lpips-alex", tmp_path / "a.pth")
