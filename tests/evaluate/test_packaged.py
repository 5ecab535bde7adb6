"""Figures by weights that come inside packages: faces and ImageNet features."""

from __future__ import annotations

import json

import numpy as np
import pytest
from magicanimate.evaluate.catalog import FACE, FACES_SEEN, LITE
from PIL import Image
from typer.testing import CliRunner

from evaluate.clips import clip, noisy, write_frames
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.media.pictures import load_picture


@pytest.fixture(scope="module")
def faces():
    pytest.importorskip("dlib", reason="the extra identity is not installed")
    pytest.importorskip("face_recognition_models", reason="the extra identity is not installed")
    from magicanimate.evaluate.packaged import FaceIdentity

    return FaceIdentity()


@pytest.fixture(scope="module")
def lite():
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra eval is not installed")
    from magicanimate.evaluate.packaged import LiteFeatures

    return LiteFeatures()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A photograph that ships with scikit-image, a woman's head and shoulders [256, 256, 3]."""
    data = pytest.importorskip("skimage.data", reason="the extra eval is not installed")
    return np.ascontiguousarray(data.astronaut()[:256, 96:352])


def test_a_face_stays_itself_through_noise(faces, portrait):
    target = np.stack([portrait, portrait[:, ::-1]])
    figures = faces.figures(noisy(target, 8), target)
    assert faces.figures(target, target) == {FACE: 0.0, FACES_SEEN: 1.0}
    assert 0 < figures[FACE] < 0.5
    assert figures[FACES_SEEN] == 1.0


def test_a_face_that_is_gone_is_counted(faces, portrait):
    target = np.stack([portrait, portrait])
    hidden = target.copy()
    hidden[1] = 128
    assert faces.figures(hidden, target) == {FACE: 0.0, FACES_SEEN: 0.5}
    nobody = faces.figures(target, np.full_like(target, 128))
    assert np.isnan([nobody[FACE], nobody[FACES_SEEN]]).all()


@pytest.mark.real
def test_other_people_are_other_faces(faces, portrait, real_inputs):
    """More than dlib's 0.6 from one another, where faces are found at all."""
    paths = sorted([*(real_inputs / "source_image").iterdir(), *(real_inputs.parent / "real" / "photos").glob("*.jpg")])
    pictures = [Image.fromarray(load_picture(path)) for path in paths]
    for picture in pictures:
        picture.thumbnail((320, 320))
    found = [face for face in map(faces.embed, [portrait, *map(np.array, pictures)]) if face is not None]
    assert len(found) > 2
    others = [np.linalg.norm(found[0] - face) for face in found[1:]]
    assert min(others) > 0.6


def test_features_know_more_than_pixels(lite, portrait):
    """A blur of the same mean squared error is farther than a brighter picture."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(portrait.astype(float), (3, 3, 0))
    error = np.sqrt(np.mean((blurred - portrait) ** 2))
    brighter = portrait + error * np.sign(128.0 - portrait.mean())
    as_frames = [np.clip(x, 0, 255).astype(np.uint8)[None] for x in (blurred, brighter, portrait)]
    assert lite.figures(as_frames[2], as_frames[2])[LITE] == 0
    assert lite.figures(as_frames[0], as_frames[2])[LITE] > 2 * lite.figures(as_frames[1], as_frames[2])[LITE]


def test_more_noise_is_farther_and_batches_do_not_count(lite):
    target, _ = clip(0)
    target = np.concatenate([target] * 3)
    near, far = (lite.figures(noisy(target, amount), target)[LITE] for amount in (5, 40))
    assert 0 < near < far
    halves = [lite.figures(noisy(target, 40)[part], target[part])[LITE] for part in (slice(0, 12), slice(12, 24))]
    assert np.mean(halves) == pytest.approx(far, rel=1e-4)


def test_they_are_in_the_report_under_their_own_names(faces, lite, portrait, tmp_path):
    for name, frames in (("pred", noisy(np.stack([portrait] * 3), 6)), ("target", np.stack([portrait] * 3))):
        write_frames(tmp_path / name, frames)
    out = tmp_path / "report"
    arguments = [str(tmp_path / "pred"), str(tmp_path / "target"), "-o", str(out), "--faces", "--lite"]
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 0, result.stderr
    report = json.loads((out / "report.json").read_text())["result"]
    block = report["blocks"]["consistency"]
    assert {FACE, FACES_SEEN, LITE} <= set(block)
    assert block[FACES_SEEN]["value"] == 1.0
    notes = {note["metric"]: note["sha256"] for note in report["networks"]}
    assert len(notes[FACE]) == len(notes[LITE]) == 64
    text = (out / "report.md").read_text()
    assert FACE in text
    assert LITE in text


def test_without_the_package_a_sentence_says_which_extra(monkeypatch):
    import magicanimate.evaluate.packaged as packaged

    def missing(name: str):
        raise ImportError(name)

    monkeypatch.setattr(packaged, "import_module", missing)
    with pytest.raises(InputError, match=r"magicanimate\[identity\]"):
        packaged.FaceIdentity()
    with pytest.raises(InputError, match=r"magicanimate\[eval\]"):
        packaged.LiteFeatures()
