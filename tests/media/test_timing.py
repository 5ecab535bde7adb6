"""Frame rates, times, and what surrounds the pixels of a video: made with real files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from magicanimate.errors import InputError
from magicanimate.media import Span, clip_of_frames, load_picture, open_clip
from magicanimate.media.pixels import over_white
from magicanimate.media.timing import count_frames, cut_frames, on_screen, timeline


def numbered(count: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """Frames [F, H, W, 3] whose gray level tells their number."""
    return np.stack([np.full((*size, 3), 5 * index, np.uint8) for index in range(count)])


def number(frame_HWC: np.ndarray) -> int:
    return round(float(frame_HWC.mean()) / 5)


def video(
    path: Path, frames, times_ms, *, codec="libx264", format="yuv420p", source="rgb24", prepare=lambda stream: None,
    tag=lambda frame: None,
) -> Path:  # fmt: skip
    """A video whose frames appear at the given milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1000, options={"crf": "1"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = format
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        for image, time in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format=source)
            frame = frame.reformat(format=format, dst_colorspace=Colorspace.ITU601)
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            tag(frame)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def even_ms(count: int, fps: float) -> list[int]:
    return [round(index * 1000 / fps) for index in range(count)]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
@pytest.mark.parametrize("fps", [12.5, 24, 25, 29.97, 30, 60])
def test_an_even_rate_is_kept_and_every_frame_shown_once(tmp_path, fps, name):
    clip = open_clip(video(tmp_path / name, numbered(12), even_ms(12, fps)))
    assert clip.fps == pytest.approx(fps, rel=0.02)
    assert [number(frame) for frame in clip] == list(range(12))
    assert (clip.count, clip.notes) == (12, [])


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.webm"])
def test_a_variable_rate_is_read_by_time_and_not_by_number(tmp_path, name):
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    times = [0, 40, 80, 280, 320, 360, 400, 440]  # frame 2 stays for five frames of 25 fps
    clip = open_clip(video(tmp_path / name, numbered(8), times, codec=codec))
    assert clip.fps == 25
    shown = [number(frame) for frame in clip]
    assert shown == [0, 1, 2, 2, 2, 2, 2, 3, 4, 5, 6, 7]
    assert shown != list(range(8))
    assert clip.count == len(shown)
    assert "variable frame rate" in clip.notes[0]


def test_start_end_fps_and_number(tmp_path):
    path = video(tmp_path / "v.mp4", numbered(30), even_ms(30, 25))
    assert [number(f) for f in open_clip(path, Span(start=0.4, end=0.8))] == list(range(10, 20))
    assert [number(f) for f in open_clip(path, Span(end=0.4, fps=50))] == [i // 2 for i in range(20)]
    assert [number(f) for f in open_clip(path, Span(start=0.2, fps=12.5, frames=3))] == [5, 7, 9]
    assert open_clip(path, Span(start=0.2, fps=12.5, frames=3)).count == 3
    with pytest.raises(InputError, match="nothing is left after --start 2"):
        open_clip(path, Span(start=2))


def test_starting_in_the_middle_finds_the_frame_although_it_enters_at_a_key_frame(tmp_path):
    path = video(tmp_path / "v.webm", numbered(50), even_ms(50, 25), codec="libvpx-vp9")
    assert number(next(iter(open_clip(path, Span(start=1.48))))) == 37


def test_an_animation_is_read_by_its_durations(tmp_path):
    images = [Image.fromarray(frame) for frame in numbered(4)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[40, 120, 40, 40])
    assert [number(frame) for frame in open_clip(tmp_path / "a.gif")] == [0, 1, 1, 1, 2, 3]


@given(st.integers(2, 40), st.floats(5, 60), st.floats(5, 60))
def test_resampling_keeps_the_speed(count, fps, new_fps):
    frames = np.arange(count)[:, None, None, None].repeat(3, -1)
    shown = [int(frame[0, 0, 0]) for frame in clip_of_frames(frames, fps, Span(fps=new_fps))]
    assert shown == sorted(shown)
    assert len(shown) == clip_of_frames(frames, fps, Span(fps=new_fps)).count
    assert abs(len(shown) - count * new_fps / fps) <= 1
    for index, source in enumerate(shown):
        assert source == pytest.approx(index * fps / new_fps, abs=1.001 + 0.002 * fps)


@given(
    st.lists(st.floats(0.005, 0.3), min_size=1, max_size=30), st.floats(8, 60), st.floats(0, 0.5),
    st.one_of(st.none(), st.floats(0.51, 3)),
)  # fmt: skip
def test_what_is_on_screen_equals_the_slow_twin(gaps, fps, start, end):
    times = np.concatenate([[0], np.cumsum(gaps)])
    line = timeline(times.tolist(), 25)
    span = Span(start, end, fps)
    if start >= line.length - 0.002 or line.even:
        return
    shown = list(cut_frames(line, span, zip(times, times, strict=True)))
    assert len(shown) == count_frames(line, span, "v")
    stop = min(end or line.length, line.length)
    ticks = [start + k / fps for k in range(len(shown) + 1)]
    assert ticks[-2] < stop <= ticks[-1] + 0.003
    assert shown == [times[times <= tick + 0.002][-1] for tick in ticks[:-1]]


def test_nothing_beyond_the_last_wanted_frame_is_read():
    def damaged():
        yield 0.0, "a"
        yield 0.04, "b"
        raise InputError("damaged")

    line = timeline([0, 0.04, 0.08], 25)
    assert list(cut_frames(line, Span(frames=2), damaged())) == ["a", "b"]
    with pytest.raises(InputError):
        list(cut_frames(line, Span(frames=3), damaged()))
    assert list(on_screen(iter([(0.0, "a")]), 25, 0, 0.1)) == ["a"] * 3


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_beside_the_pixels_is_applied(tmp_path, degrees):
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24] = 200  # upper left
    path = video(
        tmp_path / "v.mp4", [image] * 3, even_ms(3, 25), prepare=lambda stream: stream.set_display_rotation(degrees)
    )  # fmt: skip
    clip = open_clip(path)
    assert clip.size == ((48, 32) if degrees % 180 else (32, 48))
    upright = next(iter(clip))
    expected = np.rot90(image, degrees // 90)
    assert np.abs(upright.astype(int) - expected).mean() < 12
    assert np.abs(np.rot90(upright, 2).astype(int) - expected).mean() > 50


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    def anamorphic(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    clip = open_clip(video(tmp_path / "v.mp4", numbered(3), even_ms(3, 25), prepare=anamorphic))
    assert clip.size == (32, 64)


def test_ten_bits_give_the_same_picture_as_eight(tmp_path):
    rows, columns = np.mgrid[0:32, 0:48]
    image = np.stack([rows * 7, columns * 5, 255 - rows * 4], -1).astype(np.uint8)
    eight = video(tmp_path / "8.mp4", [image] * 2, [0, 40], format="yuv444p")
    ten = video(tmp_path / "10.mp4", [image] * 2, [0, 40], format="yuv444p10le")
    first, second = (next(iter(open_clip(path))).astype(int) for path in (eight, ten))
    assert np.abs(first - second).max() <= 4
    assert np.abs(second - image).mean() < 2
    assert np.abs(second // 4 - image).mean() > 20  # what cutting off bits would give


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.58), (18, 0.75)])
def test_hdr_white_is_white_gray_is_gray_and_order_is_kept(tmp_path, transfer, white):
    """Signal levels of graded white: 58% of PQ, 75% of HLG (ITU-R BT.2408)."""
    levels = np.array([0, white / 2, white, 1.0])
    image = np.repeat(np.rint(levels * 65535).astype(np.uint16), 12)[None, :, None].repeat(32, 0).repeat(3, 2)

    def hdr(stream):
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 1

    path = video(
        tmp_path / "v.mp4", [image] * 2, [0, 40], format="yuv444p10le", source="rgb48le", prepare=hdr
    )  # fmt: skip
    black, half, bright, brightest = next(iter(open_clip(path)))[16, 6::12].mean(-1)
    assert black < 8
    assert black < half < bright <= brightest
    assert bright > 215
    plain = video(tmp_path / "p.mp4", [image] * 2, [0, 40], format="yuv444p10le", source="rgb48le")
    assert next(iter(open_clip(plain)))[16, 30].mean() < 200  # negative control: read as if it were no HDR


def test_transparency_of_a_video_is_laid_over_white(tmp_path):
    image = np.zeros((32, 48, 4), np.uint8)
    image[:, :24] = (200, 0, 0, 255)
    path = video(tmp_path / "v.mov", [image] * 2, [0, 40], codec="png", format="rgba", source="rgba")
    frame = next(iter(open_clip(path)))
    assert frame[5, 5].tolist() == [200, 0, 0]
    assert frame[5, 40].tolist() == [255, 255, 255]
    assert over_white(np.array([[[0, 0, 0, 128]]], np.uint8)).tolist() == [[[127, 127, 127]]]


def test_content_decides_and_not_the_name(tmp_path):
    path = video(tmp_path / "v.mp4", numbered(4), even_ms(4, 25))
    for name in ("v.png", "v.gif", "v.jpg", "v.txt"):
        (tmp_path / name).write_bytes(path.read_bytes())
        assert open_clip(tmp_path / name).count == 4
    with pytest.raises(InputError, match="is a video"):
        load_picture(tmp_path / "v.png")
    Image.fromarray(numbered(1)[0]).save(tmp_path / "p.png")
    (tmp_path / "p.mp4").write_bytes((tmp_path / "p.png").read_bytes())
    assert open_clip(tmp_path / "p.mp4").count == 1
