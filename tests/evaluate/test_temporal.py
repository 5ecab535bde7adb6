"""Change over time: what dtSSD and the warping error reward, and what they do not."""

from __future__ import annotations

import numpy as np
import pytest

from evaluate.clips import noisy
from magicanimate.evaluate.temporal import dtssd, warping_errors


def drifting(frames: int = 5, side: int = 64) -> np.ndarray:
    """A smooth texture that moves two pixels a frame to the left."""
    rows, columns = np.mgrid[0:side, 0 : side + 2 * frames]
    waves = [np.sin(columns / 5 + rows / 9), np.cos(columns / 7 - rows / 6), np.sin(columns / 4) * np.cos(rows / 5)]
    texture = np.rint(np.stack(waves, -1) * 100 + 128).astype(np.uint8)
    return np.stack([texture[:, 2 * t : 2 * t + side] for t in range(frames)])


def test_dtssd_by_hand():
    target = np.zeros((3, 4, 4, 3), np.uint8)
    output = target.copy()
    output[1] = 51
    assert dtssd(output, target) == pytest.approx([0.2, 0.2])
    assert dtssd(target + 77, target) == pytest.approx([0, 0])  # a constant error does not change
    assert dtssd(target[:1], target[:1]).shape == (0,)


def test_dtssd_sees_lost_motion_and_flicker():
    target = drifting()
    assert dtssd(target, target).max() == 0
    still = np.repeat(target[:1], len(target), axis=0)
    assert dtssd(still, target).min() > 0.05
    assert dtssd(noisy(target, 20), target).min() > dtssd(noisy(target, 5), target).max() > 0


def test_only_pixels_of_a_region_count():
    target = drifting()
    output, where = noisy(target, 20), np.zeros(target.shape[:3], bool)
    output[:, :32] = target[:, :32]
    where[:, 4:24] = True
    assert dtssd(output, target, where).max() == 0 < dtssd(output, target, ~where).min()
    inside, outside = (warping_errors(output, target, region)[0] for region in (where, ~where))
    assert inside.max() < 1e-3 < outside.min()
    assert np.isnan(dtssd(output, target, np.zeros_like(where))).all()
    assert np.isnan(warping_errors(output, target, np.zeros_like(where))[0]).all()


def test_warping_error_follows_the_targets_motion():
    target = drifting()
    of_output, of_target = warping_errors(target, target)
    assert of_output == pytest.approx(of_target)
    assert of_target.max() < 1e-3
    still = np.repeat(target[:1], len(target), axis=0)
    assert warping_errors(still, target)[0].min() > 5 * of_target.max()  # standing still is no way to score well
    assert warping_errors(noisy(target, 30), target)[0].min() > 5 * of_target.max()
    # A change of all colors that stays is no error of time.
    assert warping_errors(255 - target, target)[0] == pytest.approx(of_target, rel=1e-3)


def test_a_cut_is_not_counted_where_nothing_corresponds():
    rng = np.random.default_rng(0)
    cut = np.stack([drifting()[0], rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)])
    of_output, _ = warping_errors(cut, cut)
    assert np.isnan(of_output[0]) or of_output[0] < ((cut[0] / 255.0 - cut[1] / 255.0) ** 2).mean()
