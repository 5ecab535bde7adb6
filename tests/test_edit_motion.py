"""Edits of a motion in an animation: what is drawn moves as the edited motion does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from magicanimate.animation.job import Job, prepare_job
from magicanimate.animation.settings import make_settings
from magicanimate.body.draw import draw_motion
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.media import open_clip
from magicanimate.models.config import ModelConfig
from magicanimate.serve.page.examples import SHELF
from motion.moving import dancer

BODY = dancer(24, 20.0)
PICTURE = SHELF["studio"].picture


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return BODY.save(tmp_path_factory.mktemp("edits") / "dance.npz")


def prepared(motion: Path, **settings: object) -> Job:
    config = ModelConfig(name="m", resolution=(128, 128))
    return prepare_job(config, 8, PICTURE, motion, make_settings(preset="preview", size="192x192", **settings))


def test_a_drawn_loop_runs_into_its_beginning(saved):
    seams = []
    for loop in (False, True):
        job = prepared(saved, loop=loop)
        assert job.scene is not None
        assert len(job) == len(BODY)
        first, last = (job.scene(index).frame_HWC.astype(int) for index in (0, len(job) - 1))
        seams.append(np.abs(first - last).mean())
    assert seams[1] < 0.5 * seams[0]


def test_speed_and_hold_change_the_length_of_the_video(saved, tmp_path):
    given = [PICTURE, saved, "-o", tmp_path / "a", "--size", "96x96", "--speed", 4, "--hold", 0.1, "--mirror"]
    result = CliRunner().invoke(app, ["animate", *map(str, given)])
    assert result.exit_code == 0, result.stderr
    assert len(list(open_clip(tmp_path / "a"))) == 6 + 2
    assert len(prepared(saved, speed=0.5, max_frames=24)) == 24


def test_motions_follow_each_other(saved, tmp_path):
    given = ["--image", PICTURE, "-m", saved, "-m", saved, "-o", tmp_path / "a", "--size", "96x96"]
    result = CliRunner().invoke(app, ["animate", *map(str, given)])
    assert result.exit_code == 0, result.stderr
    assert "were joined" in result.stderr.replace("\n", " ")
    assert len(list(open_clip(tmp_path / "a"))) == 2 * len(BODY) - 8


@pytest.fixture(scope="module")
def duo(tmp_path_factory) -> Path:
    """Part maps of two people side by side."""
    body = replace(dancer(4, 20.0), focal=400.0)
    halves = [
        [drawn["parts"] for drawn in draw_motion(body.moved(shift=(shift, 0)), kinds=("parts",))]
        for shift in (-130, 90)
    ]
    path = tmp_path_factory.mktemp("duo") / "duo.npz"
    np.savez(path, parts=np.maximum(*np.array(halves)))
    return path


def test_people_of_several_pictures_move_before_the_first(duo):
    config, settings = ModelConfig(name="m", resolution=(128, 128)), make_settings(preset="preview", align="none")
    pictures = [SHELF[name].picture for name in ("studio", "stripes")]
    job = prepare_job(config, 8, pictures, duo, settings)
    assert job.scene is not None
    assert len(job.scene.motions) == 2
    drawn, alone = job.scene(1), prepare_job(config, 8, pictures[::-1], duo, settings).scene
    assert alone is not None
    width = drawn.alpha_HW.shape[1]
    assert (drawn.alpha_HW[:, : width // 2] > 200).sum() > 2000
    assert (drawn.alpha_HW[:, width // 2 :] > 200).sum() > 2000
    left = drawn.alpha_HW[:, : width // 2] > 200
    exchanged = alone(1).frame_HWC[:, : width // 2]
    assert np.abs(drawn.frame_HWC[:, : width // 2].astype(int) - exchanged)[left].mean() > 10


def test_several_pictures_on_the_command_line(duo, tmp_path):
    given = ["-i", PICTURE, "-i", SHELF["stripes"].picture, "-m", duo, "-o", tmp_path / "a", "--size", "128x128"]
    result = CliRunner().invoke(app, ["animate", *map(str, given)])
    assert result.exit_code == 0, result.stderr
    assert len(list(open_clip(tmp_path / "a"))) == 4
    result = CliRunner().invoke(app, ["animate", *map(str, given), "--no-detail"])
    assert result.exit_code == 2


def test_more_pictures_than_people_is_one_sentence(saved, duo):
    config, settings = ModelConfig(name="m", resolution=(128, 128)), make_settings(preset="preview")
    for motion, count, said in ((saved, 2, "2 pictures were given and 1 person moves"), (duo, 3, "2 people move")):
        with pytest.raises(InputError, match=said):
            prepare_job(config, 8, [PICTURE] * count, motion, settings)
