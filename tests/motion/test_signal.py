"""From a clip to control frames."""

from __future__ import annotations

import numpy as np
import pytest

from figures import walking_parts
from magicanimate.errors import InputError
from magicanimate.media.framing import Frame
from magicanimate.media.pictures import place
from magicanimate.motion.densepose import render_parts
from magicanimate.motion.signal import read_signal

FRAME = Frame((64, 64), (64, 64))
PLACEMENT = place((64, 64), (64, 64))


def test_control_frames_are_clean_colours():
    parts_FHW = walking_parts(5)
    blurred = np.clip(render_parts(parts_FHW).astype(int) - 2, 0, 255).astype(np.uint8)
    signal = read_signal(iter(blurred), FRAME, PLACEMENT)
    assert np.array_equal(signal.rgb(range(5)), render_parts(parts_FHW))
    assert np.array_equal(read_signal(iter(blurred), FRAME, PLACEMENT, raw=True).rgb(range(5)), blurred)


def test_frames_are_counted_as_they_are_read():
    seen = []
    signal = read_signal(iter(render_parts(walking_parts(3))), FRAME, PLACEMENT, on_frame=seen.append)
    assert len(signal) == 3
    assert seen == [1, 2, 3]


def test_padding_repeats_the_last_frame():
    signal = read_signal(iter(render_parts(walking_parts(5))), FRAME, PLACEMENT, raw=True)
    padded = signal.padded(8)
    assert len(padded) == 8
    assert np.array_equal(padded.parts_FHW[5:], np.repeat(signal.parts_FHW[-1:], 3, 0))
    assert np.array_equal(padded.rgb([4]), padded.rgb([7]))
    assert signal.padded(5) is signal


def test_no_frame_is_refused():
    with pytest.raises(InputError, match="no frames"):
        read_signal(iter([]), FRAME, PLACEMENT)
