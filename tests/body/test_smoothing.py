"""Smoothing without lag, gaps."""

from __future__ import annotations

import numpy as np

from magicanimate.body.smoothing import bridge_gaps, runs, smooth

TIMES = np.arange(60) / 25


def test_a_parabola_stays_what_it_is_and_noise_goes():
    values = (3 + 2 * TIMES - 5 * TIMES**2)[:, None]
    ones = np.ones(60)
    inner = slice(4, -4)
    assert np.allclose(smooth(values, ones, 3)[inner], values[inner])
    noisy = values + np.random.default_rng(0).normal(0, 0.1, values.shape)
    assert np.std(smooth(noisy, ones, 3) - values) < 0.75 * np.std(noisy - values)
    assert np.array_equal(smooth(noisy, ones, 0), noisy)


def test_nothing_lags():
    wave = np.sin(2 * np.pi * 1.5 * TIMES)[:, None]
    found = smooth(wave, np.ones(60), 3)[8:-8, 0]
    best = max(range(-4, 5), key=lambda lag: float(found @ wave[8 + lag : 52 + lag, 0]))
    assert best == 0
    late = np.convolve(wave[:, 0], np.ones(7) / 7)[8:52]  # a running mean of the past, for comparison
    assert max(range(-4, 5), key=lambda lag: float(late @ wave[8 + lag : 52 + lag, 0])) < 0


def test_samples_without_confidence_do_not_count():
    values = np.ones((30, 1))
    values[15] = 100
    trust = np.ones(30)
    assert abs(smooth(values, trust, 3)[14, 0] - 1) > 10
    trust[15] = 0
    assert abs(smooth(values, trust, 3)[14, 0] - 1) < 1e-3


def test_short_gaps_are_bridged_and_long_ones_and_ends_are_not():
    known = np.ones(20, bool)
    known[[0, 5, 6]] = False
    known[10:16] = False
    values = np.where(known, np.arange(20.0), 0)[:, None]
    filled, now = bridge_gaps(values, known, 3)
    assert np.allclose(filled[5:7, 0], [5, 6])
    assert now[5:7].all()
    assert not now[[0, *range(10, 16)]].any()
    assert bridge_gaps(values, known, 6)[1][10:16].all()
    assert runs(now) == [slice(1, 10), slice(16, 20)]
    assert runs(np.zeros(3, bool)) == []
