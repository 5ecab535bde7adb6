"""Files of cameras, cutters, and broadcasters: every frame at its time, and a sentence where there is none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from magicanimate.errors import InputError
from magicanimate.media import Span, open_clip
from magicanimate.media.containers import is_video, open_container, video_stream

FPS = 25


def striped(count: int) -> np.ndarray:
    """Frames [F, 32, 64, 3] whose eight bright and dark stripes are the digits of their number."""
    digits_F8 = (np.arange(count)[:, None] >> np.arange(8)) & 1
    level_FW = np.repeat(40 + 170 * digits_F8, 8, axis=1).astype(np.uint8)
    return np.broadcast_to(level_FW[:, None, :, None], (count, 32, 64, 3)).copy()


def number(frame_HWC: np.ndarray) -> int:
    bright_8 = frame_HWC.mean((0, 2)).reshape(8, 8).mean(1) > 125
    return int((bright_8 << np.arange(8)).sum())


def encode(
    path: Path,
    count: int = 100,
    codec: str = "libx264",
    gop: int = 25,
    bframes: int = 0,
    side: int = 32,
    **metadata: str,
) -> Path:
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=FPS)
        stream.height, stream.width, stream.pix_fmt = side, 64, "yuv420p"
        context = stream.codec_context
        context.gop_size, context.max_b_frames = gop, bframes
        if codec == "libx264":
            context.options = {"crf": "1", "sc_threshold": "0", "b_strategy": "0", "bf": str(bframes)}
        for index, image in enumerate(striped(count)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(64, side, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut_without_loss(source: Path, target: Path, begin: int, packets: int) -> list[int]:
    """Copy `packets` packets from the key frame before frame `begin` on, which becomes time 0; as lossless cutters do.

    Returns the frames from `begin` on that are stored.
    """
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = reading.streams.video[0]
        copied = writing.add_stream_from_template(stream)
        found = [packet for packet in reading.demux(stream) if packet.size]
        frame_of = [round(float(packet.pts * packet.time_base) * FPS) for packet in found]
        first = max(k for k, packet in enumerate(found) if packet.is_keyframe and frame_of[k] <= begin)
        shift = round(begin / FPS / stream.time_base)
        for packet in found[first : first + packets]:
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copied
            writing.mux(packet)
    return sorted(frame for frame in frame_of[first : first + packets] if frame >= begin)


def test_a_lossless_cut_is_read_to_its_end(tmp_path):
    whole = encode(tmp_path / "whole.mp4", gop=50, bframes=3)
    stored = cut_without_loss(whole, tmp_path / "cut.mp4", begin=20, packets=62)
    assert stored[0] == 20
    assert stored != list(range(stored[0], stored[-1] + 1))  # the last frame comes before some that are missing
    clip = open_clip(tmp_path / "cut.mp4")
    shown = [number(frame) for frame in clip]
    assert shown == [max(frame for frame in stored if frame <= 20 + index) for index in range(len(shown))]
    assert shown[-1] == stored[-1]
    assert clip.count == len(shown)
    assert (clip.fps, clip.notes, clip.warnings) == (FPS, [], [])
    broken = tmp_path / "broken.mp4"  # the negative control: the same file without its end
    data = (tmp_path / "cut.mp4").read_bytes()
    at = data.index(b"moov") - 4
    broken.write_bytes(data[at:] + data[: at // 2])
    with pytest.raises(InputError):
        list(open_clip(broken))


@pytest.mark.parametrize(
    ("name", "codec", "gop"),
    [
        ("a.ts", "libx264", 25), ("a.ts", "libx264", 250), ("a.m2ts", "libx264", 250), ("a.mp4", "libx264", 250),
        ("a.mpg", "mpeg1video", 12),
    ],
)  # fmt: skip
def test_a_start_within_a_group_of_pictures_is_exact(tmp_path, name, codec, gop):
    path = encode(tmp_path / name, codec=codec, gop=gop)
    assert [number(frame) for frame in open_clip(path)] == pytest.approx(
        range(100), abs=1 if codec == "mpeg1video" else 0
    )
    for start, first in ((0.0, 0), (0.3, 8), (0.6, 15), (1.2, 30), (1.9, 48), (3.9, 98)):
        frames = list(open_clip(path, Span(start=start)))
        assert number(frames[0]) == first, start
        assert len(frames) == 100 - first


def test_a_title_that_is_not_utf_8_is_no_fault(tmp_path):
    path = encode(tmp_path / "a.mp4", 6, title="TITLEINLATIN")
    data = path.read_bytes()
    assert data.count(b"TITLEINLATIN") == 1
    path.write_bytes(data.replace(b"TITLEINLATIN", b"\xe9\xe8TLEINLA\xff\xfe\xfd"))
    assert len(list(open_clip(path))) == 6


def test_a_track_without_a_known_codec_is_one_sentence(tmp_path):
    path = encode(tmp_path / "a.mp4", 6)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz9").replace(b"vide", b"vide"))
    with pytest.raises(InputError, match="format that is not known"):
        open_clip(path)


def test_a_cover_picture_is_not_the_video(tmp_path):
    plain = encode(tmp_path / "a.mp4", 6)
    with av.open(str(tmp_path / "b.mp4"), "w") as writing, av.open(str(plain)) as reading:
        cover = writing.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        copied = writing.add_stream_from_template(reading.streams.video[0])
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        writing.mux(cover.encode(frame.reformat(format="yuvj420p")))
        for packet in reading.demux(video=0):
            if packet.size:
                packet.stream = copied
                writing.mux(packet)
    with open_container(tmp_path / "b.mp4") as container:
        assert video_stream(container, tmp_path / "b.mp4").width == 64


@pytest.mark.parametrize(("delay", "played"), [(0, 100), (10, 100), (20, 20), (50, 50)])
def test_delays_of_a_gif_are_those_of_browsers(tmp_path, delay, played):
    images = [Image.fromarray(frame) for frame in striped(4)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=delay)
    clip = open_clip(tmp_path / "a.gif")
    assert (clip.fps, clip.count) == (pytest.approx(1000 / played), 4)


def test_hidden_files_beside_frames_are_ignored(tmp_path):
    for index, image in enumerate(striped(3)):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
        (tmp_path / f"._{index}.png").write_bytes(b"\0\5\x16\7 resource fork")
    assert [number(frame) for frame in open_clip(tmp_path)] == [0, 1, 2]


def test_a_tiff_is_no_video(tmp_path):
    Image.fromarray(striped(1)[0]).save(tmp_path / "a.tif")
    assert not is_video(tmp_path / "a.tif")
    assert is_video(encode(tmp_path / "a.mp4", 3))


def test_a_broadcast_that_changes_its_size_keeps_that_of_its_beginning(tmp_path):
    first, second = encode(tmp_path / "a.ts", 30), encode(tmp_path / "b.ts", 30, side=48)
    (tmp_path / "c.ts").write_bytes(first.read_bytes() + second.read_bytes())
    shapes = {frame.shape for frame in open_clip(tmp_path / "c.ts")}
    assert shapes == {(32, 64, 3)}
    assert {frame.shape for frame in open_clip(second)} == {(48, 64, 3)}  # the negative control
