"""Clips as a phone films them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magicanimate.synth.camera_effects import random_filming
from magicanimate.synth.dataset import DatasetSettings, make_clip, open_dataset, write_dataset

SIZE = 64
PLAIN = DatasetSettings(clips=3, frames=2, size=SIZE)
FILMED = replace(PLAIN, filmed=True)
pytestmark = pytest.mark.usefixtures("opengl")


def seed_with(wanted) -> int:
    """The first seed whose clip is filmed as wanted."""
    return next(seed for seed in range(500) if wanted(random_filming(seed, SIZE, "train")[0]))


def test_a_seed_gives_the_same_clip_in_other_pictures():
    plain, filmed, again = make_clip(7, PLAIN), make_clip(7, FILMED), make_clip(7, FILMED)
    assert np.array_equal(filmed.rgb, again.rgb)
    assert not np.array_equal(filmed.rgb, plain.rgb)
    assert np.abs(filmed.rgb.astype(int) - plain.rgb).mean() < 30


def test_what_is_in_front_hides_parts_and_depth():
    seed = seed_with(lambda filming: filming.cover is not None)
    cover = random_filming(seed, SIZE, "train")[0].cover
    filmed, plain = make_clip(seed, FILMED), make_clip(seed, PLAIN)
    hidden = cover[..., 3] >= 0.5
    assert hidden.any()
    assert not filmed.parts[:, hidden].any()
    assert not filmed.distance[:, hidden].any()
    assert np.array_equal(filmed.parts[:, ~hidden], plain.parts[:, ~hidden])


def test_motion_blur_keeps_the_maps():
    seed = seed_with(lambda filming: filming.shutter > 0.03 and filming.cover is None)
    filmed, plain = make_clip(seed, FILMED), make_clip(seed, PLAIN)
    assert filmed.rgb.shape == plain.rgb.shape
    assert np.array_equal(filmed.parts, plain.parts)
    assert np.array_equal(filmed.points, plain.points)


def test_a_data_set_says_how_it_was_made(tmp_path):
    write_dataset(tmp_path / "filmed", FILMED)
    data = open_dataset(tmp_path / "filmed")
    assert data.settings.filmed
    assert np.array_equal(data.rgb(1), make_clip(1, FILMED).rgb)
