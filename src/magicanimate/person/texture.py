"""Fills holes of a picture by continuing its texture.

Patch-based completion from coarse to fine: each patch that touches the hole is matched with the most similar patch of
the known picture (PatchMatch, Barnes et al. 2009), and each pixel of the hole becomes the mean of what the matches of
all patches over it propose (Wexler et al. 2007). Deterministic.

Shape legend: H W pixels, C color channels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from magicanimate.compiled import compiled

_RADIUS = 3  # pixels: patches have 7 x 7
_COARSEST = 16  # pixels of the longer side, about
_ROUNDS = (12, 10, 8, 5, 2, 1)  # match and vote, from the coarsest level to the finest
_FADING = 1.3
"""Pixels of the hole count less by this factor for each pixel of distance from the hole's border."""
_OTHER_ROW = 8000.0
"""Squared color difference that equals a match as many rows away as the picture is high: scenes are layered, what lies
beside a hole continues into it more often than what lies above or below."""
_OTHER_COLUMN = 2000.0  # the same for columns
_CONTEXT = 0.6  # times the hole's box: how far around it patches are looked for
_FINE_SIDE = 384  # pixels: larger pictures are matched at this size, and the matches enlarged


def complete_texture(picture_HWC: np.ndarray, hole_HW: np.ndarray, usable_HW: np.ndarray | None = None) -> np.ndarray:
    """Fill a hole from the rest of a picture.

    Args:
        picture_HWC: uint8.
        hole_HW: bool, pixels to fill.
        usable_HW: bool, pixels whose texture may be continued; by default all outside the hole.

    Returns:
        [H, W, 3] uint8; a copy where nothing is usable.
    """
    usable_HW = ~hole_HW if usable_HW is None else usable_HW & ~hole_HW
    if not hole_HW.any() or not usable_HW.any():
        return picture_HWC.copy()
    window = _window(hole_HW)
    cut, hole, usable = picture_HWC[window], hole_HW[window], usable_HW[window]
    if not usable.any():
        window = (slice(None), slice(None))
        cut, hole, usable = picture_HWC, hole_HW, usable_HW
    out = picture_HWC.copy()
    out[window] = np.where(hole[..., None], _complete(cut, hole, usable), cut)
    return out


def smooth_fill(image_HWC: np.ndarray, known_HW: np.ndarray) -> np.ndarray:
    """Continue known pixels smoothly into the others by a pyramid of means (push-pull). [H, W, C] float32."""
    image, weight = image_HWC * known_HW[..., None], known_HW.astype(np.float32)
    return _push_pull(image.astype(np.float32), weight)


def _push_pull(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Divide weighted values by their weights, and spread them everywhere."""
    height, width = weight.shape
    own = image / np.maximum(weight, 1e-6)[..., None]
    if min(height, width) <= 1 or (weight > 0.999).all():
        total = image.sum((0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where((weight > 0)[..., None], own, total)
    padded = ((0, height % 2), (0, width % 2))
    small_weight = np.pad(weight, padded).reshape((height + 1) // 2, 2, (width + 1) // 2, 2).mean((1, 3))
    small = np.pad(image, (*padded, (0, 0))).reshape((height + 1) // 2, 2, (width + 1) // 2, 2, -1).mean((1, 3))
    full = np.minimum(small_weight * 4, 1) / np.maximum(small_weight, 1e-6)
    coarse = _push_pull(small * full[..., None], np.minimum(small_weight * 4, 1))
    grown = ndimage.uniform_filter(coarse.repeat(2, 0).repeat(2, 1)[:height, :width], (3, 3, 1), mode="nearest")
    share = np.minimum(weight, 1)[..., None]
    return own * share + grown * (1 - share)


def _window(hole_HW: np.ndarray) -> tuple[slice, slice]:
    """Return the hole's box with its surroundings."""
    box = ndimage.find_objects(hole_HW.astype(np.uint8))[0]
    slices = []
    for part, length in zip(box, hole_HW.shape, strict=True):
        margin = 16 + int(_CONTEXT * (part.stop - part.start))
        slices.append(slice(max(0, part.start - margin), min(length, part.stop + margin)))
    return slices[0], slices[1]


def _levels(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return sizes from the coarsest to the finest."""
    sizes = [size]
    while max(sizes[-1]) > 1.5 * _COARSEST and min(sizes[-1]) > 3 * _RADIUS:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes[::-1]


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX))


def _complete(picture_HWC: np.ndarray, hole_HW: np.ndarray, usable_HW: np.ndarray) -> np.ndarray:
    """Return [H, W, 3] uint8, with the hole filled."""
    match, previous = np.zeros((0, 0, 2), np.int32), np.zeros((0, 0, 3), np.float32)
    guess = smooth_fill(picture_HWC.astype(np.float32), usable_HW & ~hole_HW)
    masked = np.where((hole_HW | ~usable_HW)[..., None], guess, picture_HWC).astype(np.uint8)
    levels = _levels(hole_HW.shape)
    for level, size in enumerate(levels):
        image = _resized(masked, size).astype(np.float32)
        hole = _resized(hole_HW.astype(np.uint8) * 255, size) > 0
        source = _resized(usable_HW.astype(np.uint8) * 255, size) == 255
        centers = ndimage.binary_erosion(source & ~hole, np.ones((2 * _RADIUS + 1,) * 2), border_value=0)
        if not centers.any():
            continue
        if len(previous):
            enlarged = _bilinear(previous, size)
            image = np.where(hole[..., None], enlarged, image)
        targets = ndimage.binary_dilation(hole, np.ones((2 * _RADIUS + 1,) * 2))
        places = np.argwhere(centers).astype(np.int32)
        match = _enlarged_match(match, size, centers, places)
        rounds = _ROUNDS[min(level, len(_ROUNDS) - 1)]
        image = np.ascontiguousarray(image, np.float32)
        depth = ndimage.distance_transform_edt(hole)
        trust = np.maximum(_FADING**-depth, 0.02).astype(np.float32)
        for turn in range(rounds):
            _search(
                image, trust, targets, centers, places, match, level * 100 + turn, size[0] * size[1] > _FINE_SIDE**2
            )
            _vote(image, trust, hole, targets, match)
        previous = image
    if not len(previous) or previous.shape[:2] != hole_HW.shape:
        return masked
    return np.clip(np.rint(previous), 0, 255).astype(np.uint8)


def _bilinear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    planes = [
        np.asarray(Image.fromarray(image[..., c]).resize(size[::-1], Image.Resampling.BILINEAR)) for c in range(3)
    ]
    return np.stack(planes, -1)


def _enlarged_match(match: np.ndarray, size: tuple[int, int], centers: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Carry matches of the coarser level to this one; random where they fall outside the usable centers."""
    height, width = size
    rng = np.random.default_rng(height * 10007 + width)
    out = places[rng.integers(0, len(places), size)]
    if len(match):
        rows, columns = np.mgrid[0:height, 0:width]
        half = match[np.minimum(rows // 2, len(match) - 1), np.minimum(columns // 2, match.shape[1] - 1)] * 2
        doubled = half + np.stack([rows % 2, columns % 2], -1)
        doubled = np.clip(doubled, 0, (height - 1, width - 1))
        fits = centers[doubled[..., 0], doubled[..., 1]]
        out = np.where(fits[..., None], doubled, out)
    return np.ascontiguousarray(out.astype(np.int32))


@compiled
def _distance(image, trust, row, column, other_row, other_column, best):
    """Sum of squared differences of two patches; may stop above `best`."""
    height, width = image.shape[:2]
    rows, columns = np.float32((other_row - row) / height), np.float32((other_column - column) / width)
    away = _OTHER_ROW * rows * rows + _OTHER_COLUMN * columns * columns
    total = np.float32(3 * (2 * _RADIUS + 1) ** 2 * trust[row, column] * away)
    for dy in range(-_RADIUS, _RADIUS + 1):
        y = min(max(row + dy, 0), height - 1)
        for dx in range(-_RADIUS, _RADIUS + 1):
            x = min(max(column + dx, 0), width - 1)
            for c in range(3):
                d = image[y, x, c] - image[other_row + dy, other_column + dx, c]
                total += trust[y, x] * d * d
        if total > best:
            return total
    return total


@compiled
def _search(image, trust, targets, centers, places, match, seed, only_propagate):
    """Improve the matches: neighbors' matches shifted, then random ones nearer and nearer to the present one."""
    np.random.seed(seed)
    height, width = targets.shape
    for sweep in range(2):
        step = 1 if sweep == 0 else -1
        for i in range(height):
            row = i if step == 1 else height - 1 - i
            for j in range(width):
                column = j if step == 1 else width - 1 - j
                if not targets[row, column]:
                    continue
                my, mx = match[row, column, 0], match[row, column, 1]
                best = _distance(image, trust, row, column, my, mx, np.float32(np.inf))
                for axis in range(2):
                    ny, nx = row - step * (axis == 0), column - step * (axis == 1)
                    if 0 <= ny < height and 0 <= nx < width and targets[ny, nx]:
                        y = match[ny, nx, 0] + step * (axis == 0)
                        x = match[ny, nx, 1] + step * (axis == 1)
                        if 0 <= y < height and 0 <= x < width and centers[y, x]:
                            d = _distance(image, trust, row, column, y, x, best)
                            if d < best:
                                best, my, mx = d, y, x
                reach = 0 if only_propagate else max(height, width)
                while reach >= 1:
                    y = min(max(my + np.random.randint(-reach, reach + 1), 0), height - 1)
                    x = min(max(mx + np.random.randint(-reach, reach + 1), 0), width - 1)
                    if centers[y, x]:
                        d = _distance(image, trust, row, column, y, x, best)
                        if d < best:
                            best, my, mx = d, y, x
                    reach //= 2
                match[row, column, 0], match[row, column, 1] = my, mx


@compiled
def _vote(image, trust, hole, targets, match):
    """Set each pixel of the hole to the mean of what the patches over it propose, similar ones counting more."""
    height, width = hole.shape
    total = np.zeros((height, width, 3), np.float32)
    weights = np.zeros((height, width), np.float32)
    for row in range(height):
        for column in range(width):
            if not targets[row, column]:
                continue
            my, mx = match[row, column, 0], match[row, column, 1]
            known = np.float32(0)
            for dy in range(-_RADIUS, _RADIUS + 1):
                for dx in range(-_RADIUS, _RADIUS + 1):
                    known += trust[min(max(row + dy, 0), height - 1), min(max(column + dx, 0), width - 1)]
            d = _distance(image, trust, row, column, my, mx, np.float32(np.inf)) / (3 * known)
            weight = trust[row, column] * (np.exp(-d / 200) + 1e-4)
            for dy in range(-_RADIUS, _RADIUS + 1):
                y = row + dy
                if y < 0 or y >= height:
                    continue
                for dx in range(-_RADIUS, _RADIUS + 1):
                    x = column + dx
                    if x < 0 or x >= width or not hole[y, x]:
                        continue
                    for c in range(3):
                        total[y, x, c] += weight * image[my + dy, mx + dx, c]
                    weights[y, x] += weight
    for row in range(height):
        for column in range(width):
            if hole[row, column] and weights[row, column] > 0:
                for c in range(3):
                    image[row, column, c] = total[row, column, c] / weights[row, column]
