"""The figures of benchmarks/motion_quality.py mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.motion_quality import BOUNDS, GROUPS, changes, missed, overlap, summary


def figures(found: np.ndarray, truth: np.ndarray) -> dict:
    return {
        "silhouette": overlap(found > 0, truth > 0),
        "groups": {
            name: sum(overlap(np.isin(found, side), np.isin(truth, side)) for side in sides)
            for name, sides in GROUPS.items()
        },
        "parts": np.stack([overlap(found == part, truth == part) for part in range(1, 25)]),
        "landmark_error": 0.01,
        "changes": changes(found),
        "true_changes": changes(truth),
    }


def test_the_truth_is_perfect_and_a_mirror_image_is_not():
    truth = np.random.default_rng(0).integers(0, 25, (3, 40, 30)).astype(np.uint8)
    perfect = summary([figures(truth, truth)])
    assert perfect["part_iou"] == perfect["silhouette_iou"] == perfect["part_iou_24"] == perfect["jitter_ratio"] == 1
    assert missed(perfect) == []
    mirrored = summary([figures(truth[..., ::-1], truth)])
    assert mirrored["part_iou"] < 0.2
    assert "part_iou" in missed(mirrored)
    assert missed(BOUNDS | {"jitter_ratio": 1.6}) == ["jitter_ratio"]


def test_changes_are_shares_of_the_body():
    parts = np.zeros((2, 10, 10), np.uint8)
    parts[:, :5] = 2
    assert changes(parts) == 0
    parts[1, 0] = 1
    assert changes(parts) == pytest.approx(0.2)
