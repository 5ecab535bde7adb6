"""The stage detail, and stage 1 of a model that is shown the warp, on colored blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from blocks import configuration, settings, weights, write_blocks
from magicanimate.errors import InputError
from magicanimate.models.model import load_model
from magicanimate.networks.detail import CHANNELS, PATCH, new_detail, patch_of, sizes_of
from magicanimate.person.scene import BACKGROUND, GUESSED, KNOWN
from magicanimate.synth.dataset import open_dataset
from magicanimate.train.detail import DetailSettings, initial_network, nearest_truth
from magicanimate.train.log import LOG
from magicanimate.train.run import run
from magicanimate.train.views import MIRRORED_PARTS, ViewSettings
from magicanimate.train.warps import small_frames, with_errors

CPU = torch.device("cpu")
DETAIL = {
    "patch": 4,
    "channels": [16, 16],
    "clips": 4,
    "crop": 16,
    "wrong_frame": 0.5,
    "adversarial": 0.01,
    "tolerance": 1,
}


def write_drawn(data_folder, folder) -> None:
    """Drawings as of people, so that blocks, who are none, can be learned from: shifted, and guessed in part."""
    data, rng = open_dataset(data_folder), np.random.default_rng(0)
    clips = DETAIL["clips"]
    folder.mkdir(parents=True, exist_ok=True)
    truth = np.stack([data.rgb(i)[1:] for i in range(clips)])
    parts = np.stack([data.parts(i)[1:] for i in range(clips)])
    kind = np.where(parts > 0, rng.choice([KNOWN, GUESSED], parts.shape), BACKGROUND).astype(np.uint8)
    np.save(folder / "drawn.rgb.npy", np.roll(truth, 1, -2))
    np.save(folder / "drawn.alpha.npy", np.where(parts > 0, 255, 0).astype(np.uint8))
    np.save(folder / "drawn.kind.npy", kind)
    np.save(folder / "drawn.found.npy", np.arange(clips) < clips - 1)


def detail_settings(trained, folder, **changes):
    content = configuration(trained, "appearance") | {"stage": "detail", "out": str(folder / "detail")}
    for name in ("vae_folder", "model", "networks", "branches"):
        del content[name]
    content |= {"start": str(trained / "appearance" / "model"), "detail": DETAIL, "preview": {"steps": 2}}
    write_drawn(Path(content["data"]), folder / "detail")
    return settings(folder / "detail.yaml", content | changes)


def test_the_nearest_truth_follows_what_is_off_its_place():
    truth = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    output = truth.roll((2, -1), (2, 3))
    inside = (..., slice(6, -6), slice(6, -6))
    body = torch.ones(2, 1, 32, 32, dtype=torch.bool)
    assert torch.equal(nearest_truth(output, truth, body, 2)[inside], output[inside])
    assert not torch.equal(nearest_truth(output, truth, body, 1)[inside], output[inside])
    assert torch.equal(nearest_truth(output, truth, body, 0), truth)
    assert torch.equal(nearest_truth(truth, truth, body, 3), truth)


def test_outlines_stay_where_they_are():
    body = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    body[..., 10:22] = True
    truth = body.expand(1, 3, 32, 32).float()
    thinner = torch.zeros_like(truth)
    thinner[..., 12:20] = 1
    assert torch.equal(nearest_truth(thinner, truth, body, 3), truth)
    everywhere = torch.ones_like(body)
    assert torch.equal(nearest_truth(thinner, truth, everywhere, 3)[:, :, 8:-8], thinner[:, :, 8:-8])


def test_a_network_of_other_sizes_is_a_fresh_one():
    own = new_detail(4, (16, 16))
    for asked in ({}, {"patch": 4}, {"channels": (16, 16)}, {"patch": 4, "channels": (16, 16)}):
        assert initial_network(own, DetailSettings(**asked)) is own
    finer = initial_network(own, DetailSettings(patch=2))
    assert (patch_of(finer), sizes_of(finer)) == (2, CHANNELS)
    assert sizes_of(initial_network(own, DetailSettings(channels=(8, 16)))) == (8, 16)
    fresh = initial_network(None, DetailSettings())
    assert (patch_of(fresh), sizes_of(fresh)) == (PATCH, CHANNELS)


def test_it_learns_resumes_and_ends_in_a_model(trained, tmp_path):
    result = run(detail_settings(trained, tmp_path), CPU)
    model = load_model(result)
    assert model.detail is not None
    samples = np.load(tmp_path / "detail" / "samples.npy")
    assert samples.shape[0] == 4
    assert samples.std() > 0
    log = [json.loads(line) for line in (tmp_path / "detail" / "log.jsonl").read_text().splitlines()]
    assert any("grid" in line for line in log)
    start = weights(trained / "appearance" / "model")
    kept = {name: value for name, value in weights(result).items() if not name.startswith("detail.")}
    assert all(torch.equal(value, start[name]) for name, value in kept.items())

    other = tmp_path / "interrupted"
    other.mkdir()
    loop = configuration(trained, "appearance")["loop"]
    run(detail_settings(trained, other, loop=loop | {"steps": 2, "decay": 0.0}), CPU)
    run(detail_settings(trained, other, loop=loop | {"decay": 0.0}), CPU)
    whole = tmp_path / "whole"
    whole.mkdir()
    run(detail_settings(trained, whole, loop=loop | {"decay": 0.0}), CPU)
    one, two = (weights(folder / "detail" / "model") for folder in (other, whole))
    assert all(torch.equal(one[name], two[name]) for name in two)
    assert not all(torch.equal(one[name], value) for name, value in weights(result).items()), "another rate"


def test_clips_of_nobody_are_refused(trained, tmp_path):
    chosen = detail_settings(trained, tmp_path)
    np.save(tmp_path / "detail" / "drawn.found.npy", np.zeros(DETAIL["clips"], bool))
    with pytest.raises(InputError, match="No person was found in the training clips"):
        run(chosen, CPU)


def test_a_crop_that_does_not_fit(trained, tmp_path):
    with pytest.raises(InputError, match=r"detail\.crop must be a multiple of 8"):
        run(detail_settings(trained, tmp_path, detail=DETAIL | {"crop": 20}), CPU)
    with pytest.raises(InputError, match="stage detail needs detail"):
        detail_settings(trained, tmp_path, detail=None)


def test_stage_1_goes_on_with_the_warp(trained, tmp_path):
    content = configuration(trained, "appearance")
    for name in ("vae_folder", "model", "networks"):
        del content[name]
    content |= {"start": str(trained / "appearance" / "model"), "warp_input": True, "out": str(tmp_path / "warp")}
    content["branches"] |= {"drop_warp": 0.2, "wrong_warp": 0.5}
    model = load_model(run(settings(tmp_path / "warp.yaml", content), CPU))
    assert model.config.warp_input
    assert model.control.controlnet_cond_embedding.conv_in.weight[:, 25:].any(), "it learns to see it"
    content |= {"out": str(tmp_path / "weighted"), "branches": content["branches"] | {"unknown_weight": 5.0}}
    run(settings(tmp_path / "weighted.yaml", content), CPU)
    first = [json.loads((tmp_path / name / LOG).read_text().splitlines()[0])["loss"] for name in ("warp", "weighted")]
    assert first[0] != first[1]


def test_small_frames_are_made_once_and_follow_the_views(tmp_path):
    write_blocks(tmp_path / "data", 6, 5)
    parts = np.load(tmp_path / "data" / "00000000.parts.npy")
    np.save(tmp_path / "data" / "00000000.person.npy", (parts > 0) | np.roll(parts > 0, 3, -1))
    data = open_dataset(tmp_path / "data")
    small = small_frames(data, tmp_path, 4, ViewSettings(count=2))
    assert small.pictures.shape == (2 * len(data), data.settings.frames, 32, 32, 3)
    assert np.array_equal(small.pictures[0], data.rgb(0))
    assert np.array_equal(small.pictures[len(data)], data.rgb(0)[:, :, ::-1])
    assert np.array_equal(small.own[len(data)], MIRRORED_PARTS[data.own(0)[:, :, ::-1]])
    assert np.array_equal(small.parts[0], data.parts(0))
    assert not np.array_equal(small.own, small.parts)
    before = (tmp_path / "small.parts.npy").stat().st_mtime_ns
    small_frames(data, tmp_path, 4, ViewSettings(count=2))
    assert (tmp_path / "small.parts.npy").stat().st_mtime_ns == before


def test_errors_of_a_found_map():
    parts = np.zeros((64, 64), np.uint8)
    parts[10:50, 20:40], parts[10:20, 20:40] = 2, 23
    wrong = [with_errors(parts, np.random.default_rng(seed)) for seed in range(20)]
    assert any(not np.array_equal(w, parts) for w in wrong)
    assert all(set(np.unique(w)) <= {0, 2, 23} for w in wrong)
    assert all((w > 0).sum() <= (parts > 0).sum() for w in wrong)
