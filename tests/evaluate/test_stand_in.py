"""The stand-in network of the package: it tells people and poses apart, and never borrows another network's name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluate.clips import clip, noisy, write_frames
from magicanimate.cli.main import app
from magicanimate.evaluate.stand_in import WINDOW, StandinFrames, load_standin
from magicanimate.synth.dataset import clip_times


@pytest.fixture(scope="module")
def networks():
    return load_standin()


@pytest.fixture(scope="module")
def people(opengl):
    """Two frames each of six people whom no training has seen: pictures [6,2,H,W,3] and parts [6,2,H,W]."""
    from magicanimate.synth.clip import render_clip

    clips = [render_clip(seed, clip_times(seed, 2, None), 128, "test") for seed in range(9000, 9006)]
    return np.stack([c.rgb for c in clips]), np.stack([c.parts for c in clips])


def test_it_finds_the_parts_of_people_it_has_not_seen(networks, people):
    frames, _ = networks
    rgb, parts = people
    found = frames.parts(rgb[:, 0])
    body = parts[:, 0] > 0
    assert ((found > 0) & body).sum() / ((found > 0) | body).sum() > 0.7
    assert (found == parts[:, 0])[body].mean() > 0.5 > 2 * (found == np.roll(parts[:, 0], 1, 0))[body].mean()


def test_it_recognizes_them(networks, people):
    """Nearest by features is the same person in another pose; with the second frames shuffled it is not."""
    frames, _ = networks
    first, second = (frames.features(people[0][:, k]) for k in (0, 1))

    def recognized(other: np.ndarray) -> float:
        distance = np.linalg.norm(first[:, None] - other[None], axis=-1)
        return float((distance.argmin(1) == np.arange(len(first))).mean())

    assert recognized(second) > 0.8 > 0.3 > recognized(np.roll(second, 1, 0))


def test_windows_that_share_frames_are_as_good_as_alone(networks):
    frames, clips = networks
    assert isinstance(frames, StandinFrames)
    video = np.random.default_rng(0).integers(0, 255, (WINDOW + 2, 32, 32, 3)).astype(np.uint8)
    windows = np.stack([video[k : k + WINDOW] for k in range(3)])
    together = clips.features(windows)
    alone = np.concatenate([clips.features(window[None]) for window in windows])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    assert np.abs(together[0] - together[2]).max() > 1e-4


def test_the_command_prints_its_distances_under_their_own_names(tmp_path):
    for seed in range(2):
        target, _ = clip(seed, frames=WINDOW + 2)
        write_frames(tmp_path / "target" / f"v{seed}", target)
        write_frames(tmp_path / "same" / f"v{seed}", target)
        write_frames(tmp_path / "other" / f"v{seed}", noisy(target, 60))

    def distances(name: str) -> dict[str, float]:
        out = tmp_path / f"report-{name}"
        arguments = ["evaluate", str(tmp_path / name), str(tmp_path / "target"), "-o", str(out), "--stand-in"]
        result = CliRunner().invoke(app, [*arguments, "--size", "32", "--players", "0"])
        assert result.exit_code == 0, (result.stderr, result.exception)
        blocks = json.loads((out / "report.json").read_text())["result"]["blocks"]["correct"]
        assert not {"FID", "FID-VID", "FVD"} & set(blocks)
        return {metric: figure["value"] for metric, figure in blocks.items() if metric.startswith("stand-in")}

    same, other = distances("same"), distances("other")
    assert set(same) == {"stand-in frame distance", "stand-in clip distance"}
    for metric in same:
        assert abs(same[metric]) < 1e-6 < other[metric]
