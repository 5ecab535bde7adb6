"""Contact shadows: what is darker around a person's feet moves with the feet.

Shape legend: H W pixels, S points of the rig.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from magicanimate.body.rig import POINT_INDEX
from magicanimate.person.layers import LayeredPerson
from magicanimate.person.texture import smooth_fill

_FEET = [[POINT_INDEX[f"{name}.{side}"] for name in ("heel", "toe")] for side in "LR"]
_WIDE, _HIGH = 0.11, 0.045  # of the figure's height: half axes of the region around a foot
_BELOW = 0.01  # of the figure's height: how far below the sole its center lies
_DARKEST = 0.35  # of the ground's light
_LIFTED = 0.06  # of the figure's height above the ground at which a foot casts no contact shadow any more
_SOFT = 0.006  # of the figure's height: blur of a shadow on another ground
_CUT = 0.02  # of the picture's height: feet this near to its lower edge are not seen


@dataclass(frozen=True)
class ContactShadow:
    """The shadow near one person's feet; empty where the picture does not show them."""

    feet_K2: np.ndarray
    """[K, 2] pixels, x and y of the middles of the soles in the picture."""
    height: float
    """Height of the figure in pixels."""
    region_HW: np.ndarray = field(repr=False)
    """[H, W] bool: ground around the feet."""
    light: list[tuple[int, int, np.ndarray]] = field(default_factory=list, repr=False)
    """For each foot: top, left and [h, w, 3] float32, the ground's light with the shadow as a share of that without; of
    a gray one [h, w, 1]."""

    @classmethod
    def none(cls, size: tuple[int, int]) -> ContactShadow:
        """Return a shadow that is none."""
        return cls(np.zeros((0, 2)), 1.0, np.zeros(size, bool))

    @classmethod
    def near_feet(cls, person: LayeredPerson, size: tuple[int, int]) -> ContactShadow:
        """Return the regions in which the shadow is looked for."""
        body = person.body
        points_S2 = body.project(body.points())[0]
        height = float(np.ptp(points_S2[:, 1]))
        feet_K2 = np.array([points_S2[foot].mean(0) for foot in _FEET])
        seen = [_is_seen(foot_2, person, size) for foot_2 in feet_K2]
        region_HW = np.zeros(size, bool)
        for foot_2 in feet_K2[seen]:
            region_HW |= _window(foot_2, height, size) > 0
        return cls(feet_K2[seen], height, region_HW)

    def measured(self, picture_HWC: np.ndarray, plate_HWC: np.ndarray, person_HW: np.ndarray) -> ContactShadow:
        """Return the same with its light, from the picture and the picture without person and shadow."""
        size, light = self.region_HW.shape, []
        for index, foot_2 in enumerate(self.feet_K2):
            window_HW = _window(foot_2, self.height, size)
            rows, columns = (slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(window_HW > 0))
            ratio = picture_HWC[rows, columns] / np.maximum(plate_HWC[rows, columns].astype(np.float32), 8)
            ground = ~person_HW[rows, columns]
            if not ground.any():
                continue
            filled = ndimage.gaussian_filter(smooth_fill(np.clip(ratio, _DARKEST, 1.2), ground), (1, 1, 0))
            ratio = np.where(ground[..., None], np.clip(ratio, _DARKEST, 1.6), np.minimum(filled, 1))
            share = self._shares(index, rows, columns)[..., None] * window_HW[rows, columns][..., None]
            light.append((rows.start, columns.start, (1 + share * (ratio - 1)).astype(np.float32)))
        return ContactShadow(self.feet_K2, self.height, self.region_HW, light)

    def gray(self, scale: float) -> ContactShadow:
        """Adapt to another ground and size: without the colors and the grain of the picture's ground.

        scale: pixels of the other frame for one of the picture. The light is [h, w, 1], at most 1.
        """
        soft = _SOFT * self.height
        light = []
        for top, left, ratio in self.light:
            smooth = ndimage.gaussian_filter(np.minimum(ratio.mean(2), 1), soft, mode="constant", cval=1)
            enlarged = ndimage.zoom(smooth, scale, order=1, mode="nearest", grid_mode=True) if scale != 1 else smooth
            light.append((round(top * scale), round(left * scale), enlarged[..., None].astype(np.float32)))
        return ContactShadow(self.feet_K2 * scale, self.height * scale, self.region_HW, light)

    def _shares(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """Return the share of the ground that is nearer to this foot than to the other one. [h, w], 0..1."""
        if len(self.feet_K2) < 2:
            return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        y, x = np.mgrid[rows, columns]
        mine, other = (np.hypot(x - foot[0], y - foot[1]) for foot in (self.feet_K2[index], self.feet_K2[1 - index]))
        return np.clip(0.5 + (other - mine) / (0.04 * self.height), 0, 1).astype(np.float32)

    def cast(self, plate_HWC: np.ndarray, points_S2: np.ndarray) -> np.ndarray:
        """Return the plate with the shadow where the feet of a pose are. [H, W, 3] float32.

        Args:
            plate_HWC: the picture without people, or another background; [H, W, C].
            points_S2: the rig's points in pixels.
        """
        out = plate_HWC.astype(np.float32)
        now_K2 = np.array([points_S2[foot].mean(0) for foot in _FEET])[: len(self.feet_K2)]
        for (top, left, light), then_2, now_2 in zip(self.light, self.feet_K2, now_K2, strict=False):
            down, right = round(float(now_2[1] - then_2[1])), round(float(now_2[0] - then_2[0]))
            lifted = max(0.0, -(now_2[1] - now_K2[:, 1].max()) / self.height)
            strength = float(np.clip(1 - lifted / _LIFTED, 0, 1))
            rows = slice(max(0, top + down), min(out.shape[0], top + down + len(light)))
            columns = slice(max(0, left + right), min(out.shape[1], left + right + light.shape[1]))
            if strength <= 0 or rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            piece = light[rows.start - top - down : rows.stop - top - down, columns.start - left - right :]
            out[rows, columns] *= 1 + strength * (piece[:, : columns.stop - columns.start] - 1)
        return np.minimum(out, 255)


def _is_seen(foot_2: np.ndarray, person: LayeredPerson, size: tuple[int, int]) -> bool:
    """Return True if a foot lies in the picture and on the person."""
    x, y = int(foot_2[0]), int(foot_2[1])
    if not (0 <= x < size[1] and 0 <= y < (1 - _CUT) * size[0]):
        return False
    near = person.matte.alpha_HW[max(0, y - 6) : y + 7, max(0, x - 6) : x + 7]
    return bool((near > 127).any())


def feet_on_ground(points_S2: np.ndarray, height: float, size: tuple[int, int]) -> np.ndarray:
    """Return the ground around a figure's feet, where its contact shadow lies. [H, W] bool.

    Args:
        points_S2: the rig's points in pixels.
        height: of the figure in pixels.
        size: of the picture.
    """
    return np.any([_window(points_S2[foot].mean(0), height, size) > 0 for foot in _FEET], 0)


def _window(foot_2: np.ndarray, height: float, size: tuple[int, int]) -> np.ndarray:
    """Return weight [H, W] of the ground around a foot: 1 near it, 0 outside an ellipse."""
    center, reach = foot_2 + np.array([0, _BELOW * height]), np.array([_WIDE, _HIGH]) * height
    (left, top), (right, bottom) = (np.clip(center + way * reach, 0, size[::-1]).astype(int) for way in (-1, 1))
    weight_HW = np.zeros(size, np.float32)
    y, x = np.mgrid[top : bottom + 1, left : right + 1]
    far = np.hypot((x - center[0]) / reach[0], (y - center[1]) / reach[1])
    inside = weight_HW[top : bottom + 1, left : right + 1]
    inside[:] = np.clip((1 - far) * 3, 0, 1)[: inside.shape[0], : inside.shape[1]]
    return weight_HW
