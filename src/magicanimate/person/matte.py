"""Cuts a person out of a picture: soft alpha and the colors of the foreground alone.

A segmentation network says roughly where the person is. Near its border a guided filter (He et al. 2010) follows the
picture's own edges, and the foreground's colors are estimated without the background that shines through soft pixels
(blurred ratios in two passes, Germer et al. 2020), so that no rim of the old background moves along.

Shape legend: H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from magicanimate.person.limbs import add_limbs
from magicanimate.person.segmentation import segment_people
from magicanimate.person.segments import color_shares

_MARGIN = 0.12  # of the people's box, around it at the second look
_BAND = 0.012
"""Half width of the uncertain band inside the mask, share of the longer side; outside it is twice as wide."""
_FAINT = 8  # alpha of pixels that hold pieces of a matte together
_OWN_PIECE = 0.04  # of a body that a piece of the matte must hold to be that person's
_EPSILON = 2e-5  # regularization of the guided filter, colors in 0..1
_STRETCH = (0.08, 0.92)  # alpha values of the filter that become 0 and 1
_UNSURE = 0.7  # alpha below which a pixel that looks like the background beside it is background
_RIM = 0.004  # of the longer side: soft rims of what is surely the person's stay
_BACKGROUND = (0.08, 0.3)  # share of a color that is the person's, from which on some and all of alpha stays
_WIDE_BLUR = 0.06  # of the longer side: radius of the first pass of the foreground estimate
_NARROW_BLUR = 3  # pixels, of the second pass


@dataclass(frozen=True)
class Matte:
    """A person cut out of a picture."""

    alpha_HW: np.ndarray
    """[H, W] uint8, 255: only the person."""
    foreground_HWC: np.ndarray
    """[H, W, 3] uint8, the person's own color, also where the background shines through."""

    def only(self, body_HW: np.ndarray, others_HW: np.ndarray | None = None) -> Matte:
        """Return the matte of one of several people.

        Args:
            body_HW: bool, the body of that person.
            others_HW: bool, the bodies of other people in the picture.
        """
        pieces_HW, count = ndimage.label(self.alpha_HW > _FAINT)
        on_body = np.bincount(pieces_HW[body_HW], minlength=count + 1)
        kept = on_body > _OWN_PIECE * max(1, int(body_HW.sum()))
        kept[0] = False
        mine_HW = kept[pieces_HW] if kept.any() else pieces_HW > 0
        if others_HW is not None and others_HW.any():
            away, other = (ndimage.distance_transform_edt(~where) for where in (body_HW, others_HW & ~body_HW))
            mine_HW &= away <= other
        return Matte(np.where(mine_HW, self.alpha_HW, 0).astype(np.uint8), self.foreground_HWC)

    @property
    def mask_HW(self) -> np.ndarray:
        """[H, W] bool: pixels that are mostly the person's."""
        return self.alpha_HW > 127


def find_matte(picture_HWC: np.ndarray, parts_HW: np.ndarray | None = None) -> Matte:
    """Cut the people out of a picture; looked at twice, the second time near the people only.

    Args:
        picture_HWC: uint8.
        parts_HW: uint8, bodies that were fitted to them, for limbs that would be missed.

    Raises:
        InputError: the package ai-edge-litert is missing.
    """
    soft_HW = segment_people(picture_HWC)
    rows, columns = np.nonzero(soft_HW > 0.5)
    if rows.size:
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        aside, above = round(_MARGIN * (right - left)) + 4, round(_MARGIN * (bottom - top)) + 4
        soft_HW = segment_people(picture_HWC, (left - aside, top - above, right + aside, bottom + above))
    if parts_HW is not None:
        soft_HW = add_limbs(picture_HWC, soft_HW, parts_HW)
    return refine_matte(picture_HWC, soft_HW)


def refine_matte(picture_HWC: np.ndarray, soft_HW: np.ndarray) -> Matte:
    """Sharpen a soft segmentation mask into a matte.

    Args:
        picture_HWC: uint8.
        soft_HW: float, probability 0..1 that a pixel is the person's.
    """
    image = picture_HWC.astype(np.float32) / 255
    long_side = max(image.shape[:2])
    band = max(3, round(_BAND * long_side))
    mask_HW = soft_HW > 0.5
    inner_HW = ndimage.distance_transform_edt(mask_HW) > band
    outer_HW = ndimage.distance_transform_edt(~mask_HW) > 2 * band
    known_HW = np.where(inner_HW, 1, np.where(outer_HW, 0, soft_HW)).astype(np.float32)
    low, high = _STRETCH
    filtered_HW = (_guided_filter(image, known_HW, band) - low) / (high - low)
    alpha_HW = np.where(inner_HW, 1, np.where(outer_HW, 0, np.clip(filtered_HW, 0, 1))).astype(np.float32)
    alpha_HW *= _unlike_background(image, alpha_HW, band, _RIM * long_side)
    return _cut_out(image, alpha_HW)


def corrected_matte(picture_HWC: np.ndarray, found: Matte, alpha_HW: np.ndarray) -> Matte:
    """Return a matte with another alpha [H, W] uint8; where that is as it was, the colors are too."""
    own = _cut_out(picture_HWC.astype(np.float32) / 255, alpha_HW.astype(np.float32) / 255)
    changed_HW1 = (alpha_HW != found.alpha_HW)[..., None]
    return Matte(alpha_HW, np.where(changed_HW1, own.foreground_HWC, found.foreground_HWC))


def _cut_out(image_HWC: np.ndarray, alpha_HW: np.ndarray) -> Matte:
    """Return the matte of an alpha 0..1."""
    foreground = _foreground(image_HWC, alpha_HW, max(8, round(_WIDE_BLUR * max(alpha_HW.shape))))
    return Matte(np.rint(alpha_HW * 255).astype(np.uint8), np.rint(foreground * 255).astype(np.uint8))


def _blur(x: np.ndarray, radius: int) -> np.ndarray:
    """Average over squares of 2 radius + 1 pixels, over the first two axes."""
    size = 2 * radius + 1
    return ndimage.uniform_filter(x, (size, size) + (1,) * (x.ndim - 2), mode="nearest")


def _guided_filter(image_HWC: np.ndarray, input_HW: np.ndarray, radius: int) -> np.ndarray:
    """Apply a guided filter with a color guide. [H, W] float32."""
    mean_HWC, mean_HW = _blur(image_HWC, radius), _blur(input_HW, radius)
    covariance_HWC = _blur(image_HWC * input_HW[..., None], radius) - mean_HWC * mean_HW[..., None]
    products = np.stack([image_HWC[..., i] * image_HWC[..., j] for i in range(3) for j in range(i, 3)], -1)
    upper = _blur(products, radius) - np.stack(
        [mean_HWC[..., i] * mean_HWC[..., j] for i in range(3) for j in range(i, 3)], -1
    )
    spread = upper[..., [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(*input_HW.shape, 3, 3) + _EPSILON * np.eye(
        3, dtype=np.float32
    )
    slope_HWC = np.linalg.solve(spread, covariance_HWC[..., None])[..., 0]
    offset_HW = mean_HW - (slope_HWC * mean_HWC).sum(-1)
    return (_blur(slope_HWC, radius) * image_HWC).sum(-1) + _blur(offset_HW, radius)


def _unlike_background(image: np.ndarray, alpha_HW: np.ndarray, band: int, rim: float) -> np.ndarray:
    """Factors [H, W] float32 for alpha: 0 at unsure pixels that have the color of the background and not the person's.
    Colors are compared near the border."""
    near_HW = ndimage.binary_dilation((alpha_HW > 0) & (alpha_HW < 1), iterations=2 * band)
    share_HW = color_shares(image, near_HW & (alpha_HW == 1), near_HW & (alpha_HW == 0))
    unsure_HW = (alpha_HW < _UNSURE) & (ndimage.distance_transform_edt(alpha_HW < 1) > rim)
    factor_HW = np.where(unsure_HW, np.interp(share_HW, _BACKGROUND, (0, 1)), 1).astype(np.float32)
    return ndimage.gaussian_filter(factor_HW, 0.7)


def _foreground(image_HWC: np.ndarray, alpha_HW: np.ndarray, radius: int) -> np.ndarray:
    """Return colors of the foreground, in 0..1."""
    alpha = alpha_HW[..., None]
    foreground, background = image_HWC, image_HWC
    for r in (radius, _NARROW_BLUR):
        share = _blur(alpha, r)
        near = _blur(foreground * alpha, r) / np.maximum(share, 1e-4)
        background = _blur(background * (1 - alpha), r) / np.maximum(1 - share, 1e-4)
        foreground = np.clip(near + alpha * (image_HWC - alpha * near - (1 - alpha) * background), 0, 1)
    return foreground
