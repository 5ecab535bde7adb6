"""Properties of window schedules and fusion weights."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magicanimate.errors import InputError
from magicanimate.sampling.windows import (
    frame_groups,
    frames_needed_later,
    fusion_weights,
    plan_windows,
    position_weights,
)

schedules = st.integers(1, 32).flatmap(
    lambda window: st.tuples(st.integers(1, 300), st.just(window), st.integers(0, window - 1))
)


@given(schedules, st.booleans())
def test_every_frame_is_covered_by_windows_of_full_length(schedule, wrap):
    frames, window, overlap = schedule
    windows = plan_windows(frames, window, overlap, wrap)
    assert {frame for indices in windows for frame in indices} == set(range(frames))
    assert all(len(indices) == len(set(indices)) == min(window, frames) for indices in windows)


@given(schedules)
def test_windows_end_at_the_last_frame_and_overlap_enough(schedule):
    frames, window, overlap = schedule
    windows = plan_windows(frames, window, overlap)
    assert windows[0][0] == 0
    assert windows[-1][-1] == frames - 1
    assert len(windows) == len(set(windows))
    assert all(list(indices) == list(range(indices[0], indices[-1] + 1)) for indices in windows)
    assert all(len(set(a) & set(b)) >= overlap for a, b in pairwise(windows))


@given(schedules)
def test_wrapping_needs_no_fewer_windows(schedule):
    assert len(plan_windows(*schedule)) <= len(plan_windows(*schedule, wrap=True))


@given(schedules, st.booleans(), st.sampled_from(["mean", "triangular"]))
def test_weights_are_positive_and_sum_to_one(schedule, wrap, fusion):
    windows = plan_windows(*schedule, wrap)
    total = [0.0] * schedule[0]
    for indices, weights in zip(windows, fusion_weights(windows, fusion), strict=True):
        assert min(weights) > 0
        for frame, weight in zip(indices, weights, strict=True):
            total[frame] += weight
    assert total == pytest.approx([1.0] * schedule[0])


@given(schedules, st.booleans())
def test_frames_are_kept_exactly_as_long_as_needed(schedule, wrap):
    windows = plan_windows(*schedule, wrap)
    held: frozenset[int] = frozenset()
    seen: set[int] = set()
    for indices, needed in zip(windows, frames_needed_later(windows), strict=True):
        assert not (set(indices) & seen) - held
        seen |= set(indices)
        held = needed
    assert held == frozenset()


@given(schedules, st.booleans())
def test_groups_hold_every_frame_once_and_begin_anew_with_any_window(schedule, wrap):
    frames, window, overlap = schedule
    windows = plan_windows(frames, window, overlap, wrap)
    group_of = frame_groups(windows)
    groups = set(group_of.values())
    assert sorted(frame for group in groups for frame in group) == list(range(frames))
    assert all(group_of[frame] == group for group in groups for frame in group)
    times_held = Counter(frame for window in windows for frame in window)
    if not wrap and max(times_held.values()) <= 2:  # then who begins with a later window computes no frame in vain
        for held in frames_needed_later(windows):
            assert {frame for needed in held for frame in group_of[needed]} == held


def test_mean_and_triangular_differ():
    windows = plan_windows(24)
    assert fusion_weights(windows)[0][12:] == [0.5] * 4
    assert fusion_weights(windows, "triangular")[0][8:] != fusion_weights(windows)[0][8:]
    assert position_weights(5, "triangular") == [1, 2, 3, 2, 1]


def test_wrapping_continues_with_the_first_frames():
    assert plan_windows(24, wrap=True)[1] == (*range(12, 24), 0, 1, 2, 3)
    assert plan_windows(24)[1] == tuple(range(8, 24))


@pytest.mark.parametrize(("frames", "window", "overlap"), [(0, 16, 4), (-1, 16, 4), (20, 16, 16), (20, 16, -1)])
def test_impossible_schedules(frames, window, overlap):
    with pytest.raises(InputError):
        plan_windows(frames, window, overlap)


def test_unknown_fusion():
    with pytest.raises(InputError, match="mean or triangular"):
        fusion_weights(plan_windows(20), "median")
