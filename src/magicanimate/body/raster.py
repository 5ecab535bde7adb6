"""Rasterizes triangle meshes on the CPU, with a depth buffer.

Shape legend: V vertices, T triangles, H W pixels, N covered pixels, C channels. Pixel (0, 0) has its middle at
(0.5, 0.5). Depth is the distance from the plane of the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from magicanimate.compiled import compiled


@dataclass(frozen=True)
class Raster:
    """The nearest triangle at each pixel."""

    triangle_HW: np.ndarray
    """int32, -1 where there is none."""
    barycentric_HW3: np.ndarray
    """float32: perspective-correct weights of the triangle's corners; meaningless where there is none."""
    depth_HW: np.ndarray
    """float32, infinite where there is no triangle."""
    triangles_T3: np.ndarray

    @cached_property
    def covered_N(self) -> np.ndarray:
        """Indices of the covered pixels in row-major order. int64."""
        return np.flatnonzero(self.triangle_HW >= 0)

    @cached_property
    def on_HW(self) -> np.ndarray:
        """[H, W] bool: covered pixels."""
        return self.triangle_HW >= 0

    @cached_property
    def corners_HW3(self) -> np.ndarray:
        """[H, W, 3] vertices of the nearest triangle; meaningless where there is none."""
        return self.triangles_T3[np.maximum(self.triangle_HW, 0)]

    def sample(self, values_VC: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Interpolate values of vertices at some covered pixels. [N, C]."""
        corners, share = self.corners_HW3[rows, columns], self.barycentric_HW3[rows, columns]
        return sum(values_VC[corners[:, k]] * share[:, k, None] for k in range(3))

    def interpolate(self, values_VC: np.ndarray) -> np.ndarray:
        """Interpolate values of vertices at the covered pixels. [N, C] float32."""
        return _interpolate(
            np.ascontiguousarray(values_VC, np.float32), self.triangles_T3, self.covered_N,
            self.triangle_HW.reshape(-1), self.barycentric_HW3.reshape(-1, 3),
        )  # fmt: skip

    def picture(self, values_N: np.ndarray) -> np.ndarray:
        """Put values of the covered pixels into a picture, 0 elsewhere. [H, W, ...]."""
        size = self.triangle_HW.shape
        out_PC = np.zeros((size[0] * size[1], *values_N.shape[1:]), values_N.dtype)
        out_PC[self.covered_N] = values_N
        return out_PC.reshape(*size, *values_N.shape[1:])


def rasterize(
    screen_V3: np.ndarray, triangles_T3: np.ndarray, size: tuple[int, int], reach: tuple[float, float] = (1e-2, np.inf)
) -> Raster:
    """Find the nearest triangle at each pixel; both sides of a triangle are seen.

    Args:
        screen_V3: x and y in pixels, depth.
        triangles_T3: indices of vertices.
        size: height and width of the result in pixels.
        reach: the nearest and the farthest depth that are drawn. Triangles with a corner before the camera's plane are
            left out.
    """
    triangles_T3 = np.ascontiguousarray(triangles_T3, np.int32)
    triangle_HW = np.full(size, -1, np.int32)
    depth_HW = np.full(size, np.inf, np.float32)
    barycentric_HW3 = np.empty((*size, 3), np.float32)
    screen_V3 = np.ascontiguousarray(screen_V3, np.float64)
    _rasterize(screen_V3, triangles_T3, *map(float, reach), triangle_HW, depth_HW, barycentric_HW3)
    return Raster(triangle_HW, barycentric_HW3, depth_HW, triangles_T3)


@compiled
def _rasterize(screen_V3, triangles_T3, near, far, triangle_HW, depth_HW, barycentric_HW3):
    height, width = triangle_HW.shape
    for t in range(len(triangles_T3)):
        a, b, c = screen_V3[triangles_T3[t, 0]], screen_V3[triangles_T3[t, 1]], screen_V3[triangles_T3[t, 2]]
        if not (a[2] > 1e-6 and b[2] > 1e-6 and c[2] > 1e-6):
            continue
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if not abs(area) > 1e-12:  # also without a number
            continue
        # pixels whose middles lie within the triangle's bounds
        first_row = max(0, int(np.ceil(max(min(a[1], b[1], c[1]), 0.0) - 0.5)))
        last_row = min(height - 1, int(np.floor(min(max(a[1], b[1], c[1]), float(height)) - 0.5)))
        first_column = max(0, int(np.ceil(max(min(a[0], b[0], c[0]), 0.0) - 0.5)))
        last_column = min(width - 1, int(np.floor(min(max(a[0], b[0], c[0]), float(width)) - 0.5)))
        for row in range(first_row, last_row + 1):
            y = row + 0.5
            for column in range(first_column, last_column + 1):
                x = column + 0.5
                u = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                v = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                w = 1 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                u, v, w = u / a[2], v / b[2], w / c[2]
                depth = 1 / (u + v + w)
                if near <= depth <= far and depth < depth_HW[row, column]:
                    triangle_HW[row, column] = t
                    depth_HW[row, column] = depth
                    barycentric_HW3[row, column, 0] = u * depth
                    barycentric_HW3[row, column, 1] = v * depth
                    barycentric_HW3[row, column, 2] = w * depth


@compiled
def _interpolate(values_VC, triangles_T3, covered_N, triangle_P, barycentric_P3):
    channels = values_VC.shape[1]
    out_NC = np.empty((len(covered_N), channels), np.float32)
    for n in range(len(covered_N)):
        pixel = covered_N[n]
        corners, weights = triangles_T3[triangle_P[pixel]], barycentric_P3[pixel]
        a, b, c = corners[0], corners[1], corners[2]
        u, v, w = weights[0], weights[1], weights[2]
        for channel in range(channels):
            out_NC[n, channel] = u * values_VC[a, channel] + v * values_VC[b, channel] + w * values_VC[c, channel]
    return out_NC
