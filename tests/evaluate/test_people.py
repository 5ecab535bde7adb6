"""Colors of body parts, and the pose against the control."""

from __future__ import annotations

import numpy as np
import pytest

from evaluate.clips import clip, noisy
from magicanimate.evaluate.basic import part_errors
from magicanimate.evaluate.people import part_colors, pose_overlap

TARGET, PARTS = clip(0, frames=6, side=64)


def test_the_true_video_has_no_error():
    colors = part_colors(TARGET, TARGET, PARTS)
    assert np.isfinite(colors.errors_P[1:]).all()
    assert np.isnan(colors.errors_P[0])
    assert np.nanmax(colors.errors_P) == np.nanmax(colors.drifts_P) == 0


def test_agrees_with_the_errors_of_a_frame():
    output = noisy(TARGET, 40)
    single = part_colors(output[:1], TARGET[:1], PARTS[:1]).errors_P
    assert single[~np.isnan(single)] == pytest.approx(part_errors(output[0], TARGET[0], PARTS[0]))


def test_a_wrong_color_is_an_error_and_a_changing_one_a_drift():
    output = TARGET.astype(np.int16)
    output[PARTS == 2] += np.where(output[PARTS == 2] > 127, -30, 30).astype(np.int16)
    constant = part_colors(output.astype(np.uint8), TARGET, PARTS)
    assert constant.errors_P[2] == pytest.approx(30)
    assert constant.drifts_P[2] == pytest.approx(0, abs=1e-9)
    assert constant.errors_P[3] == 0
    output[::2] = TARGET[::2]
    changing = part_colors(output.astype(np.uint8), TARGET, PARTS)
    assert changing.errors_P[2] == pytest.approx(15)
    assert changing.drifts_P[2] == pytest.approx(15)


def test_light_that_changes_the_target_too_is_no_drift():
    fading = np.stack([(frame * (1 - 0.1 * t)).astype(np.uint8) for t, frame in enumerate(TARGET)])
    assert np.nanmax(part_colors(fading, fading, PARTS).drifts_P) == 0
    assert np.nanmax(part_colors(fading, TARGET, PARTS).drifts_P) > 10


def test_parts_too_small_to_judge_are_left_out():
    tiny = np.zeros((2, 64, 64), np.uint8)
    tiny[:, 0, 0] = 5
    assert np.isnan(part_colors(TARGET[:2], TARGET[:2], tiny).errors_P).all()


def test_pose_overlap():
    assert pose_overlap(PARTS, PARTS) == (1.0, 1.0)
    shifted = np.roll(PARTS, 4, axis=2)
    parts, silhouette = pose_overlap(shifted, PARTS)
    assert 0 < parts < silhouette < 1
    assert pose_overlap(np.zeros_like(PARTS), PARTS) == (0.0, 0.0)
    nobody = np.zeros_like(PARTS)
    assert np.isnan(pose_overlap(nobody, nobody)).all()
    swapped = np.where(PARTS == 3, 4, np.where(PARTS == 4, 3, PARTS)).astype(np.uint8)
    parts, silhouette = pose_overlap(swapped, PARTS)
    assert silhouette == 1
    assert parts == pytest.approx(22 / 24)  # left and right hand exchanged


def test_a_part_that_nobody_asked_for_counts_against():
    asked = np.where(PARTS == 24, 0, PARTS).astype(np.uint8)
    assert pose_overlap(asked, asked)[0] == 1
    assert pose_overlap(PARTS, asked)[0] == pytest.approx(23 / 24, abs=1e-6)
