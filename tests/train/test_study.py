"""Training of what the study compares with: the adversarial baseline, the stand-in network, image data of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from blocks import write_blocks
from magicanimate.errors import InputError
from magicanimate.evaluate.stand_in import StandinFrames, load_standin
from magicanimate.networks.gan import PatchDiscriminator, animate, build_generator, draw, load_generator
from magicanimate.synth.dataset import open_dataset
from magicanimate.train.cache import LatentCache
from magicanimate.train.config import read_settings
from magicanimate.train.diffusion import BranchSettings, draw_batch
from magicanimate.train.gan import GanStage
from magicanimate.train.loop import LOG
from magicanimate.train.preview import held_out
from magicanimate.train.run import run

CPU = torch.device("cpu")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("study")
    write_blocks(root / "train", 24, 3)
    write_blocks(root / "test", 4, 3)
    return root


def settings(root: Path, out: Path, stage: str, steps: int, **more: object):
    content = {
        "stage": stage, "out": str(out), "data": str(root / "train"), "held_out": str(root / "test"),
        "loop": {"steps": steps, "batch": 4, "lr": 2e-3, "warmup": 5, "ema": 0.9, "grid_every": steps, "log_every": 5},
    }  # fmt: skip
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(content | more))
    return read_settings(path)


def test_the_generator_learns_and_can_be_loaded(data, tmp_path):
    chosen = settings(data, tmp_path / "gan", "gan", 100, generator={"patch": 4, "channels": [32, 32]})
    generator = load_generator(run(chosen, CPU))
    lines = [json.loads(line) for line in (tmp_path / "gan" / LOG).read_text().splitlines()]
    pixels = [line["pixels"] for line in lines if "pixels" in line]
    assert pixels[-1] < 0.75 * pixels[0]
    test = open_dataset(data / "test")
    frames = animate(generator, test.rgb(0)[0], test.parts(0)[0], test.parts(0))
    assert frames.shape == test.rgb(0).shape
    other = animate(generator, test.rgb(1)[0], test.parts(0)[0], test.parts(0))
    assert np.abs(frames.astype(int) - other).mean() > 5  # it follows the reference
    with pytest.raises(InputError, match="no generator"):
        load_generator(tmp_path)


def test_each_network_of_the_pair_gets_its_own_gradient_only(data):
    """The generator's gradient is that of pixels and judgment; the discriminator's that of the hinge alone."""
    torch.manual_seed(0)
    test = open_dataset(data / "test")
    people = held_out(test, 2)
    own = np.stack([test.parts(i)[0] for i in range(2)])

    def gradients(adversarial: float) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        stage = GanStage(build_generator(4, (32, 32)), test, people, own, adversarial, CPU)
        loss, _ = stage.loss(np.random.default_rng(0), torch.Generator(), 2)
        loss.backward()
        generator, discriminator = stage.modules["generator"], stage.modules["discriminator"]
        return generator.conv_in.weight.grad.clone(), discriminator.head.weight.grad.clone()

    (quiet, judge), (loud, same_judge) = gradients(0.0), gradients(10.0)
    assert not torch.allclose(quiet, loud)
    torch.testing.assert_close(judge, same_judge)


def test_the_discriminator_sees_the_part_map():
    discriminator = PatchDiscriminator(4)
    picture, planes = torch.rand(1, 3, 32, 32), torch.rand(1, 25, 8, 8)
    assert not torch.allclose(discriminator(picture, planes), discriminator(picture, 1 - planes))


def test_drawing_takes_both_part_maps():
    generator = build_generator(4, (32, 32))
    picture = torch.rand(1, 3, 32, 32)
    maps = [torch.full((1, 32, 32), part, dtype=torch.uint8) for part in (0, 2)]
    with torch.no_grad():
        first = draw(generator, picture, maps[0], maps[1])
        assert first.shape == picture.shape
        assert not torch.allclose(first, draw(generator, picture, maps[1], maps[1]))
        assert not torch.allclose(first, draw(generator, picture, maps[0], maps[0]))


def test_the_stand_in_learns_where_parts_are(tmp_path):
    write_blocks(tmp_path / "train", 24, 3, size=128, block=48)
    write_blocks(tmp_path / "test", 6, 3, size=128, block=48)
    result = run(settings(tmp_path, tmp_path / "standin", "standin", 60), CPU)
    figures = [json.loads(line) for line in (tmp_path / "standin" / LOG).read_text().splitlines()][-1]["grid"]
    assert figures["body_cells"] > 0.4
    frames, clips = load_standin(result)
    assert isinstance(frames, StandinFrames)
    test = open_dataset(tmp_path / "test")
    found = frames.parts(test.rgb(0))
    body = test.parts(0) > 0
    assert (found == 2)[body].mean() > 0.4 > 2 * (found == 2)[~body].mean()
    windows = np.repeat(test.rgb(0)[:1], 16, 0)[None]
    still = clips.features(windows)
    assert still.shape == (1, clips.dimensions)
    assert (still[0, frames.dimensions :] == 0).all()  # nothing changes in it
    assert clips.features(windows[:0]).shape == (0, clips.dimensions)


@pytest.mark.parametrize("stage", ["appearance", "temporal"])
def test_images_of_their_own_are_drawn_in_their_share(stage):
    data = LatentCache(np.zeros((5, 9, 1, 1, 1)), np.zeros((5, 9, 25, 1, 1)))
    images = LatentCache(np.zeros((50, 2, 1, 1, 1)), np.zeros((50, 2, 25, 1, 1)))
    choice = BranchSettings(stage=stage, window=4, tau_0=0.3, tau_1=0.3, tau_2=0.5, targets=2)
    drawn = [draw_batch(np.random.default_rng(i), choice, data, 4, images) for i in range(400)]
    assert np.mean([b.images for b in drawn]) == pytest.approx(0.3, abs=0.07)
    for batch in drawn:
        if batch.images:
            assert (batch.targets[:, 0] == batch.references).all()
            assert batch.targets.max() < 2
            assert batch.targets.size == 4 * (2 if stage == "appearance" else 4)
        else:
            assert batch.clips.max() < 5
            assert (batch.targets != batch.references[:, None]).all()
    if stage == "temporal":
        assert np.mean([b.branch == "pair" for b in drawn]) == pytest.approx(0.2, abs=0.07)


def test_a_configuration_may_extend_another(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({"stage": "vae", "loop": {"steps": 3, "batch": 2}, "data": "a"}))
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump({"extends": "base.yaml", "loop": {"steps": 9}, "out": "o", "held_out": "h", "vae": {}})
    )
    found = read_settings(tmp_path / "own.yaml")
    assert (found.loop.steps, found.loop.batch, str(found.data)) == (9, 2, "a")
    (tmp_path / "lost.yaml").write_text("extends: nowhere.yaml\n")
    with pytest.raises(InputError, match=r"nowhere\.yaml is missing"):
        read_settings(tmp_path / "lost.yaml")


def test_configurations_of_the_study_parse():
    paths = [CONFIGS / "standin.yaml", *(CONFIGS / "ablations").glob("*.yaml"), *(CONFIGS / "baselines").glob("*.yaml")]
    found = {path.stem: read_settings(path) for path in paths}
    assert found["global"].networks.appearance == found["no_encoder"].networks.appearance == "global"
    assert found["global"].model.reference_input < found["no_encoder"].model.reference_input
    assert (found["published"].model.noise, found["appearance"].model.noise) == ("shared", "static")
    assert found["joint"].images
    assert found["videos"].images is None
    assert found["videos_temporal"].images is None
