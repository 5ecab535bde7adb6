"""Frechet distance between two sets of features, from moments that are gathered batch by batch.

    d^2 = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))        (Dowson and Landau 1982; Heusel et al. 2017)

With any factors S1 = A^T A and S2 = B^T B the last trace is the sum of the singular values of A B^T: they are
those of (S1 S2)^(1/2). Unlike a matrix square root of the product, this takes no root of rounding errors, so sets
with fewer samples than dimensions need no special case, and identical sets have distance zero.

Shape legend: N samples, D dimensions, R rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magicanimate.errors import InputError

_BATCH = 1024  # samples that are centered at a time


@dataclass(frozen=True)
class Moments:
    """Number, mean and scatter of samples, in float64; the memory does not depend on the number."""

    count: int
    mean_D: np.ndarray
    scatter_DD: np.ndarray
    """Sum of (x - mean)(x - mean)^T."""

    @staticmethod
    def empty(dimensions: int) -> Moments:
        """Return the moments of no samples."""
        return Moments(0, np.zeros(dimensions), np.zeros((dimensions, dimensions)))

    @staticmethod
    def of(features_ND: np.ndarray) -> Moments:
        """Return the moments of samples in memory.

        Raises:
            InputError: a feature is not finite.
        """
        total = Moments.empty(features_ND.shape[1])
        for start in range(0, len(features_ND), _BATCH):
            batch = features_ND[start : start + _BATCH].astype(np.float64)
            if not np.isfinite(batch).all():
                raise InputError("Some features are not finite numbers; look for broken frames or weights.")
            mean_D = batch.mean(0)
            centered = batch - mean_D
            total = total.merge(Moments(len(batch), mean_D, centered.T @ centered))
        return total

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets together (Chan, Golub and LeVeque 1983: no difference of large numbers)."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        step_D = other.mean_D - self.mean_D
        scatter_DD = self.scatter_DD + other.scatter_DD
        scatter_DD += np.outer(step_D, step_D) * (self.count * other.count / count)
        return Moments(count, self.mean_D + step_D * (other.count / count), scatter_DD)

    def without(self, other: Moments) -> Moments:
        """Return the moments of the samples not in `other`, a part of these: the inverse of `merge`."""
        count = self.count - other.count
        if count == 0:
            return Moments.empty(len(self.mean_D))
        mean_D = self.mean_D + (self.mean_D - other.mean_D) * (other.count / count)
        step_D = other.mean_D - mean_D
        scatter_DD = self.scatter_DD - other.scatter_DD
        scatter_DD -= np.outer(step_D, step_D) * (count * other.count / self.count)
        return Moments(count, mean_D, scatter_DD)

    @property
    def covariance_DD(self) -> np.ndarray:
        """Sample covariance; zero for a single sample."""
        return self.scatter_DD / max(1, self.count - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the squared Frechet distance of two normal distributions with these moments, at least zero.

    Raises:
        InputError: a set is empty, or they have different dimensions.
    """
    if not a.count or not b.count:
        raise InputError("A Frechet distance needs features on both sides, and one of the sets is empty.")
    if len(a.mean_D) != len(b.mean_D):
        raise InputError(f"Features of {len(a.mean_D)} and {len(b.mean_D)} dimensions cannot be compared.")
    return _distance(a.mean_D - b.mean_D, _factor(a), _factor(b))


def frechet_distance_of_sets(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """Return the same from samples in memory; quick where there are fewer samples than dimensions."""
    factors = [
        (x - x.mean(0)) / np.sqrt(max(1, len(x) - 1)) for x in (a_ND.astype(np.float64), b_ND.astype(np.float64))
    ]
    return _distance(a_ND.mean(0, np.float64) - b_ND.mean(0, np.float64), *factors)


def _distance(step_D: np.ndarray, a_RD: np.ndarray, b_RD: np.ndarray) -> float:
    overlap = float(np.linalg.svd(a_RD @ b_RD.T, compute_uv=False).sum()) if len(a_RD) and len(b_RD) else 0.0
    return max(0.0, float(step_D @ step_D + (a_RD**2).sum() + (b_RD**2).sum() - 2 * overlap))


def _factor(moments: Moments) -> np.ndarray:
    """Return [R, D] with factor^T factor = covariance; directions that hold only rounding errors are left out."""
    values_D, vectors_DD = np.linalg.eigh(moments.covariance_DD)
    kept = values_D > max(values_D[-1], 0.0) * len(values_D) * np.finfo(np.float64).eps
    return np.sqrt(values_D[kept])[:, None] * vectors_DD[:, kept].T
