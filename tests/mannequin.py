"""Part maps of a jointed figure whose proportions can be chosen, for tests."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SIZE = (220, 200)
_SCALE = 3  # drawn larger and thinned out, for clean contours


def mannequin(
    arms: float = 0.5,
    elbows: float = 0.3,
    step: float = 0.2,
    *,
    scale: float = 0.8,
    shift=(0.0, 0.0),
    legs: float = 1.0,
) -> np.ndarray:
    """Parts [220, 200] of somebody who faces us; angles of arms, elbows and legs in radians."""
    image = Image.new("L", (SIZE[1] * _SCALE, SIZE[0] * _SCALE))
    draw = ImageDraw.Draw(image)

    def at(point) -> tuple[float, float]:
        x, y = (np.asarray(point) - (100, 80)) * scale + (100, 80) + shift
        return x * _SCALE, y * _SCALE

    def bone(start, stop, width: float, part: int) -> None:
        draw.line([at(start), at(stop)], fill=part, width=round(width * scale * _SCALE))
        radius = width * scale * _SCALE / 2
        for x, y in (at(start), at(stop)):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=part)

    def limb(root, angle: float, bend: float, lengths, widths, parts) -> None:
        points = [np.asarray(root, float)]
        for length, turn in zip(lengths, (angle, angle + bend, angle + bend), strict=True):
            points.append(points[-1] + length * np.array([np.sin(turn), np.cos(turn)]))
        for start, stop, width, part in reversed(list(zip(points, points[1:], widths, parts, strict=False))):
            bone(start, stop, width, part)

    for side, upper, lower, foot in ((1, 10, 14, 5), (-1, 9, 13, 6)):
        limb(
            (100 + 9 * side, 112),
            side * step,
            -side * step / 2,
            (32 * legs, 30 * legs, 6),
            (13, 10, 9),
            (upper, lower, foot),
        )
    draw.polygon([at(p) for p in ((82, 62), (118, 62), (114, 90), (116, 116), (84, 116), (86, 90))], fill=2)
    for side, upper, lower, hand in ((1, 15, 19, 4), (-1, 16, 20, 3)):
        limb((100 + 20 * side, 66), side * arms, side * elbows, (26, 24, 7), (9, 8, 8), (upper, lower, hand))
    x, y = at((100, 44))
    draw.ellipse(
        [x - 10 * scale * _SCALE, y - 15 * scale * _SCALE, x + 10 * scale * _SCALE, y + 15 * scale * _SCALE], fill=23
    )
    return np.asarray(image)[_SCALE // 2 :: _SCALE, _SCALE // 2 :: _SCALE].copy()


def dancing(frames: int, **shape: float) -> np.ndarray:
    """Parts [F, 220, 200] of a figure that swings its arms and steps."""
    angles = np.linspace(0, 2 * np.pi, frames, endpoint=False)
    return np.stack([mannequin(0.9 + 0.5 * np.sin(a), 0.3, 0.2 + 0.1 * np.cos(a), **shape) for a in angles])
