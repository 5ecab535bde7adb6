"""Reports about a motion, good or bad."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from figures import walking_parts
from magicanimate.errors import InputError
from magicanimate.motion.open import open_motion
from magicanimate.motion.report import MotionReport, ReportBuilder, count_heads


def reported(parts_FHW: np.ndarray) -> MotionReport:
    builder = ReportBuilder("viridis", 0.9)
    for parts_HW in parts_FHW:
        builder.add(parts_HW)
    return builder.finish()


def test_a_clean_map_has_no_warning():
    parts_FHW = walking_parts(5)
    report = reported(parts_FHW)
    assert report.warnings == []
    assert (report.frames, report.height, report.width) == (5, 64, 64)
    assert (report.coloring, report.near) == ("viridis", 0.9)
    assert report.coverage == pytest.approx((parts_FHW > 0).mean())
    assert report.background == pytest.approx((parts_FHW == 0).mean())
    assert report.people == 1
    assert report.parts == list(range(1, 25))


def test_frames_without_a_person_are_named():
    parts = walking_parts(4)
    parts[2] = 0
    assert "1 of 4" in reported(parts).warnings[0]
    with pytest.raises(InputError, match="No person"):
        reported(np.zeros((2, 32, 32), np.uint8))


def test_heads_are_counted_and_fragments_are_not():
    parts = np.zeros((96, 96), np.uint8)
    assert count_heads(parts) == 0
    parts[10:20, 10:20], parts[10:20, 60:70] = 23, 24
    assert count_heads(parts) == 2
    parts[40:42, 40:42] = 23
    assert count_heads(parts) == 2


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "frames", "people"),
    [("demo4", 107, 1), ("dancing2", 100, 1), ("running", 42, 1), ("multi_dancing", 85, 2)],
)
def test_real_clips(real_inputs, name, frames, people):
    motion = open_motion(real_inputs / "densepose" / f"{name}.mp4")
    assert (motion.kind, motion.coloring, motion.count) == ("densepose", "viridis", frames)
    assert motion.near > 0.93
    assert motion.notes == motion.warnings == []
    report = reported(np.stack(list(itertools.islice(motion, 0, 9, 8))))
    assert report.people == people
    assert report.warnings == []
    assert 0.1 < report.coverage < 0.6
