"""Warps the face of a picture so that its points lie elsewhere: a mesh of triangles, exact at lips and lids.

Eyeballs stay where they are, and lids cover them. What is seen of teeth hangs on the upper lip; below it a mouth is
dark.

Shape legend: F frames, N points of the face (468), V vertices of the mesh, T triangles, H W pixels, C channels.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import Delaunay

from magicanimate.compiled import compiled
from magicanimate.person.expression import EYE_CORNERS, LIP_CORNERS, LOWER_LIDS, LOWER_LIP, UPPER_LIDS, UPPER_LIP
from magicanimate.person.faces import LEFT_EYE, LIPS, RIGHT_EYE

_RING, _OUTSIDE = 40, 1.25
"""Points around the face that stay, and their distance from its middle, in that of its outline."""
_OPENED = 0.25  # distances between the eyes: how far lips and lids are opened where the mesh is made
_DARKER = 0.25  # times the color of the lips: the inside of a mouth
_CRACK = -0.01  # of a triangle's height: how far it is drawn beyond its edges, so that closed lids leave no gap
_STILL = 0.05  # pixels: nothing to be warped


class FaceWarp:
    """Warps pictures and textures in which one face lies."""

    def __init__(self, face_N2: np.ndarray, moved_FN2: np.ndarray) -> None:
        """
        Args:
            face_N2: the face's points in pixels of the picture.
            moved_FN2: where they are in each frame.
        """
        ring_R2 = _ring(face_N2)
        self._own_V2 = np.concatenate([face_N2, ring_R2]).astype(np.float32)
        self._moved_FN2, self._ring_R2 = moved_FN2.astype(np.float32), ring_R2.astype(np.float32)
        self._triangles_T3, self._eye_T = _mesh(self._own_V2)

    def __call__(self, index: int, picture_HWC: np.ndarray, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Return a picture, or a layer's texture, with the face as in a frame; the same object where it does not move.

        Args:
            index: of the frame.
            picture_HWC: uint8, color and any further channels, of which a fifth one is the kind of the pixel.
            origin: row and column in it of the picture that the face was found in.
        """
        if np.abs(self._moved_FN2[index] - self._own_V2[: len(self._moved_FN2[index])]).max() < _STILL:
            return picture_HWC
        shift_2 = np.array(origin[::-1], np.float32)
        own_V2 = self._own_V2 + shift_2
        moved_V2 = np.concatenate([self._moved_FN2[index], self._ring_R2]) + shift_2
        warped_HWC = picture_HWC.copy()
        _warp_triangles(picture_HWC, own_V2, moved_V2, self._triangles_T3, self._eye_T, warped_HWC)
        inside_3 = _inside_color(picture_HWC, own_V2)
        _warp_mouth(picture_HWC, _lips(own_V2), _lips(moved_V2), inside_3, warped_HWC)
        return warped_HWC


def _ring(face_N2: np.ndarray) -> np.ndarray:
    """Return points around a face [R, 2]."""
    middle_2 = face_N2.mean(0)
    angle_R = np.arange(_RING) * 2 * np.pi / _RING
    way_R2 = np.stack([np.cos(angle_R), np.sin(angle_R)], 1)
    reach_R = ((face_N2 - middle_2) @ way_R2.T).max(0)
    return middle_2 + _OUTSIDE * reach_R[:, None] * way_R2


def _lips(points_V2: np.ndarray) -> np.ndarray:
    """Return the inner edges of upper and lower lip from corner to corner, [2, K, 2]."""
    left, right = LIP_CORNERS
    return np.stack([points_V2[[left, *edge, right]] for edge in (UPPER_LIP, LOWER_LIP)])


def _inside_color(picture_HWC: np.ndarray, own_V2: np.ndarray) -> np.ndarray:
    """Return the color [3] float32 of the inside of a mouth: that of the lips, darker."""
    x, y = own_V2[list(LIPS)].T.astype(int)
    rows, columns = y.clip(0, picture_HWC.shape[0] - 1), x.clip(0, picture_HWC.shape[1] - 1)
    return (_DARKER * np.median(picture_HWC[rows, columns, :3], 0)).astype(np.float32)


def _mesh(own_V2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return triangles [T, 3] int32 of skin and eyes, and which are eyes [T] bool, for a face whose lips may be closed.

    They are made with mouth and eyes opened wide, so that none joins one lip or lid with the other outside them.
    """
    across_2 = own_V2[LEFT_EYE[1]] - own_V2[RIGHT_EYE[0]]
    wide = float(np.linalg.norm(across_2))
    right_2 = across_2 / wide
    turned_V2 = own_V2 @ np.stack([right_2, [-right_2[1], right_2[0]]], 1)
    holes = [
        *((EYE_CORNERS[eye], UPPER_LIDS[eye], LOWER_LIDS[eye]) for eye in (0, 1)),
        (LIP_CORNERS, UPPER_LIP, LOWER_LIP),
    ]
    opened_V2 = turned_V2.copy()
    for (left, right), upper, lower in holes:
        opened_V2[:, 1] += _opening(turned_V2, left, right, upper, lower) * _OPENED * wide
    triangles_T3 = Delaunay(opened_V2).simplices.astype(np.int32)
    *eye_T, mouth_T = (np.isin(triangles_T3, corners + upper + lower).all(1) for corners, upper, lower in holes)
    skin_T = ~np.any([mouth_T, *eye_T], 0)
    eye_T3 = triangles_T3[np.any(eye_T, 0)]
    eyes_first_T3 = np.concatenate([eye_T3, triangles_T3[skin_T]])
    return eyes_first_T3, np.arange(len(eyes_first_T3)) < len(eye_T3)


def _opening(
    points_V2: np.ndarray, left: int, right: int, upper: tuple[int, ...], lower: tuple[int, ...]
) -> np.ndarray:
    """Return how far points move down where a hole opens, [V] 0..1: all that lies below the line between its edges."""
    line = [left, *upper, right]
    x = points_V2[line, 0]
    y = np.concatenate([[points_V2[left, 1]], (points_V2[list(upper), 1] + points_V2[list(lower), 1]) / 2,
                        [points_V2[right, 1]]])  # fmt: skip
    order = np.argsort(x)
    below_V = points_V2[:, 1] > np.interp(points_V2[:, 0], x[order], y[order])
    below_V[list(upper)], below_V[list(lower)], below_V[[left, right]] = False, True, False
    along_V = np.clip((points_V2[:, 0] - x.min()) / max(float(np.ptp(x)), 1e-6), 0, 1)
    return below_V * 4 * along_V * (1 - along_V)


@compiled
def _warp_triangles(picture, own_V2, moved_V2, triangles_T3, eye_T, out):
    height, width = picture.shape[:2]
    for t in range(len(triangles_T3)):
        i, j, k = triangles_T3[t, 0], triangles_T3[t, 1], triangles_T3[t, 2]
        area = _area(moved_V2[i], moved_V2[j], moved_V2[k])
        if abs(area) < 1e-4:
            continue
        still = eye_T[t] and abs(area) <= abs(_area(own_V2[i], own_V2[j], own_V2[k]))
        left, right, top, bottom = _box(moved_V2[i], moved_V2[j], moved_V2[k], height, width)
        for row in range(top, bottom):
            for column in range(left, right):
                x, y = column + np.float32(0.5), row + np.float32(0.5)
                u = ((moved_V2[j, 0] - x) * (moved_V2[k, 1] - y) - (moved_V2[j, 1] - y) * (moved_V2[k, 0] - x)) / area
                v = ((moved_V2[k, 0] - x) * (moved_V2[i, 1] - y) - (moved_V2[k, 1] - y) * (moved_V2[i, 0] - x)) / area
                w = 1 - u - v
                if min(u, v, w) < _CRACK:
                    continue
                if not still:
                    x = u * own_V2[i, 0] + v * own_V2[j, 0] + w * own_V2[k, 0]
                    y = u * own_V2[i, 1] + v * own_V2[j, 1] + w * own_V2[k, 1]
                _sample(picture, x, y, out[row, column])


@compiled
def _warp_mouth(picture, own_2K2, moved_2K2, inside_3, out):
    """Draw what lies between the lips: what the picture shows there hangs on the upper lip, below that it is dark."""
    height, width = picture.shape[:2]
    count = own_2K2.shape[1]
    for k in range(count - 1):
        for half in range(2):
            # the corners of a triangle: its place along the lips, and 0 on the upper, 1 on the lower one
            along = (k, k + 1, k) if half == 0 else (k, k + 1, k + 1)
            below = (0, 1, 1) if half == 0 else (0, 0, 1)
            a, b, c = moved_2K2[below[0], along[0]], moved_2K2[below[1], along[1]], moved_2K2[below[2], along[2]]
            area = _area(a, b, c)
            if abs(area) < 1e-4:
                continue
            left, right, top, bottom = _box(a, b, c, height, width)
            for row in range(top, bottom):
                for column in range(left, right):
                    x, y = column + np.float32(0.5), row + np.float32(0.5)
                    u = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                    v = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                    w = 1 - u - v
                    if u < 0 or v < 0 or w < 0:
                        continue
                    place = u * along[0] + v * along[1] + w * along[2]
                    down = u * below[0] + v * below[1] + w * below[2]
                    gap, own_gap = _gap(moved_2K2, place), _gap(own_2K2, place)
                    share = min(np.float32(1.0), down * gap / max(own_gap, np.float32(1e-3)))
                    upper_x, upper_y = _at(own_2K2[0], place)
                    lower_x, lower_y = _at(own_2K2[1], place)
                    pixel = out[row, column]
                    _sample(
                        picture, upper_x + share * (lower_x - upper_x), upper_y + share * (lower_y - upper_y), pixel
                    )
                    dark = min(max(down * gap - own_gap, np.float32(0.0)), np.float32(1.0))
                    dark *= min((1 - down) * gap, np.float32(1.0))
                    for channel in range(3):
                        pixel[channel] = np.uint8(pixel[channel] + dark * (inside_3[channel] - pixel[channel]) + 0.5)


@compiled
def _area(a, b, c):
    """Return twice the signed area of a triangle."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@compiled
def _box(a, b, c, height, width):
    """Return the columns and rows (from, to) whose middles may lie in a triangle."""
    left = max(0, int(np.ceil(min(a[0], b[0], c[0]) - 0.5)))
    right = min(width, int(np.floor(max(a[0], b[0], c[0]) - 0.5)) + 1)
    top = max(0, int(np.ceil(min(a[1], b[1], c[1]) - 0.5)))
    bottom = min(height, int(np.floor(max(a[1], b[1], c[1]) - 0.5)) + 1)
    return left, right, top, bottom


@compiled
def _at(edge_K2, place):
    """Return the point (x, y) of a lip's edge at a place along it."""
    k = min(int(place), len(edge_K2) - 2)
    part = np.float32(place - k)
    return (
        edge_K2[k, 0] + part * (edge_K2[k + 1, 0] - edge_K2[k, 0]),
        edge_K2[k, 1] + part * (edge_K2[k + 1, 1] - edge_K2[k, 1]),
    )


@compiled
def _gap(lips_2K2, place):
    """Return the distance of the lips at a place along them, in pixels."""
    upper_x, upper_y = _at(lips_2K2[0], place)
    lower_x, lower_y = _at(lips_2K2[1], place)
    return np.sqrt((lower_x - upper_x) ** 2 + (lower_y - upper_y) ** 2)


@compiled
def _sample(picture, x, y, pixel):
    """Write a picture's value at a point, bilinear; of a fifth channel that of the nearest pixel."""
    height, width, channels = picture.shape
    x, y = x - np.float32(0.5), y - np.float32(0.5)
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    x1, y1 = min(max(x0 + 1, 0), width - 1), min(max(y0 + 1, 0), height - 1)
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    for c in range(min(channels, 4)):
        above = picture[y0, x0, c] + fx * (np.float32(picture[y0, x1, c]) - picture[y0, x0, c])
        under = picture[y1, x0, c] + fx * (np.float32(picture[y1, x1, c]) - picture[y1, x0, c])
        pixel[c] = np.uint8(min(max(above + fy * (under - above) + np.float32(0.5), np.float32(0)), np.float32(255)))
    if channels > 4:
        pixel[4] = picture[y1 if fy > 0.5 else y0, x1 if fx > 0.5 else x0, 4]
