"""Matches a person's exposure and white balance to a new background, gently.

Shape legend: H W pixels, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from magicanimate.person.layers import LayeredPerson

_AROUND = 0.2  # of the figure's height: how far from a person the picture's light is measured
_DARK, _BRIGHT = 8, 250  # levels outside of which a channel tells nothing about the light
_EXPOSURE, _BALANCE = 0.35, 0.5
"""Shares of the difference, as logarithms of linear light, that the person takes over."""
_MOST_EXPOSURE, _MOST_BALANCE = 0.4, 0.18
"""Largest changes of logarithms: 1.5 times as bright, a channel 1.2 times as strong."""

_LEVEL = np.arange(256) / 255
_LINEAR = np.where(_LEVEL <= 0.04045, _LEVEL / 12.92, ((_LEVEL + 0.055) / 1.055) ** 2.4).astype(np.float32)


def mean_light(image_HWC: np.ndarray, where_HW: np.ndarray | None = None) -> np.ndarray | None:
    """Return the mean linear light [3] of a picture, uint8, or of some of its pixels, bool; None if there is none."""
    pixels = image_HWC.reshape(-1, 3) if where_HW is None else image_HWC[where_HW]
    pixels = pixels[((pixels > _DARK) & (pixels < _BRIGHT)).all(1)]
    return _LINEAR[pixels].mean(0) if len(pixels) else None


def light_near(picture_HWC: np.ndarray, hole_HW: np.ndarray) -> np.ndarray | None:
    """Return the mean light [3] of a picture's background around its people; None if there is no background.

    Args:
        picture_HWC: uint8.
        hole_HW: bool, the people and their shadows.
    """
    rows = np.flatnonzero(hole_HW.any(1))
    if not rows.size:
        return None
    away_HW = ndimage.distance_transform_edt(~hole_HW)
    return mean_light(picture_HWC, (away_HW > 0) & (away_HW <= max(8.0, _AROUND * np.ptp(rows))))


def match_light(own_3: np.ndarray, new_3: np.ndarray) -> np.ndarray:
    """Return gains [3] of linear light that take a person part of the way from one light to another."""
    change_3 = np.log(np.maximum(new_3, 1e-4) / np.maximum(own_3, 1e-4))
    exposure = change_3.mean()
    balance_3 = np.clip(_BALANCE * (change_3 - exposure), -_MOST_BALANCE, _MOST_BALANCE)
    return np.exp(np.clip(_EXPOSURE * exposure, -_MOST_EXPOSURE, _MOST_EXPOSURE) + balance_3 - balance_3.mean())


def relit(people: Sequence[LayeredPerson], gains_3: np.ndarray) -> list[LayeredPerson]:
    """Return people with the light of all their colors multiplied."""
    return [_relit(person, gains_3) for person in people]


def _relit(person: LayeredPerson, gains_3: np.ndarray) -> LayeredPerson:
    curves = np.stack([_encoded(gain * _LINEAR) for gain in gains_3])
    levels = np.rint(curves).astype(np.uint8)
    layers = []
    for layer in person.layers:
        texture = layer.texture_HWC.copy()
        for channel in range(3):
            texture[..., channel] = levels[channel][texture[..., channel]]
        layers.append(replace(layer, texture_HWC=texture))
    color_V3 = np.stack(
        [np.interp(person.surface.color_V3[:, c], np.arange(256), curves[c]) for c in range(3)], 1
    ).astype(np.float32)
    return replace(person, layers=layers, surface=replace(person.surface, color_V3=color_V3))


def _encoded(light: np.ndarray) -> np.ndarray:
    """Convert linear light to sRGB levels 0..255, brighter light than white rolled off."""
    light = np.where(light > 0.8, 0.8 + 0.2 * (1 - np.exp(-(light - 0.8) / 0.2)), light) if light.max() > 1 else light
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
