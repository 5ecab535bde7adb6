"""Control frames of a clip."""

from __future__ import annotations

import numpy as np
import pytest

from figures import walking_parts
from magicanimate.errors import InputError
from magicanimate.media.framing import Frame
from magicanimate.motion.report import ReportBuilder
from magicanimate.motion.signal import read_signal
from magicanimate.parts.densepose import render_parts

FRAME = Frame((64, 64), (64, 64))


def test_control_frames_are_clean_colors():
    parts_FHW = walking_parts(5)
    blurred = np.clip(render_parts(parts_FHW).astype(int) - 2, 0, 255).astype(np.uint8)
    signal = read_signal(parts_FHW, FRAME, ReportBuilder())
    assert np.array_equal(signal.rgb(range(5)), render_parts(parts_FHW))
    assert np.array_equal(read_signal(parts_FHW, FRAME, ReportBuilder(), colors=blurred).rgb(range(5)), blurred)


def test_frames_are_counted_as_they_are_read():
    seen = []
    signal = read_signal(walking_parts(3), FRAME, ReportBuilder(), on_frame=seen.append)
    assert len(signal) == 3
    assert seen == [1, 2, 3]


def test_padding_repeats_the_last_frame():
    parts_FHW = walking_parts(5)
    signal = read_signal(parts_FHW, FRAME, ReportBuilder(), colors=render_parts(parts_FHW))
    padded = signal.padded(8)
    assert len(padded) == 8
    assert np.array_equal(padded.parts_FHW[5:], np.repeat(signal.parts_FHW[-1:], 3, 0))
    assert np.array_equal(padded.rgb([4]), padded.rgb([7]))
    assert signal.padded(5) is signal


@pytest.mark.parametrize(("frames", "message"), [([], "no frames"), ([np.zeros((64, 64), np.uint8)], "No person")])
def test_no_frame_and_nobody_are_refused(frames, message):
    with pytest.raises(InputError, match=message):
        read_signal(frames, FRAME, ReportBuilder())
