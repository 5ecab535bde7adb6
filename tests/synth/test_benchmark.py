"""SynthDance-test: fixed people and motions, the same pixels whoever builds it, never half a clip."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("moderngl", reason="moderngl is not installed")

from typer.testing import CliRunner

from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.parts.densepose import LOOSE
from magicanimate.synth.benchmark import FRAMES, INDEX, PIXELS, build, compared, items, read_item, render_item

pytestmark = pytest.mark.usefixtures("opengl")
SIZE = 32


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dance") / "test"
    return folder, build(folder, SIZE, people=1, motions=2)


def test_forty_people_with_four_motions_each():
    plan = list(items())
    assert len({item.name for item in plan}) == len({item.motion for item in plan}) == 160
    assert len({item.person for item in plan}) == 40


def test_reading_gives_the_rendered_pixels(small):
    folder, _ = small
    first, second = items(1, 2)
    read = read_item(folder, first.name)
    assert read.rgb_FHWC.shape == (FRAMES + 1, SIZE, SIZE, 3)
    assert all((array == expected).all() for array, expected in zip(read, render_item(first, SIZE), strict=True))
    assert (read_item(folder, second.name).parts_FHW != read.parts_FHW).any()  # another motion


def test_the_references_own_map_has_hair_and_clothes(small):
    shown = read_item(small[0], next(items(1, 1)).name)
    loose = shown.own_HW == LOOSE
    assert loose.any()
    assert (shown.parts_FHW[0][loose] == 0).all()
    assert (shown.own_HW[~loose] == shown.parts_FHW[0][~loose]).mean() > 0.99


def test_building_again_adds_what_is_missing_and_keeps_the_hash(small):
    folder, digest = small
    first = next(items(1, 1)).name
    for file in (folder / "target" / first).iterdir():
        file.unlink()
    (folder / "target" / first).rmdir()
    assert build(folder, SIZE, people=1, motions=2) == digest
    assert (folder / "target" / first).is_dir()
    with pytest.raises(InputError, match="other settings"):
        build(folder, SIZE, people=1, motions=1)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = CliRunner().invoke(app, ["synth", str(tmp_path), "--benchmark", "--size", "32"])
    assert result.exit_code == 2
    assert "is not empty" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_the_index_says_what_it_is(small):
    content = json.loads((small[0] / INDEX).read_text())
    assert (content["name"], content["version"], content["sha256"]) == ("SynthDance-test", 2, small[1])
    assert len(np.unique(list(content["clips"].values()))) == 2


def test_a_clip_that_is_not_there_is_named(small):
    with pytest.raises(InputError, match="no clip p39_m3"):
        read_item(small[0], "p39_m3")


def test_pixels_are_compared_with_ours(small):
    assert compared(PIXELS[128], 128) != compared(small[1], 128)
    assert compared(small[1], SIZE) == "the first of this size"
