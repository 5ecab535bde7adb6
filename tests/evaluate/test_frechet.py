"""Frechet distance: scipy's closed form, streaming, and sets with fewer samples than dimensions."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from magicanimate.errors import InputError
from magicanimate.evaluate.frechet import Moments, frechet_distance, frechet_distance_of_sets


def samples(seed: int, count: int, dimensions: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, dimensions)) @ rng.normal(size=(dimensions, dimensions))
    return np.abs(mixed) + shift


def closed_form(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    a_DD, b_DD = np.cov(a_ND, rowvar=False), np.cov(b_ND, rowvar=False)
    step_D = a_ND.mean(0) - b_ND.mean(0)
    return float(step_D @ step_D + np.trace(a_DD + b_DD) - 2 * np.trace(sqrtm(a_DD @ b_DD)).real)


@pytest.mark.parametrize(("count", "dimensions"), [(50, 1 + 1), (300, 64), (800, 256)])
def test_equals_scipys_closed_form(count, dimensions):
    a, b = samples(1, count, dimensions), samples(2, count + 7, dimensions, 0.1)
    expected = closed_form(a, b)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance_of_sets(a, b) == pytest.approx(expected, rel=1e-6)
    assert abs(frechet_distance(Moments.of(a), Moments.of(b + 0.01)) / expected - 1) > 1e-6  # the bound can fail


@given(st.integers(2, 60), st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=30)
def test_identical_sets_are_zero(count, dimensions, seed):
    """Also with fewer samples than dimensions, where a matrix square root leaves residues."""
    a = samples(seed, count, dimensions)
    size = np.trace(Moments.of(a).covariance_DD) + 1
    assert frechet_distance(Moments.of(a), Moments.of(a)) <= 1e-9 * size
    assert frechet_distance_of_sets(a, a[::-1]) <= 1e-9 * size
    assert frechet_distance_of_sets(a, a + 1) == pytest.approx(dimensions, rel=1e-6)


def test_few_samples_in_many_dimensions():
    """Both ways agree with a dense computation in the space that the samples span."""
    a, b = samples(1, 12, 100), samples(2, 15, 100)
    basis_DR = np.linalg.svd(np.concatenate([a, b]), full_matrices=False)[2].T
    expected = closed_form(a @ basis_DR, b @ basis_DR)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance_of_sets(a, b) == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=30)
def test_streaming_equals_batch(sizes, seed):
    if not sum(sizes):
        sizes = [*sizes, 3]
    a = samples(seed, sum(sizes), 5, 1000.0)  # far from zero: where sums of squares lose digits
    pieces = np.split(a, np.cumsum(sizes)[:-1])
    streamed = reduce(Moments.merge, (Moments.of(piece) for piece in pieces))
    assert streamed.count == len(a)
    assert streamed.mean_D == pytest.approx(a.mean(0), rel=1e-12)
    expected = (a - a.mean(0)).T @ (a - a.mean(0))
    assert np.abs(streamed.scatter_DD - expected).max() <= 1e-9 * (1 + np.abs(expected).max())


def test_taking_away_is_the_inverse_of_merging():
    a, b = samples(1, 40, 8), samples(2, 25, 8, 3.0)
    both = Moments.of(a).merge(Moments.of(b))
    rest = both.without(Moments.of(b))
    assert rest.count == 40
    assert rest.mean_D == pytest.approx(Moments.of(a).mean_D)
    assert rest.scatter_DD == pytest.approx(Moments.of(a).scatter_DD, rel=1e-9, abs=1e-9)
    assert both.without(both).count == 0


def test_is_symmetric_and_grows_with_the_shift():
    a, b = Moments.of(samples(1, 90, 6)), Moments.of(samples(2, 90, 6))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    shifted = [frechet_distance(a, Moments.of(samples(1, 90, 6, shift))) for shift in (0.0, 1.0, 2.0)]
    assert shifted == pytest.approx([0, 6, 24], abs=1e-8)


def test_what_has_no_distance():
    with pytest.raises(InputError, match="empty"):
        frechet_distance(Moments.empty(3), Moments.of(samples(1, 5, 3)))
    with pytest.raises(InputError, match="dimensions"):
        frechet_distance(Moments.of(samples(1, 5, 2)), Moments.of(samples(1, 5, 3)))
    with pytest.raises(InputError, match="not finite"):
        Moments.of(np.array([[1.0, np.nan]]))
