"""Figures of single frames: equal to scikit-image, and the published bugs reproduced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from evaluate.clips import Absolute, clip, noisy
from magicanimate.evaluate.frames import gray, l1, l1_per_pixel, lpips, psnr_frames, ssim, wrapped_psnr

TARGET, _ = clip(0, frames=3, side=64)
OUTPUT = noisy(TARGET, 20)


def plain(value: int) -> np.ndarray:
    return np.full((1, 256, 256, 3), value, np.uint8)


def uniform(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 256, 256, 3)).astype(np.uint8)


def test_psnr_and_ssim_are_scikit_images():
    for index in range(3):
        expected = peak_signal_noise_ratio(TARGET[index], OUTPUT[index], data_range=255)
        assert psnr_frames(OUTPUT, TARGET)[index] == pytest.approx(expected, abs=1e-6)
        expected = structural_similarity(gray(TARGET[index]), gray(OUTPUT[index]), data_range=255)
        assert ssim(OUTPUT, TARGET)[index] == pytest.approx(expected, abs=1e-6)


def test_another_window_is_another_ssim():
    """Negative control: what is asked of SSIM above can fail."""
    other = structural_similarity(gray(TARGET[0]), gray(OUTPUT[0]), data_range=255, win_size=11)
    assert abs(ssim(OUTPUT, TARGET)[0] - other) > 1e-3


def test_gray_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    pictures = uniform(3)
    for picture in pictures:
        assert np.array_equal(gray(picture), cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    assert not np.array_equal(gray(pictures[0]), cv2.cvtColor(pictures[0], cv2.COLOR_BGR2GRAY))


@pytest.mark.parametrize(
    ("output", "target", "true", "wrapped"),
    [
        (plain(0), plain(255), 0.0, 48.13),
        (plain(255), plain(0), 0.0, 48.13),
        # differences uniform modulo 256 have squares of mean 105.5 modulo 256: 10 log10(255^2 / 105.5)
        (plain(0)[[0] * 4], uniform(1), 4.76, 27.898),
        (uniform(1), uniform(2), 7.75, 27.898),
    ],
)
def test_the_wrap_bug(output, target, true, wrapped):
    assert psnr_frames(output, target).mean() == pytest.approx(true, abs=0.02)
    assert wrapped_psnr(output, target).mean() == pytest.approx(wrapped, abs=0.02)


@pytest.mark.parametrize(("sigma", "true", "wrapped"), [(10, 28.15, 30.32), (20, 22.19, 28.72)])
def test_the_wrap_bug_under_noise(sigma, true, wrapped):
    """The values follow from the noise alone where nothing is clipped: within 0.05 dB on gray 128."""
    output = noisy(plain(128), sigma)
    assert psnr_frames(output, plain(128))[0] == pytest.approx(true, abs=0.1)
    assert wrapped_psnr(output, plain(128))[0] == pytest.approx(wrapped, abs=0.1)


def test_equal_frames_score_one_hundred_there():
    assert wrapped_psnr(TARGET, TARGET).tolist() == [100.0] * 3
    assert (psnr_frames(TARGET, TARGET) > 130).all()


@given(st.integers(0, 15), st.integers(0, 2**32 - 1))
def test_small_differences_do_not_wrap(reach, seed):
    """Below 16 levels neither the difference's square nor, upwards, the difference wraps: bug and truth agree."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 240, (1, 16, 16, 3)).astype(np.uint8)
    output = (target + rng.integers(0, reach + 1, target.shape)).astype(np.uint8)
    if not np.array_equal(output, target):
        assert wrapped_psnr(output, target)[0] == pytest.approx(psnr_frames(output, target)[0], abs=1e-9)


def test_l1_and_discos_l1():
    assert l1(plain(0), plain(255))[0] == 1
    assert l1(plain(100), plain(151))[0] == pytest.approx(0.2)
    assert l1(plain(151), plain(100))[0] == pytest.approx(0.2)  # no wrap-around in either direction
    half = plain(120)
    half[:, ::2] += 1
    assert l1_per_pixel(plain(100), half)[0] == pytest.approx(3.13e-4, abs=5e-7)  # the paper's value: 20.5 gray levels
    assert l1_per_pixel(plain(100), plain(120))[0] == pytest.approx(20 / 256**2)


def test_lpips_is_given_the_range_that_was_asked_for():
    signed = lpips(Absolute(), OUTPUT, TARGET)
    assert signed.shape == (3,)
    assert lpips(Absolute(), OUTPUT, TARGET, "unit") == pytest.approx(signed / 2)
    many = np.concatenate([OUTPUT] * 4), np.concatenate([TARGET] * 4)
    assert lpips(Absolute(), *many) == pytest.approx(np.tile(signed, 4))
