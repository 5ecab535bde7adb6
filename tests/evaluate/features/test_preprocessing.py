"""Resizing and scaling against Pillow and against small computations of our own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from magicanimate.evaluate.features import preprocessing


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def pillow_bicubic(image_HWC: np.ndarray, side: int) -> np.ndarray:
    """Resize each channel as a float picture, so that nothing is rounded or clipped. [3, side, side]"""
    channels = [Image.fromarray(image_HWC[..., c].astype(np.float32)) for c in range(3)]
    return np.stack([np.asarray(channel.resize((side, side), Image.Resampling.BICUBIC)) for channel in channels])


def resized(window_NTHWC: np.ndarray, side: int) -> np.ndarray:
    return preprocessing.bicubic(preprocessing.planes(window_NTHWC, torch.device("cpu")), side).numpy()


@pytest.mark.parametrize(
    ("height", "width", "side"), [(256, 256, 112), (256, 256, 224), (64, 48, 112), (300, 200, 224)]
)
def test_bicubic_is_pillows(height, width, side):
    window = noise(1, 2, height, width)
    expected = np.stack([pillow_bicubic(frame, side) for frame in window[0]])
    assert np.abs(resized(window, side)[0] - expected).max() < 0.02  # of 255


def test_overshoots_beside_an_edge_are_kept():
    window = np.zeros((1, 1, 64, 64, 3), np.uint8)
    window[..., 32:, :] = 255
    x = resized(window, 112)
    assert x.min() < -5
    assert x.max() > 260
    assert np.abs(x[0, 0] - pillow_bicubic(window[0, 0], 112)).max() < 0.02


def test_bicubic_without_antialiasing_is_another_one():
    window = noise(1, 1, 256, 256)
    plain = interpolate(preprocessing.planes(window[0], torch.device("cpu")), (112, 112), mode="bicubic")
    assert (plain - resized(window, 112)[0]).abs().max() > 10


def test_kinetics_mean_is_subtracted_per_channel_and_frames_come_second():
    window = np.zeros((1, 2, 10, 12, 3), np.uint8)
    window[0, 1] = (10, 20, 30)
    x = preprocessing.for_resnet3d(preprocessing.planes(window, torch.device("cpu")))
    assert x.shape == (1, 3, 2, 112, 112)
    mean = torch.tensor([114.7748, 107.7354, 99.4750])
    assert torch.allclose(x[0, :, 0].mean((1, 2)), -mean, atol=1e-3)
    assert torch.allclose(x[0, :, 1].mean((1, 2)), torch.tensor([10.0, 20, 30]) - mean, atol=1e-3)


def test_i3d_takes_minus_one_to_one():
    window = np.zeros((1, 3, 8, 8, 3), np.uint8)
    window[0, 1], window[0, 2] = 255, 127
    x = preprocessing.for_i3d(preprocessing.planes(window, torch.device("cpu")))
    assert x.shape == (1, 3, 3, 224, 224)
    assert torch.allclose(x.mean((0, 1, 3, 4)), torch.tensor([-1.0, 1.0, 127 / 127.5 - 1]), atol=1e-5)


def two_taps(line: np.ndarray, size: int) -> np.ndarray:
    """Bilinear along the first axis, pixel centers at halves, two source pixels each and no more."""
    where = np.clip((np.arange(size) + 0.5) * len(line) / size - 0.5, 0, len(line) - 1)
    low = np.floor(where).astype(int)
    high = np.minimum(low + 1, len(line) - 1)
    share = (where - low).reshape(-1, *[1] * (line.ndim - 1))
    return line[low] * (1 - share) + line[high] * share


@pytest.mark.parametrize(("height", "width"), [(256, 256), (64, 100), (640, 320)])
def test_inception_resizes_with_two_taps_and_scales(height, width):
    image = noise(1, height, width)
    x = preprocessing.for_inception(preprocessing.planes(image, torch.device("cpu")))[0].numpy()
    rows = two_taps(image[0].astype(np.float64), 299)
    expected = two_taps(rows.swapaxes(0, 1), 299).swapaxes(0, 1).transpose(2, 0, 1) / 127.5 - 1
    assert x.shape == (3, 299, 299)
    assert np.abs(x - expected).max() < 5e-4
