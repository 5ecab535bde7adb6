"""The benchmark of real clips tells a good result from a bad one, and drives library and command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks import real_clips

from filmed import film, scene

FRAMES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory, opengl):
    folder = tmp_path_factory.mktemp("clips")
    film(folder / "walker.mp4", scene(4, 6)[0])
    return folder


def test_the_truth_is_better_than_a_copy_and_noise_is_worse(folder):
    clip = real_clips.read_clip(folder / "walker.mp4", 2, FRAMES, 256)
    assert clip.truth_FHWC.shape == (FRAMES, 256, 256, 3)
    assert clip.fps == pytest.approx(12.5 / 2)
    assert 0.02 < clip.person_FHW.mean() < 0.6
    noise = np.random.default_rng(0).normal(0, 2, clip.truth_FHWC.shape)
    near = np.clip(clip.truth_FHWC + noise, 0, 255).astype(np.uint8)
    copy = np.repeat(clip.truth_FHWC[:1], FRAMES, 0)
    truth, close, still = (real_clips.figures(x, clip) for x in (clip.truth_FHWC, near, copy))
    for key in ("psnr", "person_psnr", "ssim"):
        assert truth[key] > close[key] > still[key]
    assert truth["dtssd"] == 0 < close["dtssd"] < still["dtssd"]
    wrong_inside = np.where(clip.person_FHW[..., None], copy, clip.truth_FHWC)
    inside = real_clips.figures(wrong_inside, clip)
    assert inside["psnr"] > still["psnr"]
    assert inside["person_psnr"] == pytest.approx(still["person_psnr"])


def test_the_first_frame_which_was_given_does_not_count(folder):
    clip = real_clips.read_clip(folder / "walker.mp4", 2, FRAMES, 256)
    black = clip.truth_FHWC.copy()
    black[0] = 0
    assert real_clips.figures(black, clip) == real_clips.figures(clip.truth_FHWC, clip)
    black[1] = 0
    assert real_clips.figures(black, clip)["psnr"] < 100


def test_library_and_command_line_are_compared_with_a_copy(folder, tmp_path, capsys):
    given = ["--clips", str(folder), "--step", "2", "--frames", str(FRAMES), "--side", "256", "--preset", "fast"]
    real_clips.main([*given, "--cli", "--sheet", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "real_clips.json").read_text())
    rows = report["clips"]["walker"]
    assert list(rows) == list(report["mean"]) == ["copy", "preview", "fast", "command line"]
    assert rows["preview"]["person_psnr"] > rows["copy"]["person_psnr"]
    assert report["mean"]["preview"]["person_psnr_behind"] == 0
    assert all(row["psnr"] > 15 and row["seconds"] > 0 for name, row in rows.items() if name != "copy")
    assert "walker" in capsys.readouterr().out
    assert (tmp_path / "walker.png").stat().st_size > 1000


def test_a_folder_without_the_clips_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="holds none of the clips"):
        real_clips.main(["--clips", str(tmp_path)])
