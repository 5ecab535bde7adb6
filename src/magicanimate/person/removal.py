"""Takes a person out of a video: what they hide is filled in from frames that show the same place.

A camera at rest has one background, the median over time of what nobody hides. Of a moving one, key frames are filled
from each other, aligned by the camera's motion, and every frame from the two key frames around it. What no frame shows
is continued by texture, once, and carried along.

Shape legend: F frames, H W pixels, h w pixels of masks (half as many along each axis), K key frames, N pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image
from scipy import ndimage

from magicanimate.body.draw import draw_motion
from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import POINT_INDEX
from magicanimate.compiled import compiled
from magicanimate.parts.frame_store import PackedFrames
from magicanimate.person.camera import CameraFollower, is_still
from magicanimate.person.segmentation import segment_people
from magicanimate.person.shadow import feet_on_ground
from magicanimate.person.shots import difference, find_cuts, thumbnail
from magicanimate.person.texture import complete_texture, smooth_fill
from magicanimate.progress import Progress

_KEYS = 48  # at most so many frames are kept
_DENSE = 4  # frames between key frames at least
_SURE = 0.35  # of a pixel that people cover, from which it is theirs
_AROUND = 0.25  # of the body's box, around it, that the segmentation looks at
_MARGIN = 0.018  # of the figure's height: how far around a person the video is replaced too
_SOFT = 2  # pixels of a mask: half width of the border between video and filling
_FINGERS, _TIP = 0.6, 0.035
"""Place of fingertips: share of the forearm beyond the wrist; half side of the square there, share of the height."""
_FEW = 0.05  # of what a person hides, that is filled smoothly instead of by texture if another key frame shows the rest
_SAMPLES = 5  # values of other key frames whose median fills a pixel
_NEAREST = 16  # key frames that are asked for them
_FEWEST = 50  # pixels of a border by which exposure can be compared
_MOST_GAIN = 1.2  # times: difference of exposure that is evened out


@dataclass(frozen=True)
class _Plates:
    """The background of one shot: of a camera at rest one picture, else one for each key frame."""

    frames: range
    keys: list[int]
    plates: list[np.ndarray]
    """[H, W, 3] uint8."""


class PersonRemoval:
    """Frames of a video without the person whose body was fitted to them."""

    def __init__(
        self, frame: Callable[[int], np.ndarray], body: BodyMotion, progress: Progress | None = None
    ) -> None:  # fmt: skip
        """
        Args:
            frame: number of a frame -> [H, W, 3] uint8; asked for in order.
            body: the person's, in pixels of these frames.
            progress: told ("removing", done, total).
        """
        self._frame, self.size = frame, body.size
        count, stride = len(body), max(_DENSE, -(-len(body) // _KEYS))
        kept: dict[int, np.ndarray] = {}
        follow = CameraFollower(body.size)
        self._masks, maps, differences, before = PackedFrames(), [], [], None
        here_F = _nearest_present(body)
        for index, outline_hw in enumerate(_outlines(body.only(here_F))):
            frame_HWC = frame(index)
            points_S2 = body.project(body.points(slice(here_F[index], here_F[index] + 1)))[0]
            mask_hw = person_mask(frame_HWC, points_S2, outline_hw, follows=bool(body.present_F[index]))
            self._masks.append(mask_hw.astype(np.uint8))
            maps.append(follow(np.ascontiguousarray(frame_HWC[::2, ::2]), mask_hw))
            small_SSC = thumbnail(np.ascontiguousarray(frame_HWC[::4, ::4]))
            if before is not None:
                differences.append(difference(small_SSC, before))
            before = small_SSC
            if index % stride == 0 or index == count - 1:
                kept[index] = frame_HWC
            if progress:
                progress("removing", index + 1, count)
        self._maps = np.stack(maps)
        ends = [0, *find_cuts(differences), count]
        self.still = True
        self._shots = [self._shot(range(a, b), kept) for a, b in pairwise(ends) if b > a]

    def __call__(self, index: int) -> np.ndarray:
        """Return [H, W, 3] uint8."""
        share_HW, frame_HWC = self._share(index), self._frame(index).copy()
        if not share_HW.any():
            return frame_HWC
        shot = next(shot for shot in self._shots if index in shot.frames)
        filled_HWC = shot.plates[0] if len(shot.plates) == 1 else self._carried(shot, index, share_HW)
        gain_3 = _gain(frame_HWC, filled_HWC, share_HW)
        _lay_over(frame_HWC, filled_HWC, share_HW, gain_3)
        return frame_HWC

    def _carried(self, shot: _Plates, index: int, share_HW: np.ndarray) -> np.ndarray:
        """Return the background of the key frames around a frame, where that one sees it. [H, W, 3] uint8."""
        (one, two), part = _between(shot.keys, index)
        to_one, to_two = (self._maps[shot.keys[k]] @ np.linalg.inv(self._maps[index]) for k in (one, two))
        filled_HWC = np.zeros((*self.size, 3), np.uint8)
        _blend(share_HW, shot.plates[one], shot.plates[two], to_one, to_two, part, filled_HWC)
        return filled_HWC

    def _hidden(self, index: int) -> np.ndarray:
        """Return the pixels that the person hides in a frame or in the one before or after it. [h, w] bool."""
        around = self._masks[max(0, index - 1) : index + 2]
        return around.max(0) > 0

    def _share(self, index: int) -> np.ndarray:
        """Return the share of each pixel that is replaced. [H, W] uint8."""
        soft_hw = ndimage.uniform_filter(self._hidden(index).astype(np.float32), 2 * _SOFT + 1, mode="nearest")
        soft_hw = np.minimum(soft_hw * 2, 1)  # outside the mask it fades, inside all is replaced
        small = Image.fromarray(np.rint(255 * soft_hw).astype(np.uint8))
        return np.asarray(small.resize(self.size[::-1], Image.Resampling.BILINEAR))

    def _shot(self, frames: range, kept: dict[int, np.ndarray]) -> _Plates:
        keys = [index for index in kept if index in frames]
        if not keys:  # shorter than the distance of key frames
            kept = kept | {frames[0]: self._frame(frames[0])}
            keys = [frames[0]]
        pictures = [kept[index] for index in keys]
        hidden = [np.asarray(Image.fromarray(self._hidden(index)).resize(self.size[::-1])) for index in keys]
        if is_still(self._maps[frames.start : frames.stop], self.size):
            return _Plates(frames, keys, [_still_plate(pictures, hidden)])
        self.still = False
        return _Plates(frames, keys, _moving_plates(pictures, hidden, self._maps[keys]))


def _outlines(body: BodyMotion):
    """The body's parts at the size of masks, frame by frame."""
    small = (-(-body.size[0] // 2), -(-body.size[1] // 2))
    return (drawn["parts"] > 0 for drawn in draw_motion(body, small, ("parts",)))


def _nearest_present(body: BodyMotion) -> np.ndarray:
    """Return for each frame the nearest one in which the body is known, [F] int."""
    known = np.flatnonzero(body.present_F)
    after_F = np.searchsorted(known, np.arange(len(body))).clip(0, len(known) - 1)
    before_F = np.maximum(after_F - 1, 0)
    away_before, away_after = (np.abs(known[each_F] - np.arange(len(body))) for each_F in (before_F, after_F))
    return known[np.where(away_before < away_after, before_F, after_F)]


def person_mask(frame_HWC: np.ndarray, points_S2: np.ndarray, outline_hw: np.ndarray, follows: bool) -> np.ndarray:
    """Return the pixels of a person in a frame, with a margin and the ground around the feet. [h, w] bool.

    Args:
        frame_HWC: uint8.
        points_S2: the rig's points of their body in pixels.
        outline_hw: bool, where that body is.
        follows: False: the body is that of another frame, and says only whereabouts they are.
    """
    (left, top), (right, bottom) = points_S2.min(0), points_S2.max(0)
    aside, above = _AROUND * (right - left) + 8, _AROUND * (bottom - top) + 8
    box = (int(left - aside), int(top - above), int(right + aside), int(bottom + above))
    soft_HW = segment_people(frame_HWC, box)
    pieces_hw, count = ndimage.label(soft_HW[::2, ::2] > _SURE)
    mine = np.zeros(count + 1, bool)
    mine[np.unique(pieces_hw[outline_hw])] = True
    mine[0] = False
    height = float(bottom - top) / 2
    reach = max(1, round(_MARGIN * height))
    seen_hw = mine[pieces_hw]
    if not follows:
        return ndimage.maximum_filter(seen_hw, 2 * reach + 1)
    shown_hw = seen_hw | outline_hw
    for side in "LR":
        _mark_fingers(shown_hw, points_S2 / 2, side, height)
    mask_hw = ndimage.maximum_filter(shown_hw, 2 * reach + 1)
    return mask_hw | feet_on_ground(points_S2 / 2, height, outline_hw.shape)


def _mark_fingers(mask_hw: np.ndarray, points_S2: np.ndarray, side: str, height: float) -> None:
    """Add the square around the tips of stretched fingers, which neither body nor segmentation shows."""
    elbow_2, wrist_2 = (points_S2[POINT_INDEX[f"{name}.{side}"]] for name in ("lower_arm", "hand"))
    tip_2 = wrist_2 + _FINGERS * (wrist_2 - elbow_2)
    (left, top), (right, bottom) = (np.maximum(tip_2 + way * _TIP * height, 0).astype(int) for way in (-1, 1))
    mask_hw[top : bottom + 1, left : right + 1] = True


def _still_plate(pictures: list[np.ndarray], hidden: list[np.ndarray]) -> np.ndarray:
    """Return the median over time of what nobody hides. [H, W, 3] uint8."""
    plate_HWC = pictures[0].copy()
    ever_HW = ndimage.maximum_filter(np.any(hidden, 0), 4 * _SOFT + 1)
    rows, columns = np.nonzero(ever_HW)
    values_KN3 = np.stack([picture[rows, columns] for picture in pictures])
    free_KN = np.stack([~mask[rows, columns] for mask in hidden])
    plate_HWC[rows, columns], known_N = _median(values_KN3, free_KN)
    hole_HW = np.zeros_like(ever_HW)
    hole_HW[rows, columns] = ~known_N
    return complete_texture(plate_HWC, hole_HW)


def _median(values_KN3: np.ndarray, free_KN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians [N, 3] of the values that count, and where there are any [N]."""
    ordered = np.sort(np.where(free_KN[..., None], values_KN3, 255), 0)
    count_N = free_KN.sum(0)
    middle_1N1 = np.maximum(count_N - 1, 0)[None, :, None] // 2
    return np.take_along_axis(ordered, middle_1N1, 0)[0], count_N > 0


def _moving_plates(pictures: list[np.ndarray], hidden: list[np.ndarray], maps_K33: np.ndarray) -> list[np.ndarray]:
    """Remove the person from each key frame, [H, W, 3] uint8."""
    plates: list[np.ndarray] = []
    for key, (picture_HWC, hidden_HW) in enumerate(zip(pictures, hidden, strict=True)):
        rows, columns = np.nonzero(hidden_HW)
        plate_HWC, back = picture_HWC.copy(), np.linalg.inv(maps_K33[key])
        others = sorted((k for k in range(len(pictures)) if k != key), key=lambda k: abs(k - key))[:_NEAREST]
        values_KN3 = np.zeros((_SAMPLES, len(rows), 3), np.uint8)
        count_N = np.zeros(len(rows), np.int32)
        for other in others:
            _collect(rows, columns, maps_K33[other] @ back, pictures[other], hidden[other], values_KN3, count_N)
        filled_N3, known_N = _median(values_KN3, np.arange(_SAMPLES)[:, None] < count_N)
        if plates:  # what no frame shows goes on as it was continued in the key frame before
            values_1N3, seen_N = np.zeros((1, len(rows), 3), np.uint8), np.zeros(len(rows), np.int32)
            nobody_HW = np.zeros_like(hidden_HW)
            _collect(rows, columns, maps_K33[key - 1] @ back, plates[-1], nobody_HW, values_1N3, seen_N)
            filled_N3 = np.where(known_N[:, None], filled_N3, values_1N3[0])
            known_N = known_N | (seen_N > 0)
        plate_HWC[rows, columns] = filled_N3
        hole_HW = np.zeros_like(hidden_HW)
        hole_HW[rows, columns] = ~known_N
        if plates and hole_HW.sum() < _FEW * hidden_HW.sum():
            plates.append(np.where(hole_HW[..., None], smooth_fill(plate_HWC, ~hole_HW), plate_HWC).astype(np.uint8))
        else:
            plates.append(complete_texture(plate_HWC, hole_HW))
    return plates


def _between(keys: list[int], index: int) -> tuple[tuple[int, int], float]:
    """Return the places of the key frames around a frame, and how far it is on the way from one to the other, 0..1."""
    after = int(np.searchsorted(keys, index))
    if after == 0 or after == len(keys):
        nearest = min(after, len(keys) - 1)
        return (nearest, nearest), 0.0
    return (after - 1, after), (index - keys[after - 1]) / (keys[after] - keys[after - 1])


def _gain(frame_HWC: np.ndarray, filled_HWC: np.ndarray, share_HW: np.ndarray) -> np.ndarray:
    """Return how much brighter [3] the video is than its filling, along the border between them."""
    border_HW = (share_HW > 0) & (share_HW < 255)
    video, filling = frame_HWC[border_HW], filled_HWC[border_HW]
    if len(video) < _FEWEST:
        return np.ones(3)
    return np.clip(video.mean(0) / np.maximum(filling.mean(0), 1), 1 / _MOST_GAIN, _MOST_GAIN)


@compiled
def _sample(image_HWC, x, y, out_3):
    """Bilinear color at a place; False where it lies outside."""
    height, width = image_HWC.shape[:2]
    if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
        return False
    x0, y0 = min(int(x), width - 2), min(int(y), height - 2)
    fx, fy = x - x0, y - y0
    for c in range(3):
        above = (1 - fx) * image_HWC[y0, x0, c] + fx * image_HWC[y0, x0 + 1, c]
        below = (1 - fx) * image_HWC[y0 + 1, x0, c] + fx * image_HWC[y0 + 1, x0 + 1, c]
        out_3[c] = (1 - fy) * above + fy * below
    return True


@compiled
def _collect(rows, columns, map_33, image_HWC, hidden_HW, values_KN3, count_N):
    """Add the colors that another frame shows at some pixels, where it does and fewer than K are there."""
    color = np.zeros(3, np.float64)
    for n in range(len(rows)):
        if count_N[n] >= values_KN3.shape[0]:
            continue
        x = map_33[0, 0] * columns[n] + map_33[0, 1] * rows[n] + map_33[0, 2]
        y = map_33[1, 0] * columns[n] + map_33[1, 1] * rows[n] + map_33[1, 2]
        if not _sample(image_HWC, x, y, color) or hidden_HW[int(y + 0.5), int(x + 0.5)]:
            continue
        for c in range(3):
            values_KN3[count_N[n], n, c] = np.uint8(color[c] + 0.5)
        count_N[n] += 1


@compiled
def _blend(share_HW, one_HWC, two_HWC, to_one, to_two, part, out_HWC):
    """Fill in pixels that are to be replaced, from two pictures of the background."""
    height, width = share_HW.shape
    first, second = np.zeros(3, np.float64), np.zeros(3, np.float64)
    for row in range(height):
        for column in range(width):
            if share_HW[row, column] == 0:
                continue
            x = to_one[0, 0] * column + to_one[0, 1] * row + to_one[0, 2]
            y = to_one[1, 0] * column + to_one[1, 1] * row + to_one[1, 2]
            in_first = _sample(one_HWC, x, y, first)
            x = to_two[0, 0] * column + to_two[0, 1] * row + to_two[0, 2]
            y = to_two[1, 0] * column + to_two[1, 1] * row + to_two[1, 2]
            in_second = _sample(two_HWC, x, y, second)
            if not in_first and not in_second:  # beyond what is kept: its border goes on
                x, y = min(max(x, 0.0), two_HWC.shape[1] - 1.0), min(max(y, 0.0), two_HWC.shape[0] - 1.0)
                _sample(two_HWC, x, y, second)
            weight = part if in_first and in_second else 0.0 if in_first else 1.0
            for c in range(3):
                out_HWC[row, column, c] = np.uint8((1 - weight) * first[c] + weight * second[c] + 0.5)


@compiled
def _lay_over(frame_HWC, filled_HWC, share_HW, gain_3):
    """Put the filling over the frame, in place."""
    height, width = share_HW.shape
    for row in range(height):
        for column in range(width):
            share = share_HW[row, column] / 255
            if share == 0:
                continue
            for c in range(3):
                value = min(255.0, filled_HWC[row, column, c] * gain_3[c])
                frame_HWC[row, column, c] = np.uint8(frame_HWC[row, column, c] * (1 - share) + value * share + 0.5)
