"""Several people in part maps: everybody stays who they are."""

from __future__ import annotations

import numpy as np
import pytest

from magicanimate.parts.frame_store import PackedFrames
from magicanimate.person.track_people import STRANGER, divide
from mannequin import SIZE, mannequin

WIDTH = 400
SHAPES = ({"scale": 0.8}, {"scale": 0.7, "shift": (0, 8)})  # the second one farther away, behind the first


def scene(places: tuple[float | None, ...], time: float) -> tuple[np.ndarray, np.ndarray]:
    """Parts [220, 400] of dancers with their middles at x positions (None: absent), the first in front of the others;
    and whose each pixel is: 1, 2, ... as given."""
    parts, whose = (np.zeros((SIZE[0], WIDTH), np.uint8) for _ in range(2))
    for number in range(len(places), 0, -1):
        place = places[number - 1]
        if place is None:
            continue
        angle = time * 0.2 + 2 * number
        figure = mannequin(0.6 + 0.3 * np.sin(angle), 0.3, 0.2 + 0.1 * np.cos(angle), **SHAPES[(number - 1) % 2])
        wide = np.zeros((SIZE[0], WIDTH + 2 * SIZE[1]), np.uint8)
        left = SIZE[1] + round(place) - SIZE[1] // 2
        wide[:, left : left + SIZE[1]] = figure
        seen = wide[:, SIZE[1] : -SIZE[1]]
        parts[seen > 0], whose[seen > 0] = seen[seen > 0], number
    return parts, whose


def clip(*ways: list[float | None]) -> tuple[PackedFrames, list[np.ndarray]]:
    """A clip of dancers with their places in each frame, and the truth."""
    frames = [scene(places, time) for time, places in enumerate(zip(*ways, strict=True))]
    return PackedFrames(parts for parts, _ in frames), [whose for _, whose in frames]


def agreement(divided: PackedFrames, truth: list[np.ndarray]) -> np.ndarray:
    """Share of the bodies' pixels that are the right one's, of each frame."""
    return np.array([(people == whose)[whose > 0].mean() for people, whose in zip(divided, truth, strict=True)])


def path(*points: float, frames: int = 40) -> list[float | None]:
    """Places on the way from point to point."""
    return list(np.interp(np.linspace(0, len(points) - 1, frames), np.arange(len(points)), points))


def test_people_apart_are_numbered_from_the_left():
    maps, truth = clip(path(100, 110, frames=12), path(300, 280, frames=12))
    assert agreement(divide(maps, 2), truth).min() == 1
    mirrored = [whose[:, ::-1] for whose in truth]
    other = divide(PackedFrames(parts[:, ::-1] for parts in maps), 2)
    assert agreement(other, [np.where(whose > 0, 3 - whose, 0) for whose in mirrored]).min() == 1
    assert agreement(other, mirrored).max() == 0
    assert all(((people > 0) == (whose > 0)).all() for people, whose in zip(other, mirrored, strict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [((80, 320), (320, 80)), ((80, 180, 80), (320, 220, 320)), ((100, 120), (190, 150)), ((200, 200), (80, 320))],
    ids=["crossing", "meeting and parting", "staying together", "passing behind"],
)
def test_people_who_touch_stay_themselves(one, other):
    maps, truth = clip(path(*one), path(*other))
    first = 1 if one[0] < other[0] else 2  # who is on the left at first
    named = truth if first == 1 else [np.where(whose > 0, 3 - whose, 0) for whose in truth]
    agreed = agreement(divide(maps, 2), named)
    assert agreed[-1] > 0.98
    assert np.median(agreed) > 0.95
    assert agreed.min() > 0.6


def test_it_does_not_matter_where_a_clip_begins_to_show_them_apart():
    maps, truth = clip(path(180, 80, frames=20), path(220, 320, frames=20))
    assert agreement(divide(maps, 2), truth)[8:].min() > 0.98
    assert agreement(divide(maps, 2), truth).min() > 0.7


def test_somebody_who_leaves_and_comes_back_is_the_same():
    away: list[float | None] = [300.0] * 6 + [None] * 6 + [290.0] * 6
    maps, truth = clip([100.0] * 18, away)
    assert agreement(divide(maps, 2), truth).min() > 0.98


def test_strangers_are_nobodys():
    late: list[float | None] = [None] * 5 + [340.0] * 3
    maps, truth = clip([70.0] * 8, [200.0] * 8, late)
    divided = divide(maps, 2)
    named = [np.where(whose == 3, STRANGER, whose) for whose in truth]
    assert agreement(divided, named).min() > 0.98


def test_nobody_in_a_frame():
    maps, truth = clip([100.0, 100.0, None, 100.0], [300.0, 300.0, None, 300.0])
    divided = divide(maps, 2)
    assert not divided[2].any()
    assert (divided[3] == truth[3]).all()
