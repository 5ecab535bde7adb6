"""Carries a driver's facial expression over to the face of a picture, as displacements of its points.

Mouth and brows take the differences of the driver's face from its own neutral one, without the turns of the head; eyes
take how far the driver's are closed against how open they usually are, so that a blink closes eyes of any shape.

Shape legend: F frames, N points of a face (468), K some of them, E eyes.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from magicanimate.body.smoothing import bridge_gaps, runs, smooth
from magicanimate.person.faces import CHIN, LEFT_EYE, LIPS, RIGHT_EYE, TOP, FaceTrack

UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
"""Points of the lips' inner edges between the corners, one above the other, from left to right."""
LIP_CORNERS = (78, 308)
UPPER_LIDS = ((246, 161, 160, 159, 158, 157, 173), (398, 384, 385, 386, 387, 388, 466))
LOWER_LIDS = ((7, 163, 144, 145, 153, 154, 155), (382, 381, 380, 374, 373, 390, 249))
"""Points of the lids' edges between the corners, for the eyes of RIGHT_EYE and LEFT_EYE."""
EYE_CORNERS = (RIGHT_EYE, LEFT_EYE)
_BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
_STILL = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 127, 356, 234, 454, 10, 67, 297)
"""Points that no expression moves: eye corners, nose, temples, hairline."""
_NOSE = 2  # below the nose: the mouth moves nothing above
_SMOOTHING = 0.05  # seconds, half window
_LONGEST_GAP = 0.2  # seconds without a face that are bridged
_FADE = 0.15  # seconds over which an expression fades where the face gets lost
_TURNED = np.radians((20.0, 40.0))  # turn of the driver's head at which the expression fades, and is gone
_NEAREST = 0.1  # of the frames: those with a mouth as open as the picture's, whose mean is the neutral mouth
_OPEN_EYES = (0.55, 0.9)  # of their usual opening, at which eyes are closed, and as open as usual
_USUAL = 0.6  # quantile of the opening of eyes that is their usual one
_SHUT = 0.7  # expression from which on closed eyes are closed
_MOUTH_REACH, _BROW_REACH, _LID_REACH = (0.1, 0.75), (0.04, 0.22), (0.0, 0.18)
"""Distances from the points that move, in distances between the eyes, up to which others move along, and move at all.
"""
_MOST = 0.35  # distances between the eyes: largest displacement
_LEAST = 1e-3  # pixels, where no face is seen
_LOWER_LID = 0.12  # of the way between the lids that the lower one goes


def move_face(face_N3: np.ndarray, driver: FaceTrack, expression: float) -> np.ndarray:
    """Return where the points of a picture's face are in each frame, [F, 468, 2] float32 pixels.

    Args:
        face_N3: the picture's face, in its pixels.
        driver: whose face is seen in one frame at least.
        expression: 0..1.
    """
    aligned_FN3, aside_F, tilted_F = _aligned(driver)
    bridged_FN3, known_F = bridge_gaps(aligned_FN3, driver.seen_F, round(_LONGEST_GAP * driver.fps))
    filled_FN3 = bridged_FN3.copy()
    half = round(_SMOOTHING * driver.fps)
    for run in runs(known_F):
        filled_FN3[run] = smooth(filled_FN3[run], np.ones(filled_FN3[run].shape[:2], np.float32), half)
    share_F, eyes_F = (_shares(known_F, away_F, driver.fps) for away_F in (tilted_F, aside_F))
    neutral_N3 = _neutral(filled_FN3[known_F], face_N3)
    matrix_33, _ = _similarity(neutral_N3[list(_STILL)], face_N3[list(_STILL)])
    away_FN2 = ((filled_FN3 - neutral_N3) @ matrix_33.T)[..., :2]
    wide = float(_between_eyes(face_N3))
    away_FN2 *= (expression * share_F[:, None] * _weights(face_N3, wide))[..., None]
    away_FN2[~known_F] = 0
    closing_F = eyes_F * _closing(bridged_FN3, known_F) * min(1.0, expression / _SHUT)
    away_FN2 += closing_F[:, None, None] * _lids(face_N3[:, :2], wide)
    length_FN = np.linalg.norm(away_FN2, axis=-1)
    away_FN2 *= (_MOST * wide / np.maximum(length_FN, _MOST * wide))[..., None]
    return _lips_apart(face_N3[:, :2] + away_FN2, face_N3).astype(np.float32)


def _aligned(driver: FaceTrack) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay the driver's faces over each other by what no expression moves; also how far the head is turned.

    Returns:
        [F, N, 3] float32, in pixels of the median face; [F] radians aside; [F] radians in any way, from its usual turn.
    """
    seen = np.flatnonzero(driver.seen_F)
    points_FN3 = driver.points_FN3
    across_K3 = points_FN3[seen, 454] - points_FN3[seen, 234]
    aside_F, tilted_F = np.zeros((2, len(points_FN3)))
    aside_F[seen] = np.abs(np.arctan2(across_K3[:, 2], np.hypot(across_K3[:, 0], across_K3[:, 1])))
    still, aligned_FN3, ahead_K3 = list(_STILL), np.zeros_like(points_FN3), np.zeros((len(seen), 3))
    mean_N3 = points_FN3[seen[aside_F[seen].argmin()]]
    for _ in range(2):
        for k, frame in enumerate(seen):
            matrix_33, shift_3 = _similarity(points_FN3[frame, still], mean_N3[still])
            aligned_FN3[frame] = points_FN3[frame] @ matrix_33.T + shift_3
            ahead_K3[k] = matrix_33[2] / np.linalg.norm(matrix_33[2])
        mean_N3 = np.median(aligned_FN3[seen], 0)
    usual_3 = np.median(ahead_K3, 0)
    tilted_F[seen] = np.arccos(np.clip(ahead_K3 @ (usual_3 / np.linalg.norm(usual_3)), -1, 1))
    return aligned_FN3, aside_F, np.maximum(aside_F, tilted_F)


def _similarity(from_K3: np.ndarray, to_K3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a rotation with a scale [3, 3], and a shift [3], by least squares (Umeyama, 1991)."""
    from_K3, to_K3 = from_K3.astype(np.float64), to_K3.astype(np.float64)
    middle_from, middle_to = from_K3.mean(0), to_K3.mean(0)
    own, other = from_K3 - middle_from, to_K3 - middle_to
    u, spread, vt = np.linalg.svd(other.T @ own)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    matrix_33 = (u * sign) @ vt * ((spread * sign).sum() / (own**2).sum())
    return matrix_33, middle_to - matrix_33 @ middle_from


def _shares(known_F: np.ndarray, away_F: np.ndarray, fps: float) -> np.ndarray:
    """Return how much of the expression counts in each frame, [F] float32 0..1."""
    share_F = np.where(known_F, np.interp(away_F, _TURNED, (1, 0)), 0)
    width = 2 * round(_FADE * fps) + 1
    return np.minimum(share_F, ndimage.uniform_filter1d(share_F, width, mode="nearest")).astype(np.float32)


def _neutral(aligned_KN3: np.ndarray, face_N3: np.ndarray) -> np.ndarray:
    """Return the driver's neutral face: the median, with the mouth as open as the picture's where it ever is."""
    neutral_N3 = np.median(aligned_KN3, 0)
    away_K = np.abs(mouth_opening(aligned_KN3) - mouth_opening(face_N3))
    nearest = np.argsort(away_K, kind="stable")[: max(1, round(_NEAREST * len(away_K)))]
    below_N = np.clip(_below_nose(neutral_N3) * 4, 0, 1)[:, None]
    return neutral_N3 + below_N * (aligned_KN3[nearest].mean(0) - neutral_N3)


def mouth_opening(points_N3: np.ndarray) -> np.ndarray:
    """Return the mean distance [...] of the lips' inner edges, in distances between the eyes."""
    gap = np.linalg.norm(points_N3[..., UPPER_LIP, :] - points_N3[..., LOWER_LIP, :], axis=-1).mean(-1)
    return gap / np.maximum(_between_eyes(points_N3), _LEAST)


def eye_opening(points_N3: np.ndarray) -> np.ndarray:
    """Return the mean distance [..., E] of the lids' edges, in widths of the eye."""
    openings = []
    for upper, lower, (left, right) in zip(UPPER_LIDS, LOWER_LIDS, EYE_CORNERS, strict=True):
        gap = np.linalg.norm(points_N3[..., upper, :] - points_N3[..., lower, :], axis=-1).mean(-1)
        width = np.linalg.norm(points_N3[..., left, :] - points_N3[..., right, :], axis=-1)
        openings.append(gap / np.maximum(width, _LEAST))
    return np.stack(openings, -1)


def _between_eyes(points_N3: np.ndarray) -> np.ndarray:
    """Return the distance [...] between the outer corners of the eyes."""
    return np.linalg.norm(points_N3[..., RIGHT_EYE[0], :] - points_N3[..., LEFT_EYE[1], :], axis=-1)


def _closing(aligned_FN3: np.ndarray, known_F: np.ndarray) -> np.ndarray:
    """Return how far the driver's eyes are closed, [F] 0..1; of both together, as one may be seen badly."""
    opening_F = eye_opening(aligned_FN3).mean(-1)
    usual = max(float(np.quantile(opening_F[known_F], _USUAL)), 1e-6)
    return np.where(known_F, np.interp(opening_F / usual, _OPEN_EYES, (1, 0)), 0)


def _below_nose(points_N3: np.ndarray) -> np.ndarray:
    """Return how far below the nose points lie, [N], in distances between the eyes."""
    down_3 = points_N3[CHIN] - points_N3[TOP]
    return (points_N3 - points_N3[_NOSE]) @ down_3 / np.linalg.norm(down_3) / _between_eyes(points_N3)


def _weights(face_N3: np.ndarray, wide: float) -> np.ndarray:
    """Return how much each point takes of its displacement, [N] 0..1: none around the eyes and at the outline."""
    mouth_N = _near(face_N3, LIPS + UPPER_LIP + LOWER_LIP, _MOUTH_REACH, wide)
    mouth_N *= np.clip(_below_nose(face_N3) * 8, 0, 1)
    return np.maximum(mouth_N, _near(face_N3, _BROWS, _BROW_REACH, wide))


def _near(face_N3: np.ndarray, points: tuple[int, ...], reach: tuple[float, float], wide: float) -> np.ndarray:
    """Return 1 near some points of a face, 0 beyond their reach. [N]."""
    away_NK = np.linalg.norm(face_N3[:, None] - face_N3[None, list(points)], axis=-1)
    return np.interp(away_NK.min(1) / wide, reach, (1, 0))


def _lids(face_N2: np.ndarray, wide: float) -> np.ndarray:
    """Return displacements [N, 2] that close the eyes: of the lids' edges and the skin around them."""
    away_N2 = np.zeros_like(face_N2)
    for eye, (upper, lower) in enumerate(zip(UPPER_LIDS, LOWER_LIDS, strict=True)):
        gap_K2 = face_N2[list(lower)] - face_N2[list(upper)]
        edge = list(upper + lower + EYE_CORNERS[eye])
        edge_N = np.linalg.norm(face_N2[:, None] - face_N2[None, edge], axis=-1).min(1)
        for own, way_K2 in ((upper, (1 - _LOWER_LID) * gap_K2), (lower, -_LOWER_LID * gap_K2)):
            away_NK = np.linalg.norm(face_N2[:, None] - face_N2[None, list(own)], axis=-1)
            weight_NK = 1 / (away_NK + 0.02 * wide) ** 2
            way_N2 = weight_NK / weight_NK.sum(1, keepdims=True) @ way_K2
            nearest_N = away_NK.min(1) <= edge_N + 1e-6
            way_N2 *= (nearest_N * np.interp(edge_N / wide, _LID_REACH, (1, 0)))[:, None]
            way_N2[edge] = 0
            way_N2[list(own)] = way_K2
            away_N2 += way_N2
    return away_N2


def _lips_apart(moved_FN2: np.ndarray, face_N3: np.ndarray) -> np.ndarray:
    """Return points whose lips meet where they would pass through each other."""
    down_2 = (face_N3[CHIN] - face_N3[TOP])[:2]
    down_2 = down_2 / np.linalg.norm(down_2)
    upper_FK2, lower_FK2 = moved_FN2[:, UPPER_LIP], moved_FN2[:, LOWER_LIP]
    over_FK = np.minimum((lower_FK2 - upper_FK2) @ down_2, 0)
    moved_FN2[:, UPPER_LIP] += 0.5 * over_FK[..., None] * down_2
    moved_FN2[:, LOWER_LIP] -= 0.5 * over_FK[..., None] * down_2
    return moved_FN2
