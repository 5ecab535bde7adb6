"""The benchmark of people whose parts or joints are known tells a good fit from a bad one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks import real_pairs
from PIL import Image

from magicanimate.media import load_picture
from magicanimate.person.find import find_person
from magicanimate.serve.page.examples import SHELF


def test_parts_of_the_fit_itself_agree_and_moved_ones_do_not(tmp_path):
    picture = SHELF["hills"].picture
    person = find_person(load_picture(picture))
    assert person is not None
    agreed = []
    for shift in (0, 40):
        parts_HW = np.roll(person.parts_HW, shift, 1)
        Image.fromarray(np.dstack([np.zeros_like(parts_HW)] * 2 + [parts_HW])).save(tmp_path / "iuv.png")
        Image.fromarray((parts_HW > 0).astype(np.uint8)).save(tmp_path / "inds.png")
        agreed += real_pairs.parts_agreement(picture, tmp_path / "iuv.png", tmp_path / "inds.png")
    same, moved = agreed
    assert same["body_iou"] == same["parts_iou"] == 1
    assert moved["parts_iou"] < moved["body_iou"] < 0.8


def test_joints_are_read_in_both_forms():
    numbered = [[float(i), 100.0 + i, 0.0] for i in range(33)]
    named = {"nose": {"x": 0.0, "y": 100.0}}
    for name, (_, left) in real_pairs._JOINTS.items():
        for side, index in (("left", left), ("right", left + 1)):
            named[f"{side}_{name}"] = {"x": float(index), "y": 100.0 + index}
    (one, top), (other, other_top) = real_pairs._points(numbered), real_pairs._points(json.loads(json.dumps(named)))
    assert one.shape == (12, 2)
    assert (one == other).all()
    assert top == other_top == pytest.approx(100)
