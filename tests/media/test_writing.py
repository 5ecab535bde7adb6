"""Videos: what is written is what is read, complete or not at all."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from figures import walking_parts
from magicanimate.errors import InputError
from magicanimate.media import check_output, open_clip, settings_path, side_by_side
from magicanimate.media.video import Video, VideoStream, save_frames
from magicanimate.parts.densepose import render_parts

SMOOTH = render_parts(walking_parts(10))
NOISE = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
ABOUT = {"seed": 1, "model": "tiny", "name": "Ä ü"}
KINDS = ["a.mp4", "a.webm", "a.mov", "a.gif", "a.webp", "a.apng", "folder"]


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes per file fails, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("fps", [25, 12.5, 30])
def test_round_trip(tmp_path, name, fps):
    path = save_frames(iter(SMOOTH), tmp_path / name, fps, ABOUT)
    clip = open_clip(path)
    frames = np.stack(list(clip))
    assert frames.shape == SMOOTH.shape
    assert np.abs(frames.astype(int) - SMOOTH).mean() < 6
    assert np.abs(np.roll(frames, 1, axis=0).astype(int) - SMOOTH).mean() > np.abs(frames.astype(int) - SMOOTH).mean()
    if name != "folder":
        assert clip.fps == pytest.approx(fps, rel=0.02)
    if name in ("a.gif", "a.apng", "folder"):
        assert np.array_equal(frames, SMOOTH)
    assert json.loads(settings_path(path).read_text()) == ABOUT
    assert names(tmp_path) == {name, f"{name}.json"}


@pytest.mark.parametrize("name", KINDS)
def test_odd_sizes_and_single_frames(tmp_path, name):
    frame = SMOOTH[0, :63, :61]
    path = save_frames(iter([frame]), tmp_path / name, 25, {})
    (read,) = list(open_clip(path))
    assert read.shape[0] in (63, 64)
    assert read.shape[1] in (61, 62)
    assert np.abs(read[:63, :61].astype(int) - frame).mean() < 8


def test_mp4_is_what_browsers_play(tmp_path):
    path = save_frames(iter(SMOOTH), tmp_path / "a.mp4", 25, ABOUT)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 25
        assert json.loads(container.metadata["comment"]) == ABOUT
    content = path.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")  # plays while it loads


def test_settings_inside_the_other_kinds(tmp_path):
    for name in KINDS[1:]:
        save_frames(iter(SMOOTH[:2]), tmp_path / name, 25, ABOUT)
    with av.open(str(tmp_path / "a.webm")) as container:
        assert json.loads(container.metadata["COMMENT"]) == ABOUT
    with Image.open(tmp_path / "a.gif") as gif:
        assert json.loads(gif.info["comment"]) == ABOUT
    with Image.open(tmp_path / "a.webp") as webp:
        assert json.loads(webp.getexif()[0x010E]) == ABOUT
    for path in (tmp_path / "a.apng", tmp_path / "folder" / "frame_00001.png"):
        with Image.open(path) as png:
            assert json.loads(png.text["Comment"]) == ABOUT
    with av.open(str(tmp_path / "a.mov")) as container:
        assert json.loads(container.metadata["comment"]) == ABOUT


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, InputError])
def test_an_interruption_leaves_nothing(tmp_path, name, error):
    def frames() -> Iterator[np.ndarray]:
        yield from SMOOTH[:3]
        raise error("stop")

    with pytest.raises(error):
        save_frames(frames(), tmp_path / name, 25, {})
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", KINDS)
def test_an_interruption_leaves_the_old_output(tmp_path, name):
    path = save_frames(iter(SMOOTH), tmp_path / name, 25, ABOUT)

    def frames() -> Iterator[np.ndarray]:
        yield NOISE[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_frames(frames(), path, 25, {}, overwrite=True)
    assert len(list(open_clip(path))) == len(SMOOTH)
    assert names(tmp_path) == {name, f"{name}.json"}


@pytest.mark.parametrize("size", [0, 3000])
@pytest.mark.parametrize("name", KINDS)
def test_a_full_disk_is_one_sentence(tmp_path, name, size):
    with disk_of(size), pytest.raises(InputError, match="disk is full"):
        save_frames(iter(NOISE), tmp_path / name, 25, ABOUT)
    assert names(tmp_path) == set()
    save_frames(iter(NOISE), tmp_path / name, 25, ABOUT)  # the negative control


def test_what_another_run_wrote_meanwhile_is_not_replaced(tmp_path):
    def frames() -> Iterator[np.ndarray]:
        yield SMOOTH[0]
        (tmp_path / "a.mp4").write_bytes(b"of another run")

    with pytest.raises(InputError, match="written by another run meanwhile"):
        save_frames(frames(), tmp_path / "a.mp4", 25, {})
    assert (tmp_path / "a.mp4").read_bytes() == b"of another run"
    assert names(tmp_path) == {"a.mp4"}
    save_frames(frames(), tmp_path / "a.mp4", 25, {}, overwrite=True)
    assert len(list(open_clip(tmp_path / "a.mp4"))) == 1


def test_other_write_errors_name_the_reason(tmp_path):
    def frames() -> Iterator[np.ndarray]:
        yield SMOOTH[0]
        shutil.rmtree(next(tmp_path.glob(".frames.*")))
        yield SMOOTH[1]

    with pytest.raises(InputError, match=r"could not be written: No such file"):
        save_frames(frames(), tmp_path / "frames", 25, {})


def test_no_frame_is_refused(tmp_path):
    for name in KINDS:
        with pytest.raises(InputError, match="No frame"):
            save_frames(iter([]), tmp_path / name, 25, {})
    assert names(tmp_path) == set()


def test_outputs_that_are_refused(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    (tmp_path / "plain").touch()
    for path, message in [
        (tmp_path / "a.mp4", "already exists"),
        (tmp_path / "a.avi", "Cannot write .avi"),
        (tmp_path / "missing" / "a.mp4", "does not exist"),
        (tmp_path / "full", "already exists"),
    ]:
        with pytest.raises(InputError, match=message):
            check_output(path)
    for path, message in [(tmp_path / "full", "other things"), (tmp_path / "plain", "is a file")]:
        with pytest.raises(InputError, match=message):
            check_output(path, overwrite=True)
    assert check_output(tmp_path / "a.mp4", overwrite=True) == tmp_path / "a.mp4"


def test_a_folder_of_frames_is_replaced_whole(tmp_path):
    save_frames(iter(NOISE), tmp_path / "frames", 25, {})
    save_frames(iter(SMOOTH[:3]), tmp_path / "frames", 25, {}, overwrite=True)
    assert names(tmp_path / "frames") == {f"frame_{i:05d}.png" for i in range(3)}


def test_video_and_stream_write_the_same(tmp_path):
    video = VideoStream(iter(SMOOTH), len(SMOOTH), 25.0, ABOUT).collect()
    assert isinstance(video, Video)
    assert len(video) == 10
    video.save(tmp_path / "a.mp4")
    VideoStream(iter(SMOOTH), len(SMOOTH), 25.0, ABOUT).save(tmp_path / "b.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def soft_disk(at: int) -> np.ndarray:
    """An orange disk with a soft edge. [64, 96, 4] uint8."""
    y, x = np.mgrid[0:64, 0:96]
    alpha = np.clip(22 - np.hypot(x - at, y - 32), 0, 6) / 6 * 255
    return np.dstack([np.full_like(alpha, level) for level in (220, 120, 40)] + [alpha]).astype(np.uint8)


def decoded_rgba(path) -> np.ndarray:
    """[F, H, W, 4] of a video, by the decoder that knows its alpha."""
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        name = {"vp9": "libvpx-vp9"}.get(stream.codec_context.name, stream.codec_context.name)
        decoder = av.CodecContext.create(name, "r")
        decoder.extradata = stream.codec_context.extradata
        decoder.width, decoder.height = stream.width, stream.height
        for packet in container.demux(stream):
            if packet.size:
                frames += decoder.decode(packet)
        frames += decoder.decode(None)
    return np.stack([frame.reformat(format="rgba").to_ndarray() for frame in frames])


def rgba_frames(path) -> np.ndarray:
    """[F, H, W, 4] of anything that holds alpha."""
    if path.is_dir():
        return np.stack([np.asarray(Image.open(file)) for file in sorted(path.iterdir())])
    if path.suffix in (".webm", ".mov"):
        return decoded_rgba(path)
    with Image.open(path) as animation:
        return np.stack([np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(animation)])


@pytest.mark.parametrize("name", ["a.webm", "a.mov", "a.webp", "a.apng", "folder"])
def test_alpha_survives(tmp_path, name):
    moving = np.stack([soft_disk(30 + 6 * index) for index in range(5)])
    read = rgba_frames(save_frames(iter(moving), tmp_path / name, 25, ABOUT))
    assert read.shape == moving.shape
    assert np.abs(read[..., 3].astype(int) - moving[..., 3]).mean() < 1
    assert np.abs(np.roll(read[..., 3], 1, 0).astype(int) - moving[..., 3]).mean() > 8
    assert ((read[..., 3] > 20) & (read[..., 3] < 235)).any()
    inside = moving[..., 3] == 255
    assert np.abs(read[..., :3].astype(int) - moving[..., :3])[inside].mean() < 4


def test_formats_without_alpha_say_which_have_it(tmp_path):
    for name in ("a.mp4", "a.gif"):
        with pytest.raises(InputError, match=r"cannot be transparent.*\.webm, \.mov, \.webp, \.apng"):
            save_frames(iter([soft_disk(30)]), tmp_path / name, 25, {})
    assert names(tmp_path) == set()


def test_side_by_side_with_alpha():
    joined = side_by_side(SMOOTH[0], np.dstack([NOISE[0], NOISE[1, ..., 0]]))
    assert (joined[:, :68, 3] == 255).all()
    assert np.array_equal(joined[:, 68:, 3], NOISE[1, ..., 0])


def test_side_by_side():
    joined = side_by_side(SMOOTH[0], NOISE[0], SMOOTH[1])
    assert joined.shape == (64, 3 * 64 + 8, 3)
    assert np.array_equal(joined[:, 68:132], NOISE[0])
    assert (joined[:, 64:68] == 255).all()
