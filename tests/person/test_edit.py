"""Corrections of the person in a picture: read, refused, and drawn."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from magicanimate.animation.job import prepare_job
from magicanimate.animation.person_edit import begin_person_edit
from magicanimate.animation.settings import make_settings
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.media.pictures import place
from magicanimate.models.config import read_config
from magicanimate.models.locations import model_folder
from magicanimate.person import edit as module
from magicanimate.person.edit import PersonEdit, parse_person_edit, read_person_edit
from magicanimate.person.find import find_person
from magicanimate.serve.page.examples import SHELF

PICTURE, MOTION = SHELF["studio"].picture, SHELF["studio"].motion
WRIST = {"left_wrist": [10, 20]}


def mask(*size: int, value: int = 255) -> str:
    png = io.BytesIO()
    Image.fromarray(np.full(size, value, np.uint8)).save(png, "PNG")
    return base64.b64encode(png.getvalue()).decode()


def edit(**changes: Any) -> str:
    return json.dumps({"size": [64, 64], "joints": WRIST} | changes)


BAD = {
    "not JSON": ("{", "not JSON"),
    "no object": ("[1]", "not an object"),
    "no size": (json.dumps({"joints": WRIST}), "not an object such as"),
    "strange size": (edit(size=[64, "64"]), "not [HEIGHT, WIDTH]"),
    "huge size": (edit(size=[64, 10**9]), "not [HEIGHT, WIDTH]"),
    "unknown entry": (edit(jonits={}), "'jonits'"),
    "unknown joint": (edit(joints={"left_wirst": [1, 2]}), "did you mean left_wrist"),
    "outside": (edit(joints={"nose": [65, 2]}), "nose is not at [X, Y] within its 64x64"),
    "no number": ('{"size": [64, 64], "joints": {"nose": [NaN, 1]}}', "nose is not at"),
    "joints of another kind": (edit(joints=[1]), "joints are not an object"),
    "nothing": (edit(joints={}), "neither joints nor a mask"),
    "no base64": (edit(mask="é"), "not a PNG in base64"),
    "no PNG": (edit(mask=base64.b64encode(b"GIF89a").decode()), "not a PNG in base64"),
    "damaged PNG": (edit(mask=mask(64, 64)[:60]), "not a PNG in base64"),
    "mask of another size": (edit(mask=mask(64, 65)), "mask has 65x64 pixels"),
    "empty mask": (edit(mask=mask(64, 64, value=0)), "mask is empty"),
    "another picture": (edit(size=[64, 80]), "80x64 pixels, and this one is 128x128"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_sentence(tmp_path, kind):
    content, message = BAD[kind]
    path = tmp_path / "person.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_person_edit(str(path), (128, 128))
    sentence = str(refused.value)
    assert message in sentence
    assert str(path) in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert read_person_edit(edit(), (128, 128)).joints == {"left_wrist": (10.0, 20.0)}


def test_missing_and_too_large_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_person_edit(str(tmp_path / "no.json"), (64, 64))
    (tmp_path / "large.json").write_text(edit())
    assert read_person_edit(str(tmp_path / "large.json"), (64, 64)).joints
    monkeypatch.setattr(module, "EDIT_BYTES", len(edit()) - 1)
    with pytest.raises(InputError, match="more than 0 MB"):
        read_person_edit(str(tmp_path / "large.json"), (64, 64))


def test_the_command_line_says_it_too(tmp_path):
    (tmp_path / "person.json").write_text(edit(joints={"tail": [1, 2]}))
    command = ["animate", str(PICTURE), str(MOTION), "-o", str(tmp_path / "out.mp4"), "--max-frames", "1"]
    result = CliRunner().invoke(app, [*command, "--person-edit", str(tmp_path / "person.json")])
    assert result.exit_code == 2
    assert "there is no joint 'tail'" in result.stderr.splitlines()[-1]


def test_several_people_cannot_be_corrected():
    settings = make_settings(preset="preview", person_edit=edit(size=[512, 512]))
    with pytest.raises(InputError, match="corrects one person"):
        prepare_job(read_config(model_folder("tiny")), 8, [PICTURE, PICTURE], MOTION, settings)


def test_an_edit_lands_in_the_frame():
    drawn = np.zeros((64, 128), np.uint8)
    drawn[16:48, 32:96] = 255
    given = PersonEdit((64, 128), {"nose": (64.0, 16.0)}, drawn)
    assert given.placed(place((64, 128), (64, 128)), (64, 128)) is given
    larger = given.placed(place((256, 512), (128, 256)), (256, 512))
    assert larger.size == (128, 256)
    assert larger.joints["nose"] == (128, 32)
    assert larger.mask_HW is not None
    assert (larger.mask_HW[34:94, 66:190] > 250).all()
    assert not larger.mask_HW[:28].any()
    cropped = given.placed(place((64, 128), (64, 64)), (64, 128))
    assert cropped.joints["nose"] == (32, 16)


def test_a_hard_mask_gets_a_soft_edge_and_a_soft_one_stays():
    hard = np.zeros((64, 64), np.uint8)
    hard[16:48] = 255
    soft = hard.copy()
    soft[15] = 100
    read = [parse_person_edit(PersonEdit((64, 64), {}, each).to_json()).mask_HW for each in (hard, soft)]
    assert set(np.unique(np.asarray(read[0]))) > {0, 255}
    assert np.array_equal(np.asarray(read[1]), soft)


def test_hands_follow_wrists_unless_they_are_given(picture):
    found = find_person(picture)
    assert found is not None
    assert found.track is not None
    wrist, index = (module.NAMES.index(f"left_{name}") for name in ("wrist", "index"))
    before_J2 = found.track.points_FJ3[0, :, :2]
    x, y = before_J2[wrist] + (30, -20)
    size = (picture.shape[0], picture.shape[1])
    after, moved = module.correct_track(found.track, PersonEdit(size, {"left_wrist": (x, y)}))
    assert moved
    assert after.points_FJ3[0, index, :2] - before_J2[index] == pytest.approx([30, -20], abs=1e-3)
    both = {"left_wrist": (x, y), "left_index": tuple(before_J2[index].tolist())}
    alone, _ = module.correct_track(found.track, PersonEdit(size, both))
    assert alone.points_FJ3[0, index, :2] == pytest.approx(before_J2[index])
    assert after.world_FJ3 is not None
    assert found.track.world_FJ3 is not None
    assert after.world_FJ3[0, wrist, 2] > found.track.world_FJ3[0, wrist, 2]


def test_who_was_not_found_is_found_by_their_joints(picture):
    nobody = np.full_like(picture, 90)
    known = begin_person_edit(picture)
    assert find_person(nobody) is None
    assert find_person(nobody, PersonEdit(known.size, {"left_wrist": (10, 20)})) is None
    person, found = find_person(nobody, known), find_person(picture)
    assert person is not None
    assert found is not None
    both = (person.parts_HW > 0) & (found.parts_HW > 0)
    assert both.sum() > 0.6 * (found.parts_HW > 0).sum()


def test_a_moved_joint_and_a_brushed_mask_change_the_drawing_and_an_unchanged_edit_does_not(tmp_path):
    start, small = tmp_path / "person.json", tmp_path / "small.png"
    Image.open(PICTURE).resize((256, 256)).save(small)
    result = CliRunner().invoke(app, ["motion", str(small), "-o", str(start)])
    assert result.exit_code == 0, result.stderr
    known = parse_person_edit(start.read_text())
    assert known.mask_HW is not None
    x, y = known.joints["left_wrist"]
    brushed_HW = known.mask_HW.copy()
    brushed_HW[:75] = 0
    config = read_config(model_folder("tiny"))

    def drawn(given: str | Path | None) -> np.ndarray:
        settings = make_settings(preset="preview", max_frames=1, person_edit=None if given is None else str(given))
        job = prepare_job(config, 8, small, MOTION, settings)
        assert job.scene is not None
        return job.scene(0).frame_HWC.astype(int)

    plain = drawn(None)
    assert (drawn(start) == plain).all()
    moved = replace(known, joints={**known.joints, "left_wrist": (x + 20, y - 15)})
    assert np.abs(drawn(moved.to_json()) - plain).mean() > 0.5
    assert np.abs(drawn(replace(known, mask_HW=brushed_HW).to_json()) - plain)[:50].mean() > 0.5
