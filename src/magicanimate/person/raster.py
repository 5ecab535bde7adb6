"""Draws textured triangles into an A-buffer: the nearest few fragments of each pixel, blended by depth.

Compiled by numba; no OpenGL. Soft edges come from the texture's alpha, so no supersampling is needed.

Shape legend: V vertices, T triangles, H W pixels, K fragments of a pixel.
"""

from __future__ import annotations

import numpy as np

from magicanimate.compiled import compiled

FRAGMENTS = 4
"""K: fragments that are kept for each pixel."""
_OPAQUE = 250  # alpha from which nothing behind a fragment is seen
_FAINTEST = 3  # alpha below which a fragment is dropped


class FragmentBuffer:
    """The fragments of one picture, `size` = (height, width)."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._depth_HWK = np.empty((*size, FRAGMENTS), np.float32)
        self._color_HWK4 = np.empty((*size, FRAGMENTS, 5), np.uint8)
        self.clear()

    def clear(self) -> None:
        """Remove all fragments."""
        self._depth_HWK.fill(np.inf)
        self._color_HWK4[..., 3].fill(0)

    def draw_textured(
        self, screen_V3: np.ndarray, at_V3: np.ndarray, triangles_T3: np.ndarray, texture_HWC: np.ndarray
    ) -> None:
        """Add triangles that take their colors from a texture.

        Args:
            screen_V3: float32: x and y in pixels (the first pixel's center is at .5), and the depth.
            at_V3: float32: x and y in pixels of the texture, and an opacity 0..1.
            triangles_T3: int32.
            texture_HWC: uint8 [h, w, 5]: color, not multiplied by alpha; alpha; kind, which `resolve` returns for the
                nearest fragment.
        """
        _draw_textured(screen_V3, at_V3, triangles_T3, texture_HWC, self._depth_HWK, self._color_HWK4)

    def draw_colored(self, screen_V3: np.ndarray, color_V4: np.ndarray, triangles_T3: np.ndarray, kind: int) -> None:
        """Add triangles with colors and alpha [V, 4] float32 in 0..255 at their corners."""
        _draw_colored(screen_V3, color_V4, triangles_T3, kind, self._depth_HWK, self._color_HWK4)

    def resolve(self) -> tuple[np.ndarray, np.ndarray]:
        """Blend the fragments.

        Returns:
            [H, W, 4] uint8, color not multiplied by alpha; and [H, W] uint8, the kind of the nearest fragment that is
            mostly opaque, 255 where there is none.
        """
        color, kind = np.empty((*self.size, 4), np.uint8), np.empty(self.size, np.uint8)
        _resolve(self._depth_HWK, self._color_HWK4, color, kind)
        return color, kind


@compiled
def _insert(depth_K, color_K5, depth, r, g, b, a, kind):
    """Keep a fragment in the order of depth unless it lies behind an opaque one or behind K others."""
    count = depth_K.shape[0]
    place = 0
    while place < count and depth_K[place] <= depth:
        if color_K5[place, 3] >= _OPAQUE:
            return
        place += 1
    if place == count:
        return
    for k in range(count - 1, place, -1):
        depth_K[k] = depth_K[k - 1]
        for c in range(5):
            color_K5[k, c] = color_K5[k - 1, c]
    depth_K[place] = depth
    color_K5[place, 0], color_K5[place, 1], color_K5[place, 2] = np.uint8(r + 0.5), np.uint8(g + 0.5), np.uint8(b + 0.5)
    color_K5[place, 3], color_K5[place, 4] = np.uint8(a + 0.5), np.uint8(kind)


@compiled
def _corners(screen_V3, triangles_T3, t, height, width):
    """A triangle's corners in counterclockwise order, and its box, empty where nothing is to be drawn."""
    i, j, k = triangles_T3[t, 0], triangles_T3[t, 1], triangles_T3[t, 2]
    area = (screen_V3[j, 0] - screen_V3[i, 0]) * (screen_V3[k, 1] - screen_V3[i, 1]) - (
        screen_V3[j, 1] - screen_V3[i, 1]
    ) * (screen_V3[k, 0] - screen_V3[i, 0])
    if area < 0:
        j, k, area = k, j, -area
    near = min(screen_V3[i, 2], screen_V3[j, 2], screen_V3[k, 2])
    if not area > 1e-9 or near <= 0.05:
        return i, j, k, np.float32(1.0), 0, 0, 0, 0
    left = max(0, int(np.floor(min(screen_V3[i, 0], screen_V3[j, 0], screen_V3[k, 0]) - 0.5)))
    right = min(width, int(np.ceil(max(screen_V3[i, 0], screen_V3[j, 0], screen_V3[k, 0]) + 0.5)))
    top = max(0, int(np.floor(min(screen_V3[i, 1], screen_V3[j, 1], screen_V3[k, 1]) - 0.5)))
    bottom = min(height, int(np.ceil(max(screen_V3[i, 1], screen_V3[j, 1], screen_V3[k, 1]) + 0.5)))
    return i, j, k, area, left, right, top, bottom


@compiled
def _edge(screen_V3, a, b, x, y):
    """Edge function of a point; exactly opposite for the two triangles of an edge, and never inside both."""
    if a < b:
        value = (screen_V3[b, 0] - screen_V3[a, 0]) * (y - screen_V3[a, 1]) - (screen_V3[b, 1] - screen_V3[a, 1]) * (
            x - screen_V3[a, 0]
        )
        return value if value != 0 else 1e-12
    value = (screen_V3[a, 0] - screen_V3[b, 0]) * (y - screen_V3[b, 1]) - (screen_V3[a, 1] - screen_V3[b, 1]) * (
        x - screen_V3[b, 0]
    )
    return -value if value != 0 else -1e-12


@compiled
def _draw_textured(screen_V3, at_V3, triangles_T3, texture, depth_HWK, color_HWK5):
    height, width = depth_HWK.shape[:2]
    rows, columns = texture.shape[:2]
    for t in range(len(triangles_T3)):
        i, j, k, area, left, right, top, bottom = _corners(screen_V3, triangles_T3, t, height, width)
        for row in range(top, bottom):
            y = row + 0.5
            for column in range(left, right):
                x = column + 0.5
                u, v, w = _edge(screen_V3, j, k, x, y), _edge(screen_V3, k, i, x, y), _edge(screen_V3, i, j, x, y)
                if u < 0 or v < 0 or w < 0:
                    continue
                u, v, w = u / area, v / area, w / area
                depth = u * screen_V3[i, 2] + v * screen_V3[j, 2] + w * screen_V3[k, 2]
                if depth_HWK[row, column, 0] <= depth and color_HWK5[row, column, 0, 3] >= _OPAQUE:
                    continue
                tx = u * at_V3[i, 0] + v * at_V3[j, 0] + w * at_V3[k, 0] - 0.5
                ty = u * at_V3[i, 1] + v * at_V3[j, 1] + w * at_V3[k, 1] - 0.5
                x0, y0 = int(np.floor(tx)), int(np.floor(ty))
                fx, fy = tx - x0, ty - y0
                x1, y1 = min(max(x0 + 1, 0), columns - 1), min(max(y0 + 1, 0), rows - 1)
                x0, y0 = min(max(x0, 0), columns - 1), min(max(y0, 0), rows - 1)
                opacity = u * at_V3[i, 2] + v * at_V3[j, 2] + w * at_V3[k, 2]
                s00, s01 = (1 - fx) * (1 - fy) * texture[y0, x0, 3], fx * (1 - fy) * texture[y0, x1, 3]
                s10, s11 = (1 - fx) * fy * texture[y1, x0, 3], fx * fy * texture[y1, x1, 3]
                a = s00 + s01 + s10 + s11
                if a * opacity < _FAINTEST:
                    continue
                r = (
                    s00 * texture[y0, x0, 0]
                    + s01 * texture[y0, x1, 0]
                    + s10 * texture[y1, x0, 0]
                    + s11 * texture[y1, x1, 0]
                ) / a
                g = (
                    s00 * texture[y0, x0, 1]
                    + s01 * texture[y0, x1, 1]
                    + s10 * texture[y1, x0, 1]
                    + s11 * texture[y1, x1, 1]
                ) / a
                kind = texture[y1 if fy > 0.5 else y0, x1 if fx > 0.5 else x0, 4]
                b = (
                    s00 * texture[y0, x0, 2]
                    + s01 * texture[y0, x1, 2]
                    + s10 * texture[y1, x0, 2]
                    + s11 * texture[y1, x1, 2]
                ) / a
                _insert(depth_HWK[row, column], color_HWK5[row, column], depth, r, g, b, a * opacity, kind)


@compiled
def _draw_colored(screen_V3, color_V4, triangles_T3, kind, depth_HWK, color_HWK5):
    height, width = depth_HWK.shape[:2]
    for t in range(len(triangles_T3)):
        a, b, c = triangles_T3[t, 0], triangles_T3[t, 1], triangles_T3[t, 2]
        if max(color_V4[a, 3], color_V4[b, 3], color_V4[c, 3]) < _FAINTEST:
            continue
        i, j, k, area, left, right, top, bottom = _corners(screen_V3, triangles_T3, t, height, width)
        for row in range(top, bottom):
            y = row + 0.5
            for column in range(left, right):
                x = column + 0.5
                u, v, w = _edge(screen_V3, j, k, x, y), _edge(screen_V3, k, i, x, y), _edge(screen_V3, i, j, x, y)
                if u < 0 or v < 0 or w < 0:
                    continue
                u, v, w = u / area, v / area, w / area
                depth = u * screen_V3[i, 2] + v * screen_V3[j, 2] + w * screen_V3[k, 2]
                if depth_HWK[row, column, 0] <= depth and color_HWK5[row, column, 0, 3] >= _OPAQUE:
                    continue
                r = u * color_V4[i, 0] + v * color_V4[j, 0] + w * color_V4[k, 0]
                g = u * color_V4[i, 1] + v * color_V4[j, 1] + w * color_V4[k, 1]
                blue = u * color_V4[i, 2] + v * color_V4[j, 2] + w * color_V4[k, 2]
                alpha = u * color_V4[i, 3] + v * color_V4[j, 3] + w * color_V4[k, 3]
                if alpha >= _FAINTEST:
                    _insert(depth_HWK[row, column], color_HWK5[row, column], depth, r, g, blue, alpha, kind)


@compiled
def _resolve(depth_HWK, color_HWK5, color_HW4, kind_HW):
    height, width, count = depth_HWK.shape
    for row in range(height):
        for column in range(width):
            left, r, g, b = 1.0, 0.0, 0.0, 0.0
            kind = 255
            for k in range(count):
                if depth_HWK[row, column, k] == np.inf:
                    break
                share = left * color_HWK5[row, column, k, 3] / 255
                r += share * color_HWK5[row, column, k, 0]
                g += share * color_HWK5[row, column, k, 1]
                b += share * color_HWK5[row, column, k, 2]
                left -= share
                if kind == 255 and left < 0.5:
                    kind = color_HWK5[row, column, k, 4]
                if left < 0.02:
                    left = 0.0
                    break
            a = 1 - left
            divide = a if a > 0 else 1.0
            color_HW4[row, column, 0] = np.uint8(min(255, r / divide + 0.5))
            color_HW4[row, column, 1] = np.uint8(min(255, g / divide + 0.5))
            color_HW4[row, column, 2] = np.uint8(min(255, b / divide + 0.5))
            color_HW4[row, column, 3] = np.uint8(a * 255 + 0.5)
            kind_HW[row, column] = kind
