"""Drawn people in `animate`: as control planes, as what the detail network mends, and alone (preview)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from magicanimate import InputError, MagicAnimatePipeline
from magicanimate.animation.settings import make_settings
from magicanimate.conditions.drawings import DrawingPlanes, drawing_planes
from magicanimate.media.framing import Frame
from magicanimate.models.config import WARP_PLANES
from magicanimate.models.model import Model, load_model, save_model
from magicanimate.networks.detail import build_detail, mend_drawing, new_detail, unsure_pixels
from magicanimate.person.scene import BACKGROUND, FILLED, GUESSED, KNOWN, DrawnFrame
from magicanimate.serve.page.examples import SHELF
from magicanimate.train.model_surgery import with_warp_input
from random_models import awaken, random_model

SIZE, STRIDE = 64, 8
SHOWN = {"max_frames": 3, "steps": 1}


def drawn(seed: int = 0, kind: int = KNOWN) -> DrawnFrame:
    """A square person of one kind in the middle of noise."""
    rng = np.random.default_rng(seed)
    kinds = np.zeros((SIZE, SIZE), np.uint8)
    kinds[16:48, 16:48] = kind
    return DrawnFrame(
        rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8), np.where(kinds > 0, 255, 0).astype(np.uint8), kinds
    )


def full_model(**config) -> Model:
    """A random model that is shown the drawing and has a detail network."""
    detail = new_detail(4, (16, 16))
    awaken(detail)
    return replace(random_model("parts", warp_input=True, **config), detail=detail.eval())


def test_planes_are_the_drawings_colors_and_how_well_they_are_known():
    frame = Frame((SIZE, SIZE), (SIZE, SIZE))
    planes = drawing_planes(drawn(), frame, STRIDE)
    assert planes.shape == (WARP_PLANES, SIZE // STRIDE, SIZE // STRIDE)
    means = drawn().frame_HWC.reshape(8, 8, 8, 8, 3).mean((1, 3))
    shown = (planes[:48].unflatten(0, (3, 16)).mean(1).movedim(0, -1) + 1) * 127.5
    np.testing.assert_allclose(shown.numpy(), means, atol=1)
    assert (planes[48] == 1).all()
    assert not torch.equal(drawing_planes(drawn(1), frame, STRIDE), planes)
    guessed = drawing_planes(drawn(kind=GUESSED), frame, STRIDE)[48]
    assert 0.4 < guessed[4, 4] < 0.6
    assert guessed[0, 0] == 1
    assert drawing_planes(drawn(kind=FILLED), frame, STRIDE)[48, 4, 4] == 0


def test_planes_are_silent_without_a_scene():
    planes = DrawingPlanes(None, Frame((SIZE, SIZE), (SIZE, SIZE)), STRIDE)([0, 1])
    assert planes.shape == (2, WARP_PLANES, SIZE // STRIDE, SIZE // STRIDE)
    assert not planes.any()


def test_a_model_that_is_given_the_drawing_predicts_as_before_until_it_is_trained():
    before = random_model("parts", patch=4)
    after = with_warp_input(before)
    assert after.config.control_planes == before.config.control_planes + WARP_PLANES
    planes = torch.rand(2, after.config.control_planes, 16, 16)
    embed = after.control.embed
    torch.testing.assert_close(embed(planes), before.control.embed(planes[:, :25]))
    after.control.controlnet_cond_embedding.conv_in.weight.data[:, 25:] += 0.1
    assert not torch.allclose(embed(planes), before.control.embed(planes[:, :25]))
    assert with_warp_input(after) is after


def test_a_folder_keeps_the_detail_network(tmp_path):
    model = full_model()
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    for name, value in model.detail.state_dict().items():
        assert torch.equal(value, again.detail.state_dict()[name])
    save_model(replace(model, detail=None), tmp_path / "plain")
    assert load_model(tmp_path / "plain").detail is None


def test_what_does_not_fit_is_named(tmp_path):
    model = full_model()
    with pytest.raises(InputError, match="detail needs pictures in steps of 32 pixels"):
        save_model(replace(model, detail=new_detail(16, (16, 16))), tmp_path / "model")
    with pytest.raises(InputError, match="detail network's configuration"):
        build_detail({"no_such": 1})
    with pytest.raises(ValueError, match="multiple of 4"):
        random_model("parts", warp_input=True, control_patch=2)


@torch.no_grad()
def test_what_is_known_stays_to_the_bit_and_what_is_guessed_is_mended():
    network, decoded = full_model().detail, drawn(7).frame_HWC
    guessed = drawn(kind=GUESSED)
    mended = mend_drawing(network, guessed, decoded)
    sure = unsure_pixels(guessed) == 0
    assert (mended[sure] == guessed.frame_HWC[sure]).all()
    assert (mended[24:40, 24:40] != guessed.frame_HWC[24:40, 24:40]).mean() > 0.5
    known = drawn(kind=KNOWN)
    assert (unsure_pixels(known)[24:40, 24:40] == 0).all()
    assert (mend_drawing(network, known, decoded)[24:40, 24:40] == known.frame_HWC[24:40, 24:40]).all()
    assert mend_drawing(None, guessed, decoded) is guessed.frame_HWC
    nobody = replace(guessed, kind_HW=np.full((SIZE, SIZE), BACKGROUND, np.uint8))
    assert mend_drawing(network, nobody, decoded) is nobody.frame_HWC


@pytest.fixture(scope="module")
def pipe() -> MagicAnimatePipeline:
    return MagicAnimatePipeline(full_model())


def test_a_picture_is_drawn_in_its_own_shape(pipe):
    example = SHELF["studio"]
    full = pipe(example.picture, example.motion, **SHOWN)
    assert full.frames.shape[1:3] == _picture(example.picture).shape[:2]
    one_by_one = pipe(example.picture, example.motion, **SHOWN, decode_chunk=1).frames
    assert np.abs(full.frames.astype(int) - one_by_one).max() <= 1
    plain = pipe(example.picture, example.motion, **SHOWN, detail=False)
    assert not np.array_equal(full.frames, plain.frames)
    preview = pipe(example.picture, example.motion, **SHOWN, preset="preview")
    alike = (np.abs(preview.frames.astype(int) - full.frames).max(-1) <= 1).mean()
    assert 0.8 < alike < 1, "the networks change what is unsure, and nothing else"


def test_the_picture_decides_the_shape(pipe):
    example = SHELF["studio"]
    tall = np.pad(np.asarray(_picture(example.picture)), ((64, 0), (0, 0), (0, 0)), mode="edge")
    job = pipe.prepare(tall, example.motion, make_settings(max_frames=2))
    assert job.size == tall.shape[:2]
    assert job.frame.size[0] > job.frame.size[1]
    old = pipe.prepare(tall, example.motion, make_settings(max_frames=2, size="motion"))
    assert old.size[0] == old.size[1]


def _picture(path) -> np.ndarray:
    from magicanimate.media import load_picture

    return load_picture(path)


def test_a_picture_of_nobody_says_so(pipe):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    video = pipe(noise, SHELF["studio"].motion, **SHOWN)
    assert "No person was recognized" in " ".join(video.settings["warnings"])
    assert len(video) == 3
    with pytest.raises(InputError, match="No person was recognized"):
        pipe(noise, SHELF["studio"].motion, **SHOWN, preset="preview")
