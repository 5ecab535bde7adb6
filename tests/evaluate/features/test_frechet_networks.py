"""Features of the full networks, with random weights in files of the published layouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from magicanimate.errors import InputError
from magicanimate.evaluate.features import load_feature_network
from magicanimate.evaluate.features.frechet_network import FrechetNetwork
from magicanimate.evaluate.features.preprocessing import for_resnet3d
from published_weights import random_state


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def saved(folder, kind, prefix=""):
    path = folder / f"{kind}.pth"
    torch.save({prefix + name: value for name, value in random_state(kind).items()}, path)
    return path


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    return load_feature_network("inception", saved(tmp_path_factory.mktemp("a"), "inception"))


def test_inception_gives_2048_numbers_a_picture_however_many_at_a_time(inception):
    pictures = noise(2, 40, 56)
    features = inception.features(pictures)
    assert features.shape == (2, 2048)
    assert features.dtype == np.float64
    assert np.isfinite(features).all()
    assert np.ptp(features, 0).max() > 1e-3  # other pictures, other features
    inception.batch, usual = 1, inception.batch
    alone = inception.features(pictures[[1, 0]])
    inception.batch = usual
    scale = np.abs(features).max()
    assert np.abs(alone - features[[1, 0]]).max() < 1e-5 * scale
    assert np.abs(alone - features).max() > 1e-3 * scale


def test_facts_of_inception(inception):
    assert (inception.name, inception.metric, inception.dimensions, inception.window) == (
        "Inception v3",
        "FID",
        2048,
        1,
    )
    assert len(inception.sha256) == 64
    assert inception.recognized == ""  # random weights are no published file


def test_resnet3d_from_a_file_of_several_gpus(tmp_path):
    network = load_feature_network("resnet3d", saved(tmp_path, "resnet3d", prefix="module."))
    assert (network.metric, network.dimensions, network.window) == ("FID-VID", 2048, 16)
    window = noise(1, 16, 24, 20)
    features = network.features(window)
    assert features.shape == (1, 2048)
    assert np.isfinite(features).all()
    x = for_resnet3d(torch.from_numpy(window).permute(0, 1, 4, 2, 3).float())
    with torch.no_grad():
        assert np.allclose(features, network.network(x).numpy())


def test_i3d_gives_400_numbers_a_window(tmp_path):
    network = load_feature_network("i3d", saved(tmp_path, "i3d"))
    assert (network.name, network.metric, network.dimensions, network.window) == ("I3D", "FVD", 400, 16)
    features = network.features(noise(1, 16, 24, 20))
    assert features.shape == (1, 400)
    assert np.isfinite(features).all()
    assert features.std() > 1e-3


class Means(torch.nn.Module):
    """A small network: the mean color."""

    def forward(self, x_N3HW):
        return x_N3HW.mean((2, 3))


class WindowMeans(torch.nn.Module):
    def forward(self, x_NT3HW):
        return x_NT3HW.mean((1, 3, 4))


def small(window: int, batch: int = 2) -> FrechetNetwork:
    network = Means() if window == 1 else WindowMeans()
    return FrechetNetwork("m", "", "0", "", 3, window, network, lambda x: x, batch, torch.device("cpu"))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_every_picture_lands_in_its_row(count):
    pictures = noise(count, 6, 4)
    assert np.allclose(small(1).features(pictures), pictures.mean((1, 2)), atol=1e-4)
    windows = noise(count, 3, 6, 4)
    assert np.allclose(small(3).features(windows), windows.mean((1, 2, 3)), atol=1e-4)
    assert small(1).features(pictures).shape == (count, 3)


def test_overlapping_windows_without_a_copy():
    frames = noise(20, 6, 4)
    windows = np.lib.stride_tricks.sliding_window_view(frames, 16, axis=0).transpose(0, 4, 1, 2, 3)
    expected = [frames[i : i + 16].mean((0, 1, 2)) for i in range(5)]
    assert np.allclose(small(16).features(windows), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("window", "pictures"),
    [
        (1, noise(2, 3, 6, 4)),
        (3, noise(2, 6, 4)),
        (3, noise(2, 4, 6, 4)),
        (1, noise(2, 6, 4)[..., :2]),
        (1, noise(2, 6, 4).astype(np.float32)),
    ],
)
def test_other_shapes_and_types_are_refused(window, pictures):
    with pytest.raises(InputError, match="of type uint8, and these are"):
        small(window).features(pictures)


class Scripted(torch.nn.Module):
    """The interface of StyleGAN-V's file: shows what it was called with."""

    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False):
        calls = torch.tensor([float(rescale), float(resize), float(return_features)])
        means = torch.cat([x.mean((1, 2, 3, 4))[:, None], calls.expand(x.shape[0], 3)], 1)
        return torch.nn.functional.pad(means, (0, 396))


class Wrong(torch.nn.Module):
    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False):
        return x


def scripted(folder, module):
    torch.jit.script(module).save(str(folder / "i3d.pt"))
    return folder / "i3d.pt"


def test_torchscript_i3d_gets_prepared_windows(tmp_path):
    network = load_feature_network("i3d", scripted(tmp_path, Scripted()))
    white = np.full((2, 16, 8, 8, 3), 255, np.uint8)
    white[1] = 0
    features = network.features(white)
    assert features.shape == (2, 400)
    assert np.allclose(features[:, :4], [[1, 0, 0, 1], [-1, 0, 0, 1]], atol=1e-5)


@pytest.mark.parametrize("module", [Wrong(), torch.nn.Linear(2, 2)])
def test_other_scripts_are_refused(tmp_path, module):
    network = load_feature_network("i3d", scripted(tmp_path, module))
    with pytest.raises(InputError, match="is not the I3D of StyleGAN-V"):
        network.features(noise(1, 16, 8, 8))
