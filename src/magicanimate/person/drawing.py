"""Draws a layered person in other poses.

Shape legend: H W pixels, V vertices, J joints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from magicanimate.body.rig import JOINT_INDEX, vertex_normals
from magicanimate.body.skinning import skin, to_screen
from magicanimate.person.layers import GUESSED, BodySurface, Layer, LayeredPerson
from magicanimate.person.raster import FragmentBuffer

_ARM_NEARER = 0.04  # meters: arms lie in front of a trunk that they touch
_BODY_FARTHER = 0.03  # meters: the body lies under the layers
_HANDS = [(JOINT_INDEX[f"hand.{side}"], JOINT_INDEX[f"fingers.{side}"]) for side in "LR"]
_ROUND = 0.35  # how much darker a hand's surface is edge-on
_HAND_SEEN = 1.4  # times the mean opacity of a hand's layer
_FEWEST = 20  # vertices of a layer that are a hand
_SMEARED = (5.0, 10.0)  # pixels drawn for one pixel of the picture: from where on a layer fades, and is gone
_TURNED = (-0.02, 0.08)  # likewise for an arm that is turned away, by the sign of the area
_EDGE_ON = (0.03, 0.18)  # cosines between surface normal and view at which the body begins to be seen, and is opaque

ChangedFace = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
"""Texture [H, W, 5] uint8, and the place of the picture in it -> the same with another expression."""


@dataclass(frozen=True)
class Drawing:
    """A person in one pose."""

    color_HWC: np.ndarray
    """[H, W, 3] uint8, not multiplied by alpha."""
    alpha_HW: np.ndarray
    """[H, W] uint8."""
    kind_HW: np.ndarray
    """[H, W] uint8: KNOWN, COMPLETED, GUESSED, or 255 where nothing is drawn."""


def _opacity(screen_V3: np.ndarray, layer: Layer) -> np.ndarray:
    """Opacity [V, 1] float32 of a layer in a pose: less where few of the picture's pixels would be smeared over many,
    and where the inside of an arm's layer would be seen."""
    grown_T = _area(screen_V3, layer.triangles_T3) / np.maximum(np.abs(_area(layer.at_V2, layer.triangles_T3)), 1e-3)
    grown_T *= np.sign(_area(layer.at_V2, layer.triangles_T3))
    shown_T = np.interp(np.abs(grown_T), _SMEARED, (1, 0))
    if layer.arm:
        shown_T = np.minimum(shown_T, np.interp(grown_T, _TURNED, (0, 1)))
    total = np.bincount(layer.triangles_T3.ravel(), shown_T.repeat(3), len(screen_V3))
    count = np.bincount(layer.triangles_T3.ravel(), minlength=len(screen_V3))
    return (total / np.maximum(count, 1))[:, None].astype(np.float32)


def _with_hands(shown_V: np.ndarray, layer: Layer, opacity_V1: np.ndarray, surface: BodySurface) -> np.ndarray:
    """Opacities [V] float32 of the body's surface with its hands: as far as the picture's own hand is seen, its fingers
    stand for those of the surface, which bend otherwise; as far as it is turned away, the surface's hand is whole."""
    for hand, fingers in _HANDS:
        own = layer.weights_VJ[:, fingers] + layer.weights_VJ[:, hand] > 0.5
        if own.sum() > _FEWEST:
            seen = min(1.0, _HAND_SEEN * float(opacity_V1[own].mean()))
            beside_V = shown_V * (1 - surface.weights_VJ[:, fingers])
            hand_V = surface.weights_VJ[:, fingers] + surface.weights_VJ[:, hand]
            shown_V = shown_V + hand_V * (1 - seen * (1 - beside_V) - shown_V)
    return shown_V


def _shade(toward_V: np.ndarray, surface: BodySurface) -> np.ndarray:
    """Return factors [V, 1] float32 that darken hands that turn away from the view, as fingers of one color need."""
    hand_V = surface.weights_VJ[:, [joint for hand in _HANDS for joint in hand]].sum(1)
    return (1 - _ROUND * hand_V * (1 - toward_V.clip(0, 1)))[:, None].astype(np.float32)


def _toward(points_V3: np.ndarray, triangles_T3: np.ndarray) -> np.ndarray:
    """Return cosines [V] between the normals and the view."""
    normals = vertex_normals(points_V3, triangles_T3)
    return -(normals * points_V3).sum(1) / np.linalg.norm(points_V3, axis=1)


def _area(points: np.ndarray, triangles_T3: np.ndarray) -> np.ndarray:
    """Return twice the signed areas [T] of triangles in the plane."""
    a, b, c = (points[triangles_T3[:, k], :2] for k in range(3))
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _facing(toward_V: np.ndarray) -> np.ndarray:
    """Visibility [V, 1] float32 of a surface by the cosine between normal and view: 0 edge-on and from behind, 1 from
    the front; so outlines are soft."""
    low, high = _EDGE_ON
    return np.clip((toward_V - low) / (high - low), 0, 1)[:, None].astype(np.float32)


class PeopleRenderer:
    """Draws people in pictures of one size (height, width); nearer ones cover others."""

    def __init__(self, people: Sequence[LayeredPerson], size: tuple[int, int]) -> None:
        self.people, self._buffer = list(people), FragmentBuffer(size)

    def __call__(
        self, poses: Sequence[tuple[np.ndarray, float] | None], faces: Sequence[ChangedFace | None] | None = None
    ) -> Drawing:
        """Draw one frame.

        Args:
            poses: for each person transforms [J, 3, 4] of the joints (BodyMotion.transforms) and the focal length in
                pixels; None: not to be seen.
            faces: for each person what makes a texture with another expression of one.
        """
        self._buffer.clear()
        for person, pose, face in zip(self.people, poses, faces or [None] * len(self.people), strict=True):
            if pose is not None:
                self._draw(person, *pose, face)
        color_HW4, kind_HW = self._buffer.resolve()
        return Drawing(color_HW4[..., :3], color_HW4[..., 3], kind_HW)

    def _draw(
        self, person: LayeredPerson, transforms_J34: np.ndarray, focal: float, face: ChangedFace | None
    ) -> None:  # fmt: skip
        buffer, surface = self._buffer, person.surface
        shown_V = surface.shown_V
        for layer in person.layers:
            points_V3 = skin(layer.weights_VJ, transforms_J34, layer.rest_V3)
            screen_V3 = to_screen(points_V3, focal, buffer.size)
            screen_V3[:, 2] -= _ARM_NEARER * layer.arm
            opacity_V1 = _opacity(screen_V3, layer)
            shown_V = _with_hands(shown_V, layer, opacity_V1, surface)
            at_V3 = np.concatenate([layer.at_V2, opacity_V1], 1)
            texture_HWC = layer.texture_HWC if face is None or layer.arm else face(layer.texture_HWC, person.origin)
            buffer.draw_textured(screen_V3, at_V3, layer.triangles_T3, texture_HWC)
        points_V3 = skin(surface.weights_VJ, transforms_J34, surface.rest_V3)
        screen_V3 = to_screen(points_V3, focal, buffer.size)
        screen_V3[:, 2] += np.where(surface.arm_V, _BODY_FARTHER - _ARM_NEARER, _BODY_FARTHER)
        toward_V = _toward(points_V3, surface.triangles_T3)
        shown_V1 = shown_V[:, None] * _facing(toward_V)
        color_V4 = np.concatenate([surface.color_V3 * _shade(toward_V, surface), 255 * shown_V1], 1)
        buffer.draw_colored(screen_V3, color_V4, surface.triangles_T3, GUESSED)
