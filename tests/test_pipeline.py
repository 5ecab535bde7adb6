"""The pipeline on small real networks: sizes, lengths, seeds, streaming, the original's quirks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from figures import walking_parts
from magicanimate import InputError, MagicAnimatePipeline, Video
from magicanimate.animation.loading import memory_explained
from magicanimate.animation.settings import make_settings
from magicanimate.media import load_picture, open_clip
from magicanimate.parts.densepose import render_parts

PICTURE = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
MOTION = render_parts(walking_parts(10))


@pytest.fixture(scope="module")
def pipe(model_folder) -> MagicAnimatePipeline:
    return MagicAnimatePipeline.from_pretrained(model_folder, device="cpu")


@pytest.fixture(scope="module")
def rgb_pipe(rgb_model_folder) -> MagicAnimatePipeline:
    return MagicAnimatePipeline.from_pretrained(rgb_model_folder, device="cpu")


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 10])
def test_any_number_of_frames(pipe, frames):
    video = pipe(PICTURE, MOTION[:frames], steps=1)
    assert isinstance(video, Video)
    assert video.frames.shape == (frames, 64, 64, 3)
    assert video.frames.dtype == np.uint8
    assert (video.fps, video.settings["frames"]) == (25, frames)


@pytest.mark.parametrize("size", ["64x64", "50x70", "17x33", "auto"])
def test_any_size(pipe, size):
    video = pipe(PICTURE, MOTION[:2], steps=1, size=size)
    expected = (64, 64) if size == "auto" else tuple(int(side) for side in size.split("x"))[::-1]
    assert video.frames.shape[1:3] == expected


def test_a_seed_gives_the_same_video_and_another_does_not(pipe):
    first, again, other = (pipe(PICTURE, MOTION, steps=1, seed=seed).frames for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_decoding_in_chunks_changes_nothing(pipe):
    one, all_at_once = (pipe(PICTURE, MOTION, steps=1, decode_chunk=n).frames for n in (1, 10))
    assert np.abs(one.astype(int) - all_at_once).max() <= 1


def test_picture_and_motion_both_matter(pipe):
    plain = pipe(PICTURE, MOTION, steps=1).frames
    assert not np.array_equal(pipe(PICTURE[::-1], MOTION, steps=1).frames, plain)
    assert not np.array_equal(pipe(PICTURE, MOTION[::-1], steps=1).frames, plain)


def test_the_stream_yields_the_same_frames(pipe):
    stream = pipe(PICTURE, MOTION, steps=1, stream=True)
    assert len(stream) == 10
    assert np.array_equal(np.stack(list(stream)), pipe(PICTURE, MOTION, steps=1).frames)


def test_progress_and_cancelling(pipe):
    told = []
    pipe(PICTURE, MOTION, steps=2, progress=lambda *event: told.append(event))
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["reading", "control", "denoise", "decode"]
    for stage in ("reading", "control", "denoise", "decode"):
        _, done, total = [event for event in told if event[0] == stage][-1]
        assert done == total

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "denoise":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe(PICTURE, MOTION, steps=2, progress=stop)


def test_pictures_as_paths_arrays_and_pillow(pipe, picture_path, motion_path):
    image = load_picture(picture_path)
    from_path, from_array, from_pillow = (
        pipe(source, motion_path, steps=1, max_frames=2).frames
        for source in (picture_path, image, Image.fromarray(image))
    )
    assert np.array_equal(from_path, from_array)
    assert np.array_equal(from_path, from_pillow)


def test_another_frame_rate_keeps_the_speed(pipe):
    job = pipe.prepare(PICTURE, MOTION, make_settings(fps=50))
    assert (len(job), job.fps) == (10, 50)  # arrays have no rate of their own


def test_a_file_is_resampled(pipe, motion_path):
    job = pipe.prepare(PICTURE, motion_path, make_settings(fps=50))
    assert (len(job), job.fps) == (24, 50)
    forced = pipe.prepare(PICTURE, motion_path, make_settings(preset="original", fps=50, window=8))
    assert len(forced) == 12


def test_the_original_pads_computes_and_cuts(rgb_pipe):
    video = rgb_pipe(PICTURE, MOTION[:3], preset="original", steps=1, size="32x32")
    padded = np.concatenate([MOTION[:3], np.repeat(MOTION[2:3], 13, 0)])
    whole = rgb_pipe(PICTURE, padded, preset="original", steps=1, size="32x32")
    assert len(video) == 3
    assert np.array_equal(video.frames, whole.frames[:3])
    assert not np.array_equal(video.frames, rgb_pipe(PICTURE, MOTION[:3], steps=1, guidance=7.5, size="32x32").frames)


def test_the_original_ignores_the_aspect_ratio_and_cuts_off_bits(rgb_pipe):
    wide = np.concatenate([PICTURE, PICTURE], axis=1)
    job = rgb_pipe.prepare(wide, MOTION[:2], make_settings(preset="original"))
    assert job.frame.size == (64, 64)
    assert np.array_equal(job.image_HWC, np.asarray(Image.fromarray(wide).resize((64, 64), Image.Resampling.LANCZOS)))
    assert job.fps == 25
    rounded = rgb_pipe(PICTURE, MOTION[:2], steps=1, size="32x32").frames.astype(int)
    cut = rgb_pipe(PICTURE, MOTION[:2], steps=1, size="32x32", truncate=True).frames.astype(int)
    assert set(np.unique(rounded - cut)) == {0, 1}


def test_raw_colors_reach_an_rgb_model_only_in_the_original(rgb_pipe):
    shifted = np.clip(MOTION[:2].astype(int) - 3, 0, 255).astype(np.uint8)
    original = rgb_pipe.prepare(PICTURE, shifted, make_settings(preset="original")).signal
    ours = rgb_pipe.prepare(PICTURE, shifted, make_settings()).signal
    assert np.array_equal(original.rgb(range(2)), shifted)
    assert np.array_equal(ours.rgb(range(2)), MOTION[:2])


def test_loop_closes_the_windows(pipe):
    looped = pipe(PICTURE, MOTION, steps=1, loop=True).frames
    assert looped.shape == (10, 64, 64, 3)


@pytest.mark.parametrize(
    ("image", "motion", "message"),
    [
        (PICTURE.astype(float), MOTION, "The picture must be"),
        (PICTURE[..., 0], MOTION, "The picture must be"),
        (PICTURE, MOTION[0], "The motion must be"),
        (PICTURE, MOTION[:0], "The motion must be"),
    ],
)
def test_arrays_of_the_wrong_kind(pipe, image, motion, message):
    with pytest.raises(InputError, match=message):
        pipe(image, motion)


def test_too_large_a_window_is_refused(pipe):
    with pytest.raises(InputError, match="too long"):
        pipe(PICTURE, np.repeat(MOTION, 2, 0), steps=1, window=20)


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (lambda: torch.empty(2**60, dtype=torch.uint8), r"memory for this video: \d+ bytes more were needed; choose"),
        (
            lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0")),
            "2.50 GiB more",
        ),
        (lambda: _raise(MemoryError()), "memory for this video; choose a smaller --size"),
    ],
)
def test_running_out_of_memory_is_one_sentence(fails, message):
    with pytest.raises(InputError, match=message), memory_explained():
        fails()


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), memory_explained():
        _raise(RuntimeError("shapes do not fit"))


def _raise(error):
    raise error


def test_a_video_shows_itself_in_a_notebook(pipe, tmp_path):
    import base64
    import re

    html = pipe(PICTURE, MOTION[:4], steps=1)._repr_html_()
    found = re.fullmatch(
        r'<video controls [^>]*width="64" height="64" src="data:video/mp4;base64,([^"]+)"></video>', html
    )
    assert found is not None
    (tmp_path / "v.mp4").write_bytes(base64.b64decode(found[1]))
    assert len(list(open_clip(tmp_path / "v.mp4"))) == 4


def test_the_pipeline_tells_its_notes_to_logging(pipe, caplog):
    with caplog.at_level("INFO", logger="magicanimate"):
        pipe(PICTURE, MOTION[:2], steps=1)
    assert any("scaled" in record.message or "motion" in record.message.lower() for record in caplog.records)


def test_an_unknown_option_of_from_pretrained(model_folder):
    with pytest.raises(InputError, match="no 'quantise'; did you mean quantize"):
        MagicAnimatePipeline.from_pretrained(model_folder, quantise="int8")
    with pytest.raises(InputError, match="choose from quantize, offload"):
        MagicAnimatePipeline.from_pretrained(model_folder, xyz=1)


def test_the_library_speaks_of_no_option_of_the_command_line(pipe, tmp_path):
    video = pipe(PICTURE, MOTION[:2], steps=1)
    video.save(tmp_path / "v.mp4")
    with pytest.raises(InputError, match="say overwrite=True") as caught:
        video.save(tmp_path / "v.mp4")
    assert "--" not in str(caught.value)
