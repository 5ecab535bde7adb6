"""What is said about a motion, good or bad."""

from __future__ import annotations

import numpy as np
import pytest

from figures import walking_parts
from magicanimate.media import open_clip
from magicanimate.motion.densepose import render_parts
from magicanimate.motion.report import count_heads, decode_parts


def test_a_clean_map_has_no_warning():
    parts_FHW = walking_parts(5)
    decoded, report = decode_parts(render_parts(parts_FHW))
    assert np.array_equal(decoded, parts_FHW)
    assert report.warnings == []
    assert (report.frames, report.height, report.width) == (5, 64, 64)
    assert report.near == 1.0
    assert report.coverage == pytest.approx((parts_FHW > 0).mean())
    assert report.background == pytest.approx((parts_FHW == 0).mean())
    assert report.people == 1
    assert report.parts == list(range(1, 25))


def test_black_background_is_read_and_named():
    parts_FHW = walking_parts(3)
    frames = render_parts(parts_FHW)
    frames[parts_FHW == 0] = 3
    decoded, report = decode_parts(frames)
    assert np.array_equal(decoded, parts_FHW)
    assert len(report.warnings) == 1
    assert "black background" in report.warnings[0]
    assert report.palette == "viridis on black"


def test_other_pictures_are_named():
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    report = decode_parts(noise)[1]
    assert report.palette == "unknown"
    assert "not DensePose-coloured" in report.warnings[0]


def test_an_empty_map_is_named():
    assert "No person" in decode_parts(render_parts(np.zeros((2, 32, 32), np.uint8)))[1].warnings[0]
    parts = walking_parts(4)
    parts[2] = 0
    assert "1 of 4" in decode_parts(render_parts(parts))[1].warnings[0]


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
    clip = list(open_clip(real_inputs / "densepose" / f"{name}.mp4"))
    _, report = decode_parts(np.stack(clip[::4]))
    assert len(clip) == frames
    assert report.people == people
    assert report.near > 0.93
    assert report.warnings == []
    assert 0.1 < report.coverage < 0.6
