"""The matte of the shipped network on a generated person."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import magicanimate
from magicanimate.errors import InputError
from magicanimate.person import networks
from magicanimate.person.segmentation import segment_people

PICTURE = Path(magicanimate.__file__).parent / "assets" / "demo" / "picture.png"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.asarray(Image.open(PICTURE).convert("RGB"))


def test_the_person_is_covered_and_the_surroundings_are_not(picture):
    matte = segment_people(picture)
    assert matte.shape == picture.shape[:2]
    assert matte.dtype == np.float32
    assert 0 <= matte.min() <= matte.max() <= 1
    assert 0.05 < (matte > 0.5).mean() < 0.6
    assert matte[:, :8].mean() < 0.1
    middle = slice(matte.shape[1] * 4 // 10, matte.shape[1] * 6 // 10)
    assert matte[matte.shape[0] // 2, middle].max() > 0.9
    assert segment_people(np.full_like(picture, 128)).mean() < 0.05


def test_outside_the_box_there_is_nobody(picture):
    height, width = picture.shape[:2]
    whole = segment_people(picture)
    rows, columns = np.nonzero(whole > 0.5)
    left, top, right, bottom = columns.min() - 9, rows.min() - 9, columns.max() + 9, rows.max() + 9
    boxed = segment_people(picture, (left, top, right, bottom))
    outside = np.ones((height, width), bool)
    outside[max(0, top) : bottom, max(0, left) : right] = False
    assert not boxed[outside].any()
    assert ((boxed > 0.5) & (whole > 0.5)).sum() / ((boxed > 0.5) | (whole > 0.5)).sum() > 0.9
    assert not segment_people(picture, (width, 0, width + 5, 5)).any()


def test_threads_have_networks_of_their_own(picture):
    with ThreadPoolExecutor(2) as pool:
        there = list(pool.map(segment_people, [picture] * 4))
    assert all(np.array_equal(matte, segment_people(picture)) for matte in there)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setattr(networks, "_of_thread", networks.threading.local())
    with pytest.raises(InputError, match="pip install ai-edge-litert"):
        segment_people(np.zeros((8, 8, 3), np.uint8))
