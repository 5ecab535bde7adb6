"""The sound of the motion goes into the result, in step with the picture."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from magicanimate.media import Audio, Span, open_clip
from magicanimate.media.video import save_frames

RATE = 44100


def beeping(path: Path, *, seconds: float = 2.0, beep: float = 1.0, delay: float = 0.0) -> Path:
    """A video of 25 fps whose sound is silent up to `beep` seconds, then a tone; the sound begins after `delay`."""
    codec = "libopus" if path.suffix == ".webm" else "aac"
    times = np.arange(round((seconds - delay) * RATE)) / RATE + delay
    tone = (0.5 * np.sin(2 * np.pi * 440 * times) * (times >= beep)).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=25)
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        sound = container.add_stream(codec, rate=48000 if path.suffix == ".webm" else RATE, layout="mono")
        for index in range(round(seconds * 25)):
            image = np.full((32, 48, 3), 200 if index / 25 >= beep else 20, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        for start in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, start + round(delay * RATE)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def heard(path: Path) -> tuple[float, float, float]:
    """(when the tone begins, when the sound ends, when the picture turns bright) in seconds."""
    samples, begin = [], None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            begin = frame.time if begin is None else begin
            samples.append(frame.to_ndarray()[0].reshape(-1, 1 if frame.format.is_planar else 2)[:, 0])
            rate = frame.sample_rate
    loud = np.abs(np.concatenate(samples)) > 0.1
    clip = open_clip(path)
    bright = [index for index, frame in enumerate(clip) if frame.mean() > 100]
    first = float(np.argmax(loud)) / rate if loud.any() else float("inf")
    return begin + first, begin + loud.size / rate, bright[0] / clip.fps if bright else float("inf")


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("span", [Span(), Span(start=0.52), Span(start=0.4, end=1.6, fps=12.5), Span(frames=40)])
def test_sound_and_picture_stay_in_step(tmp_path, suffix, span):
    clip = open_clip(beeping(tmp_path / f"in{suffix}"), span)
    out = save_frames(iter(clip), tmp_path / f"out{suffix}", clip.fps, {}, audio=clip.audio)
    tone, end, bright = heard(out)
    assert tone == pytest.approx(1.0 - span.start, abs=0.03)
    assert tone == pytest.approx(bright, abs=0.5 / clip.fps + 0.03)
    assert end == pytest.approx(clip.count / clip.fps, abs=0.05)


def test_a_sound_that_begins_later_than_the_picture_still_fits(tmp_path):
    clip = open_clip(beeping(tmp_path / "in.mp4", delay=0.5))
    tone, _, bright = heard(save_frames(iter(clip), tmp_path / "out.mp4", clip.fps, {}, audio=clip.audio))
    assert tone == pytest.approx(1.0, abs=0.03)
    assert bright == pytest.approx(1.0, abs=0.05)


def test_a_longer_video_than_its_sound_and_kinds_without_sound(tmp_path, motion_path):
    assert open_clip(motion_path).audio is None
    path = beeping(tmp_path / "in.mp4")
    clip = open_clip(path)
    late = Audio(path, 1.8, 5.0)
    out = save_frames(iter(clip), tmp_path / "out.mp4", clip.fps, {}, audio=late)
    assert heard(out)[1] == pytest.approx(0.2, abs=0.05)
    save_frames(iter(clip), tmp_path / "out.gif", clip.fps, {}, audio=clip.audio)
    assert (tmp_path / "out.gif").exists()
