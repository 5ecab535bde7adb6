"""The warped picture: as control planes, and as what the detail network takes pixels from."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from magicanimate import InputError, MagicAnimatePipeline
from magicanimate.animation.settings import make_settings
from magicanimate.conditions.warped import WarpSource
from magicanimate.media import load_picture
from magicanimate.models.config import WARP_PLANES
from magicanimate.models.model import Model, load_model, save_model
from magicanimate.motion.open import open_motion
from magicanimate.networks.detail import DetailSource, build_detail, new_detail
from magicanimate.parts.densepose import HEAD, render_parts
from magicanimate.person.warp import KNOWN, LOOSE, STAND_IN, PartWarp
from magicanimate.serve.page.examples import SHELF
from magicanimate.train.model_surgery import with_warp_input
from random_models import awaken, random_model

SIZE, STRIDE = 64, 8
SHOWN = {"max_frames": 3, "steps": 1}


def parts(shift: int = 0) -> np.ndarray:
    """A trunk and an arm to its right, which may hang lower."""
    out = np.zeros((SIZE, SIZE), np.uint8)
    out[16:48, 16:32], out[20 + shift : 28 + shift, 36:56] = 2, 19
    return out


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def full_model(**config) -> Model:
    """A random model that is shown the warp and has a detail network."""
    detail = new_detail(4, (16, 16))
    awaken(detail)
    return replace(random_model("parts", warp_input=True, **config), detail=detail.eval())


def test_planes_in_the_same_pose_are_the_pictures_own_colours():
    planes = WarpSource(picture(), parts(), STRIDE)(parts()[None])
    assert planes.shape == (1, WARP_PLANES, SIZE // STRIDE, SIZE // STRIDE)
    means = picture().reshape(8, 8, 8, 8, 3).mean((1, 3))
    shown = (planes[0, :48].unflatten(0, (3, 16)).mean(1).movedim(0, -1) + 1) * 127.5
    inside = (parts()[::STRIDE, ::STRIDE] > 0) & (planes[0, 48].numpy() == 1)
    assert inside.any()
    np.testing.assert_allclose(shown[inside].numpy(), means[inside], atol=1)
    moved = WarpSource(picture(), parts(), STRIDE)(parts(12)[None])
    assert not torch.equal(moved, planes)


def test_planes_are_silent_where_the_person_was_not_found():
    assert not WarpSource(picture(), None, STRIDE)(parts()[None]).any()
    assert WarpSource(picture(), parts(), STRIDE)(parts()[None]).any()


def test_hair_and_cloth_beside_a_part_move_with_it():
    reference = np.full((SIZE, SIZE, 3), 100, np.uint8)
    reference[parts() == 2], reference[parts() == 19] = 50, 200
    reference[28:31, 36:56] = 255  # a sleeve's hem below the arm
    warp = PartWarp(reference, parts())
    target = parts(12)
    _, (beyond, moved) = warp.with_surroundings(target)
    assert (beyond[40:43, 38:54] == 255).all()
    assert (moved[40:43, 38:54] == STAND_IN).all()
    assert (moved[target > 0] == 0).all()
    assert (warp(target).picture_HWC[40:43, 38:54] != 255).all()


def test_a_model_that_is_given_the_warp_predicts_as_before_until_it_is_trained():
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


def test_detail_needs_the_pictures_parts():
    network = full_model().detail
    decoded = torch.rand(1, 3, SIZE, SIZE)
    assert torch.equal(DetailSource(picture(), None)(network, decoded, parts()[None]), decoded)
    with torch.no_grad():
        out = DetailSource(picture(), parts())(network, decoded, parts()[None])
    assert not torch.equal(out, decoded)
    assert 0 <= out.min() <= out.max() <= 1


@torch.no_grad()
def test_who_is_not_in_the_picture_stays_as_decoded():
    network, decoded = full_model().detail, torch.rand(1, 3, SIZE, SIZE)
    whose = np.where(parts() == 19, 2, np.where(parts() == 2, 1, 0)).astype(np.uint8)[None]
    source = DetailSource(picture(), np.where(parts() == 2, 2, 0).astype(np.uint8), (parts() == 2).astype(np.uint8))
    out = source(network, decoded, parts()[None], people_NHW=whose)
    other = torch.from_numpy(whose == 2)
    assert torch.equal(out.movedim(1, -1)[other], decoded.movedim(1, -1)[other])
    assert not torch.isclose(out.movedim(1, -1)[~other], decoded.movedim(1, -1)[~other]).any(-1).all()


@pytest.fixture(scope="module")
def pipe() -> MagicAnimatePipeline:
    return MagicAnimatePipeline(full_model())


def test_a_real_picture_is_warped(pipe):
    example = SHELF["studio"]
    full = pipe(example.picture, example.motion, **SHOWN)
    one_by_one = pipe(example.picture, example.motion, **SHOWN, decode_chunk=1).frames
    assert np.abs(full.frames.astype(int) - one_by_one).max() <= 1
    plain = pipe(example.picture, example.motion, **SHOWN, detail=False)
    assert not np.array_equal(full.frames, plain.frames)
    config = pipe.model.config.model_copy(update={"warp_input": False})
    silent = replace(pipe.model, detail=None, control=random_model("parts").control, config=config)
    assert not np.array_equal(
        MagicAnimatePipeline(silent)(example.picture, example.motion, **SHOWN).frames, plain.frames
    )


def test_two_people_take_detail_from_two(pipe):
    examples = [SHELF["studio"], SHELF["stripes"]]
    both = np.concatenate([load_picture(example.picture) for example in examples], 1)
    motion = render_parts(
        np.concatenate([np.stack(list(islice(open_motion(example.motion), 3))) for example in examples], 2)
    )
    shown = SHOWN | {"size": (160, 320)}
    job, again = (pipe.prepare(both, motion, make_settings(**shown)) for _ in range(2))
    assert set(np.unique(job.image_people_HW)) == {0, 1, 2}
    assert set(np.unique(job.signal.people([0, 2]))) == {0, 1, 2}
    assert job.signal.people_FHW.tobytes() == again.signal.people_FHW.tobytes()
    assert not any("impression" in note for note in job.notes)
    frames, one_by_one = (
        np.stack(list(pipe.frames(pipe.prepare(both, motion, make_settings(**shown, decode_chunk=chunk)))))
        for chunk in (3, 1)
    )
    assert np.abs(frames.astype(int) - one_by_one).max() <= 1
    half = job.frame.size[1] // 2
    swapped = replace(job, image_people_HW=np.array([0, 2, 1], np.uint8)[job.image_people_HW])
    changed = np.abs(np.stack(list(pipe.frames(swapped))).astype(int) - frames) > 1
    assert changed[:, :, :half].any()
    assert changed[:, :, half:].any()
    assert set(np.unique(job.signal.padded(8).people([7]))) == {0, 1, 2}


def test_a_picture_of_nobody_goes_without(pipe):
    video = pipe(picture(), SHELF["studio"].motion, **SHOWN)
    assert "not known" in " ".join(video.settings["notes"])
    assert len(video) == 3


@torch.no_grad()
def test_trust_takes_the_pictures_own_pixels():
    network = new_detail(4, (16, 16)).eval()  # no correction, and mostly the decoded frame
    person = parts()
    person[4:14, 18:30] = HEAD[0]
    own = person.copy()
    own[4:14, 30:33] = LOOSE
    decoded, source = torch.rand(1, 3, SIZE, SIZE), DetailSource(picture(), own)
    warped, known = PartWarp(picture(), own)(person)
    certain = torch.from_numpy(known == KNOWN)
    target = (torch.from_numpy(warped).movedim(-1, 0)[None] / 255)[..., certain]
    frames = [source(network, decoded, person[None], trust) for trust in (0.0, 4.0, 50.0)]
    loose = torch.from_numpy(own == LOOSE)
    hair = torch.from_numpy(picture()).movedim(-1, 0)[None][..., loose] / 255
    torch.testing.assert_close(frames[2][..., loose], hair, atol=1e-3, rtol=0)
    assert (frames[0][..., loose] - hair).abs().mean() > 0.1
    learnt, some, much = (frame[..., certain] for frame in frames)
    torch.testing.assert_close(much, target, atol=1e-3, rtol=0)
    assert (learnt - target).abs().mean() > 0.1
    head, body = (torch.from_numpy(seen)[certain] for seen in (person >= HEAD[0], parts() > 0))
    off = (some - target).abs()
    assert off[..., head].mean() < 0.7 * off[..., body].mean(), "faces first"
