"""Heads that turn: which way a head faces is told by the seam between its halves, and its picture is turned with it.

A head is taken for an ellipsoid around its upright axis. Where the middle of the face, or of the back of the head, is
seen on it, is known from the shares of both halves; so the face goes to where the target looks, and does not slide with
the outline. What the picture does not show of a head is a guess.

Legend: N pixels of a head.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FEWEST = 12  # pixels of a head that say which way it faces
TAKEN = 0.6
"""Share of the angle between both heads: the nose carries the seam, not the axis. Least error on generated people."""
STEEPEST = np.radians(75.0)  # beyond it the picture shows a head's side too narrowly
BACKWARDS = np.radians(45.0)  # off straight back: no head turns so far on its trunk
_ANY = 1e-6  # radians: a turn, and no rounding
_FLATTEST = 0.1  # squared half width, as a share, of the rows at crown and chin
_SEAM = np.linspace(-1, 1, 401)
_SHARE = (np.pi / 2 + _SEAM * np.sqrt(1 - _SEAM**2) + np.arcsin(_SEAM)) / np.pi  # of a disc, before the seam


class Ellipse(NamedTuple):
    """A head in a picture, in pixels: center (x, y), axes as columns (up, then across), half extents along them."""

    center_2: np.ndarray
    axes_22: np.ndarray
    halves_2: np.ndarray

    def places(self, x_N: np.ndarray, y_N: np.ndarray) -> np.ndarray:
        """Return pixels in units of the half extents: up and across `[N,2]`."""
        return (np.stack([x_N, y_N], 1) - self.center_2) @ self.axes_22 / self.halves_2


def facing(across_N: np.ndarray, second_N: np.ndarray, from_front: bool = False) -> float | None:
    """Return the angle around a head's upright axis at which its middle is seen, in radians; None for too few pixels.

    across: places in units of the half width; second: pixels of the second half, bool. from_front: so is the trunk, and
    a head that looks back has halves with each other's names, as in a map that was mirrored. Angles grow to the right,
    and heads that are seen from behind are beyond 90 degrees.
    """
    if len(second_N) < FEWEST:
        return None
    second = float(second_N.mean())
    if second in (0.0, 1.0):  # nothing but one half: seen from the side
        return np.pi / 2 * (1 - 2 * second)
    ahead = across_N[second_N].mean() > across_N[~second_N].mean()  # the second half is to the right
    seam = float(np.arcsin(np.interp(1 - second if ahead else second, _SHARE, _SEAM)))
    return seam if ahead or (from_front and abs(seam) < BACKWARDS) else np.pi + seam


class Turn(NamedTuple):
    """Turn of a target's head against the picture's. angle: of the turn."""

    target: Ellipse
    source: Ellipse
    angle: float

    @classmethod
    def between(cls, target: Ellipse, source: Ellipse, looks: float | None, looked: float | None) -> Turn | None:
        """looks, looked: see `facing`; None if one of them is not known."""
        if looks is None or looked is None:
            return None
        return cls(target, source, TAKEN * float(_half_turn(looks - looked)))

    def moves(self, x_N: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far from an affine map's result a target's pixels are in the picture, (x, y) `[N,2]`, and
        which of them it does not show, `[N]` bool."""
        up_N, across_N = self.target.places(x_N, y_N).T
        width_N = np.sqrt(np.maximum(1 - up_N**2, _FLATTEST))
        place_N = np.clip(across_N / width_N, -1, 1)
        seen_N = np.arcsin(place_N)
        angle_N = _half_turn(seen_N - self.angle)
        further_N = np.sin(np.clip(angle_N, -STEEPEST, STEEPEST)) - place_N
        moves_N2 = (further_N * width_N * self.source.halves_2[1])[:, None] * self.source.axes_22[:, 1]
        return moves_N2, np.abs(angle_N) > np.maximum(STEEPEST, np.abs(seen_N) + _ANY)


def _half_turn(angle: np.ndarray | float) -> np.ndarray | float:
    """Return the same angle from -pi to pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
