"""Edits of a motion in an animation: what is drawn moves as the edited motion does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from magicanimate.animation.job import Job, prepare_job
from magicanimate.animation.settings import make_settings
from magicanimate.cli.main import app
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
