"""Borders between layers follow the picture, and the background's color is no part of the person."""

from __future__ import annotations

import numpy as np

from magicanimate.person.matte import refine_matte
from magicanimate.person.segments import FACE, LEFT_ARM, LEFT_FOREARM, RIGHT_ARM, RIGHT_FOREARM, TRUNK, assign_layers

SHIRT, SKIN, WALL = (150, 110, 200), (200, 150, 120), (128, 128, 128)


def painted(shape: tuple[int, int], areas: list[tuple[slice, slice, tuple[int, int, int]]]) -> np.ndarray:
    """A wall with rectangles, and a little noise."""
    image = np.empty((*shape, 3), np.uint8)
    image[:] = WALL
    for rows, columns, color in areas:
        image[rows, columns] = color
    return (image + np.random.default_rng(0).integers(-4, 5, image.shape)).astype(np.uint8)


def test_a_forearm_that_was_fitted_over_the_shirt_does_not_take_it():
    areas = [
        (slice(40, 160), slice(60, 140), SHIRT), (slice(10, 40), slice(85, 115), SKIN),
        (slice(60, 160), slice(46, 60), SKIN), (slice(60, 160), slice(140, 154), SKIN),
    ]  # fmt: skip
    picture = painted((200, 200), areas)
    alpha = np.zeros((200, 200), np.uint8)
    drawn = np.zeros((200, 200), np.uint8)
    for rows, columns, _ in areas:
        alpha[rows, columns] = 255
    drawn[40:160, 60:140], drawn[10:40, 85:115] = TRUNK, FACE
    drawn[60:160, 46:72] = RIGHT_FOREARM  # too far to the right by 12 pixels
    drawn[60:160, 140:154] = LEFT_FOREARM
    labels = assign_layers(picture, alpha, drawn, 190)
    assert (labels[70:150, 62:138] == TRUNK).mean() > 0.97
    assert (labels[70:150, 48:58] == RIGHT_ARM).mean() > 0.95
    assert (labels[70:150, 142:152] == LEFT_ARM).mean() > 0.95
    same = picture.copy()
    same[alpha > 0] = SHIRT  # long sleeves of the shirt's color: only the fit can tell
    assert (assign_layers(same, alpha, drawn, 190)[70:150, 62:68] == RIGHT_ARM).mean() > 0.5


def test_unsure_pixels_of_the_walls_color_are_not_the_persons():
    picture = painted((200, 200), [(slice(40, 160), slice(60, 140), SHIRT)])
    soft = np.zeros((200, 200), np.float32)
    soft[40:160, 60:140] = 1
    soft[90:120, 140:150] = 0.4  # a haze of the network beside the shirt
    assert refine_matte(picture, soft).alpha_HW[95:115, 142:145].max() < 30
    wider = painted((200, 200), [(slice(40, 160), slice(60, 150), SHIRT)])
    assert refine_matte(wider, soft).alpha_HW[95:115, 142:145].min() > 60


def test_an_arm_before_the_body_cuts_nothing_off():
    areas = [
        (slice(40, 180), slice(60, 140), SHIRT), (slice(10, 40), slice(85, 115), SKIN),
        (slice(36, 52), slice(20, 180), SKIN),
    ]  # fmt: skip
    picture = painted((200, 200), areas)
    alpha, drawn = np.zeros((200, 200), np.uint8), np.zeros((200, 200), np.uint8)
    for rows, columns, _ in areas:
        alpha[rows, columns] = 255
    drawn[40:180, 60:140], drawn[10:40, 85:115], drawn[36:52, 20:180] = TRUNK, FACE, LEFT_FOREARM
    labels = assign_layers(picture, alpha, drawn, 190)
    assert (labels[14:30, 90:110] == TRUNK).mean() > 0.95
    assert (labels[70:170, 65:135] == TRUNK).mean() > 0.95
    assert (labels[40:48, 24:176] == LEFT_ARM).mean() > 0.8
