"""Hands before the body, put right by their colour.

A fitted body's hands are some pixels beside those of the picture. Before the background that does little harm; before
the trunk or a thigh, what was missed stays there when the hand moves away, and what was cloth moves with the hand.

Shape legend: H W pixels, N pixels of a kind, K colours.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.cluster.vq import kmeans2

from magicanimate.parts.densepose import HEAD

HANDS = (3, 4)
BEHIND = (1, 2, 7, 8, 9, 10)  # trunk and thighs
_REACH = 0.45  # of the head's size: how far a hand may be beside its place
_AROUND = 3  # times that: where the clothes' colours are taken from
_LEAST = 50  # pixels of a face, and of clothes, that are needed for their colours
_SMALLEST = 20  # pixels of a hand
_LIKE_FACE = 0.6  # share of the hand's pixels that are taken for its colour: those most like the face
_COLOURS = 4  # of the clothes around a hand
_APART = 0.2  # distance of the hand's colour from all of these, else nothing can be told
_CLEAR = 0.6  # how much nearer a pixel must be to one of both than to the other


def correct_hands(picture_HWC: np.ndarray, own_HW: np.ndarray) -> np.ndarray:
    """The own map [H,W] (`warp`) of a picture [H,W,3] uint8, with hands where skin is and body where clothes are.

    Only pixels of hands, and of trunk and thighs around them, change; none where hands and clothes have like colours.
    """
    colour_HWC = _colours(picture_HWC)
    face_NC = colour_HWC[np.isin(own_HW, HEAD)]
    corrected_HW = own_HW.copy()
    if len(face_NC) < _LEAST:
        return corrected_HW
    reach = _REACH * len(face_NC) ** 0.5
    for hand in HANDS:
        _correct_hand(corrected_HW, colour_HWC, hand, np.median(face_NC, 0), reach)
    return corrected_HW


def _colours(picture_HWC: np.ndarray) -> np.ndarray:
    """Ratios of red and blue to green, and a little brightness, which light and shadow change. [H,W,3]"""
    smooth_HWC = ndimage.gaussian_filter(picture_HWC.astype(np.float32), (1, 1, 0))
    red_HW, green_HW, blue_HW = np.moveaxis(np.log(smooth_HWC + 16), -1, 0)
    return np.stack([red_HW - green_HW, blue_HW - green_HW, (red_HW + green_HW + blue_HW) / 12], -1)


def _correct_hand(own_HW: np.ndarray, colour_HWC: np.ndarray, hand: int, face_C: np.ndarray, reach: float) -> None:
    """Changes the map in place."""
    hand_HW, body_HW = own_HW == hand, np.isin(own_HW, BEHIND)
    if hand_HW.sum() < _SMALLEST:
        return
    away_HW = ndimage.distance_transform_edt(~hand_HW)
    around_HW = body_HW & (away_HW > reach) & (away_HW <= _AROUND * reach)
    if around_HW.sum() < _LEAST:
        return
    skin_C = _skin(colour_HWC[hand_HW], face_C)
    clothes_KC, _ = kmeans2(colour_HWC[around_HW], _COLOURS, minit="++", seed=0)
    if np.linalg.norm(clothes_KC - skin_C, axis=1).min() < _APART:
        return
    to_skin_HW = np.linalg.norm(colour_HWC - skin_C, axis=-1)
    to_clothes_HW = np.linalg.norm(colour_HWC[..., None, :] - clothes_KC, axis=-1).min(-1)
    skin_HW = body_HW & (away_HW <= reach) & (to_skin_HW < _CLEAR * to_clothes_HW)
    skin_HW = ndimage.binary_propagation(hand_HW, mask=skin_HW | hand_HW) & body_HW
    to_body_HW, (row_HW, column_HW) = ndimage.distance_transform_edt(~body_HW, return_indices=True)
    clothes_HW = hand_HW & (to_body_HW <= reach) & (to_clothes_HW < _CLEAR * to_skin_HW)
    own_HW[clothes_HW] = own_HW[row_HW, column_HW][clothes_HW]
    own_HW[skin_HW] = hand


def _skin(hand_NC: np.ndarray, face_C: np.ndarray) -> np.ndarray:
    """The colour of a hand some of whose pixels are beside it: of those that are most like the face. [3]"""
    unlike_N = np.linalg.norm((hand_NC - face_C)[:, :2], axis=1)
    return np.median(hand_NC[unlike_N <= np.quantile(unlike_N, _LIKE_FACE)], 0)
