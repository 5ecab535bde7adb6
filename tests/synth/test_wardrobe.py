"""Rich people: other pictures of the same bodies, drawn from a stream of their own."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("moderngl", reason="moderngl is not installed")

from magicanimate.body.rig import body_shape
from magicanimate.body.template import template
from magicanimate.synth.accessories import MAKERS, worn_pieces
from magicanimate.synth.clip import render_clip
from magicanimate.synth.dataset import INDEX, DatasetSettings, make_clip, open_dataset, write_dataset
from magicanimate.synth.outfit import random_outfit
from magicanimate.synth.wardrobe import enriched, random_further_light

pytestmark = pytest.mark.usefixtures("opengl")
SIZE = 64
TIMES = np.array([0.5, 6.0])


def _person(seed: int):
    rng = np.random.default_rng(seed)
    return enriched(random_outfit(np.random.default_rng(seed)), random_further_light(rng), rng)


@pytest.mark.parametrize("seed", [2, 9, 11])
def test_rich_changes_the_picture_only(seed):
    plain, rich, again = (render_clip(seed, TIMES, SIZE, rich=rich) for rich in (False, True, True))
    assert (rich.rgb == again.rgb).all()
    assert (rich.rgb != plain.rgb).any()
    assert (rich.parts == plain.parts).all()
    assert (rich.distance == plain.distance).all()
    assert (rich.points == plain.points).all()
    assert (render_clip(seed, TIMES, SIZE).rgb == plain.rgb).all(), "a rich clip leaves nothing behind"


def test_rich_place_is_the_same():
    plain, rich = (render_clip(3, TIMES, SIZE, rich=rich) for rich in (False, True))
    same = (plain.rgb == rich.rgb).all(-1)
    assert same[plain.parts == 0].mean() > 0.85  # accessories and wide clothes reach a little beyond the body


def test_most_people_wear_something_and_all_have_the_same_uniforms():
    people = [_person(seed) for seed in range(200)]
    names = {frozenset(set(person.uniforms) - {"lip"}) for person in people}
    assert len(names) == 1
    worn = [
        bool(person.pieces)
        or any(person.uniforms[name][0] != 0 for name in ("hat", "strap", "wrist"))
        or person.uniforms["belt"][1] > 0
        for person in people
    ]
    assert 0.55 < np.mean(worn) < 0.9
    assert {name for person in people for name in person.pieces} == set(MAKERS)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_pieces_are_close_to_the_body(name):
    for phenotype in ({}, {"height": 0.1, "weight": 0.9, "gender": 0.9}):
        shape = body_shape(phenotype)
        for vertices, (rows, columns) in worn_pieces(template(), shape, {name: (0.1, 0.2, 0.3)}):
            assert len(vertices) == rows * columns
            assert np.allclose(vertices[:, 31:34], (0.1, 0.2, 0.3)) or vertices[0, 31] < 0.1
            away = np.linalg.norm(vertices[:, None, :3] - shape.vertices[None], axis=-1).min(1)
            assert away.max() < 0.16
            assert away.min() < 0.06


def test_rich_data_are_the_same_from_another_process_and_older_data_open(tmp_path):
    settings = DatasetSettings(clips=2, frames=2, size=32, clips_per_shard=1, rich=True)
    write_dataset(tmp_path, settings, workers=2)
    data = open_dataset(tmp_path)
    assert data.settings.rich
    assert (data.rgb(1) == make_clip(1, settings).rgb).all()
    index = json.loads((tmp_path / INDEX).read_text())
    del index["settings"]["rich"]
    (tmp_path / INDEX).write_text(json.dumps(index))
    assert open_dataset(tmp_path).settings == replace(settings, rich=False)
