"""`magicanimate train prepare`: real small videos of rendered people, through the real command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("moderngl", reason="moderngl is not installed")

from filmed import FPS, SIZE, blurred, film, scene
from magicanimate.cli.main import app
from magicanimate.data.prepare import run as prepare_run
from magicanimate.data.prepare.settings import PrepareSettings
from magicanimate.data.prepare.sources import find_sources, share_of
from magicanimate.parts.densepose import LOOSE, resize_parts
from magicanimate.synth.dataset import open_dataset

pytestmark = [pytest.mark.egl, pytest.mark.usefixtures("opengl")]
OPTIONS = ["--frames", "6", "--size", "64", "--gap", "0.4", "--workers", "1"]
SETTINGS = PrepareSettings(frames=6, size=64, gap=0.4)


def command(*arguments: object, options: list[str] = OPTIONS):
    return CliRunner().invoke(app, ["train", "prepare", *map(str, arguments), *options])


@pytest.fixture(scope="module")
def mapped(tmp_path_factory) -> Path:
    """Videos with part maps beside them, in three folders; nothing has to be extracted."""
    root = tmp_path_factory.mktemp("mapped")
    (anna, anna_parts), (bert, bert_parts) = scene(0), scene(5)
    film(root / "one" / "anna.mp4", np.concatenate([anna, bert]), np.concatenate([anna_parts, bert_parts]))
    film(root / "two" / "bert.mp4", bert, bert_parts)
    film(root / "three" / "anna.mp4", anna[::-1], anna_parts[::-1])
    return root


@pytest.fixture(scope="module")
def done(mapped, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "data"
    result = command(mapped, "-o", out)
    assert result.exit_code == 0, result.output
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def records(out: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (out / "sources").glob("*.json")}


def test_clips_show_the_source_at_the_times_of_the_index(done):
    """Pictures and parts of every clip, against what was filmed; at other times they differ."""
    data, index = open_dataset(done / "train"), json.loads((done / "train" / "index.json").read_text())
    films = {
        "one/anna.mp4": [np.concatenate(pair) for pair in zip(scene(0), scene(5), strict=True)],
        "two/bert.mp4": list(scene(5)),
        "three/anna.mp4": [stack[::-1] for stack in scene(0)],
    }
    assert len(data) == len(index["clips"]) >= 8
    assert {clip["source"] for clip in index["clips"]} == set(films)
    for i, clip in enumerate(index["clips"]):
        rgb, parts = films[clip["source"]]
        first, reference = round(clip["start"] * FPS), round(clip["reference"] * FPS)
        frames = np.array([reference, *range(first, first + 5)])
        assert round(clip["end"] * FPS) == first + 5
        assert reference not in frames[1:]
        true, fit = cropped(parts[frames], clip["crop"]), cropped(rgb[frames], clip["crop"])
        assert (data.parts(i) != true).mean() < 0.06
        own = np.abs(data.rgb(i)[1:].astype(int) - fit[1:]).mean()
        other = np.abs(data.rgb(i)[1:].astype(int) - fit[:1]).mean()
        assert own < 12
        assert own < other
        assert min(margin(data.parts(i))) >= (0 if clip["padding"] == 0 else 1)


def cropped(stack: np.ndarray, crop: dict) -> np.ndarray:
    """The square of each frame at 64 pixels, by nearest pixel; the border repeated where it leaves the frame."""
    at = np.clip(crop["top"] + np.arange(crop["side"]), 0, SIZE - 1)
    across = np.clip(crop["left"] + np.arange(crop["side"]), 0, SIZE - 1)
    square = stack[:, at[:, None], across[None]]
    if square.ndim == 3:
        return resize_parts(square, (64, 64))
    return np.stack([np.asarray(Image.fromarray(frame).resize((64, 64))) for frame in square])


def margin(parts: np.ndarray) -> tuple[int, int]:
    """Pixels left free around the person above and below, over all frames."""
    rows = np.flatnonzero((parts > 0).any((0, 2)))
    return int(rows[0]), int(parts.shape[1] - 1 - rows[-1])


def test_scenes_are_not_mixed(done):
    """The cut between the two people is at 14 frames; no clip has a frame of both."""
    index = json.loads((done / "train" / "index.json").read_text())
    sides = [
        {time < 14 / FPS - 1e-3 for time in (clip["start"], clip["end"] - 1 / FPS, clip["reference"])}
        for clip in index["clips"]
        if clip["source"] == "one/anna.mp4"
    ]
    assert all(len(side) == 1 for side in sides)
    assert {side.pop() for side in sides} == {True, False}


def test_same_again_and_from_two_processes(mapped, done, tmp_path):
    result = command(mapped, "-o", tmp_path / "two", options=[*OPTIONS[:-1], "2"])
    assert result.exit_code == 0, result.output
    assert content(tmp_path / "two") == content(done)
    shards = [data for name, data in content(done).items() if name.endswith(".npy")]
    assert len(set(shards)) == len(shards) >= 8  # what is equal there is not equal by itself


def test_interrupted_run_leaves_whole_shards_and_goes_on(mapped, done, tmp_path):
    def stop_after_the_first(finished: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        prepare_run.prepare(mapped, out, SETTINGS, progress=stop_after_the_first)
    assert len(records(out)) == 1
    assert 0 < len(open_dataset(out / "train")) < len(open_dataset(done / "train"))
    first = next((out / "sources").iterdir())
    before = first.stat().st_mtime_ns
    assert command(mapped, "-o", out).exit_code == 0
    assert content(out) == content(done)
    assert first.stat().st_mtime_ns == before  # not done again


def test_lost_shard_is_made_again(mapped, done, tmp_path):
    shutil.copytree(done, tmp_path / "data")
    lost = next((tmp_path / "data" / "train").glob("*.parts.npy"))
    lost.unlink()
    assert command(mapped, "-o", tmp_path / "data").exit_code == 0
    assert content(tmp_path / "data") == content(done)


def test_forgetting_deletes_what_was_made_of_files_that_are_gone(mapped, done, tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "data"
    shutil.copytree(mapped, videos)
    shutil.copytree(done, out)
    (out / "train" / "latents").mkdir()
    shutil.rmtree(videos / "two")
    assert command(videos, "-o", out).exit_code == 0
    assert len(records(out)) == 3  # kept, in case they come back, but not in the index
    assert "two/bert.mp4" not in (out / "train" / "index.json").read_text()
    assert command(videos, "-o", out, "--forget").exit_code == 0
    assert len(records(out)) == 2
    left = {path.name.split("-")[0] for path in (out / "train").glob("*.npy")}
    assert left == set(records(out))
    assert not (out / "train" / "latents").exists()
    assert len(open_dataset(out / "train")) > 0


def test_other_settings_or_another_folder_change_nothing(mapped, done, tmp_path):
    before = content(done)
    result = command(mapped, "-o", done, "--max-seconds", "5")
    assert result.exit_code == 2
    assert "other settings (max_seconds is 20.0 there)" in result.output
    (tmp_path / "alien").mkdir()
    (tmp_path / "alien" / "thesis.txt").write_text("x")
    result = command(mapped, "-o", tmp_path / "alien")
    assert result.exit_code == 2
    assert "not empty" in result.output
    assert content(tmp_path / "alien") == {"thesis.txt": b"x"}
    result = command(mapped, "-o", tmp_path / "alien" / "thesis.txt")
    assert result.exit_code == 2
    assert "is a file" in result.output
    assert content(done) == before


def test_settings_that_cannot_be_read_are_one_sentence(mapped, done, tmp_path):
    shutil.copytree(done, tmp_path / "data")
    (tmp_path / "data" / "prepare.json").write_text("{")
    result = command(mapped, "-o", tmp_path / "data")
    assert result.exit_code == 2
    assert "prepare.json cannot be read" in result.output
    assert "Traceback" not in result.output


def test_sides_of_the_split_share_no_source(mapped, tmp_path):
    """The share is set between those of the sources, whatever bytes this machine's encoder wrote."""
    everything, _, _ = find_sources(mapped, tmp_path / "half", SETTINGS)
    shares = sorted(share_of(source.sha256) for source in everything)
    result = command(mapped, "-o", tmp_path / "half", "--held-out", (shares[0] + shares[1]) / 2)
    assert result.exit_code == 0, result.output
    train, test = (json.loads((tmp_path / "half" / side / "index.json").read_text()) for side in ("train", "held_out"))
    sides = [{clip["sha256"] for clip in index["clips"]} for index in (train, test)]
    assert [len(side) for side in sides] == [2, 1]
    assert sides[0].isdisjoint(sides[1])
    assert (train["settings"]["split"], test["settings"]["split"]) == ("train", "test")


def test_folders_stay_together_if_asked_to(tmp_path):
    for name in "abcdefgh":
        for folder in "xyz":
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.mp4").write_text(folder + name)

    def sides(split_by: str, share: float) -> list[set[bool]]:
        settings = PrepareSettings(held_out=share, split_by=split_by)
        found, _, _ = find_sources(tmp_path, tmp_path / "out", settings)
        return [{s.held_out for s in found if s.name.startswith(folder)} for folder in "xyz"]

    assert all(len(side) == 1 for share in (0.2, 0.5, 0.8) for side in sides("folder", share))
    assert any(len(side) == 2 for side in sides("source", 0.5))
    assert sides("source", 0.0) == [{False}] * 3


@pytest.mark.parametrize(
    ("files", "sentence"),
    [({}, "holds no videos"), ({"notes.txt": b"x"}, "holds no videos"), ({"a.mp4": b"noise" * 99}, "damaged")],
)
def test_nothing_to_prepare(tmp_path, files, sentence):
    for name, data in ({".keep": b""} | files).items():
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(data)
    result = command(tmp_path / "videos", "-o", tmp_path / "data")
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
    assert command(tmp_path / "missing", "-o", tmp_path / "data").exit_code == 2


def test_unknown_extractor_and_control_are_refused_before_work(mapped, tmp_path):
    for arguments, word in ((["--controls", "normals"], "normals"), (["--split-by", "age"], "age")):
        result = command(mapped, "-o", tmp_path / "data", *arguments)
        assert result.exit_code == 2
        assert word in result.output
    film(tmp_path / "videos" / "a.mp4", scene(0)[0][:3])
    result = command(tmp_path / "videos", "-o", tmp_path / "data", "--extractor", "guess")
    assert result.exit_code == 2
    assert "guess" in result.output
    result = command(tmp_path / "videos", "-o", tmp_path / "other", "--extractor", "densepose", "--controls", "pose")
    assert result.exit_code == 2
    assert "parts only" in result.output


def why(root: Path, out: Path) -> dict[str, set[str]]:
    """Source -> reasons for which something of it was left out."""
    sources, _, _ = find_sources(root, out, SETTINGS)
    return {s.name: {item["reason"] for item in records(out)[s.key]["dropped"]} for s in sources}


def test_what_cannot_be_learnt_from_is_left_out(tmp_path):
    """Part maps are given, so nothing is extracted; the good one stays, and without bounds others do too."""
    root = tmp_path / "videos"
    rgb, parts = scene(0)
    far = np.pad(rgb[:8, ::5, ::5], [(0, 0), (40, 40), (40, 40), (0, 0)], mode="edge")
    far_parts = np.pad(parts[:8, ::5, ::5], [(0, 0), (40, 40), (40, 40)])
    film(root / "good.mp4", rgb[:8], parts[:8])
    film(root / "blurred.mp4", blurred(rgb[:8]), parts[:8])
    film(root / "statue.mp4", rgb[[3] * 8], parts[[3] * 8])
    film(root / "short.mp4", rgb[:4], parts[:4])
    film(root / "maps.mp4", rgb[:9], parts)
    film(root / "far.mp4", far)
    np.savez(root / "far.densepose.npz", parts=far_parts)  # too small to be told from its colors
    film(root / "edge.mp4", rgb[:8, :, 40:88], parts[:8, :, 40:88])
    bounds = ["--min-sharpness", "0.8", "--max-padding", "0.2"]
    assert command(root, "-o", tmp_path / "data", *bounds).exit_code == 0
    assert why(root, tmp_path / "data") == {
        "good.mp4": set(), "blurred.mp4": {"blurred"}, "statue.mp4": {"still"}, "short.mp4": {"too short"},
        "maps.mp4": {"bad parts"}, "far.mp4": {"too small"}, "edge.mp4": {"off frame"},
    }  # fmt: skip
    open_bounds = ["--min-sharpness", "0", "--max-padding", "1", "--min-motion", "0", "--min-person", "0"]
    assert command(root, "-o", tmp_path / "all", *open_bounds).exit_code == 0
    left = {name for name, found in why(root, tmp_path / "all").items() if found}
    assert left == {"short.mp4", "maps.mp4"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> tuple[Path, Path, str]:
    """A folder as people have them, without part maps: what is good, and what is not."""
    root, out = tmp_path_factory.mktemp("mixed"), tmp_path_factory.mktemp("data") / "data"
    good = film(root / "good.mp4", scene(5)[0])
    film(root / "two.mp4", scene(11)[0][:8])
    film(root / "empty.mp4", np.full((8, SIZE, SIZE, 3), np.arange(SIZE, dtype=np.uint8)[:, None, None]))
    data = good.read_bytes()
    (root / "cut.mp4").write_bytes(data[: len(data) // 2])
    (root / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    shutil.copy(good, root / "twice.mp4")
    Image.fromarray(scene(4)[0][0]).save(root / "picture.png")
    (root / "notes.txt").write_text("filmed in May")
    result = command(root, "-o", out, "--controls", "pose,depth", "--held-out", "0")
    assert result.exit_code == 0, result.output
    return root, out, result.output


def test_each_thing_that_is_left_out_is_named_and_counted(mixed):
    root, out, said = mixed
    assert why(root, out) == {
        "good.mp4": set(), "picture.png": set(), "two.mp4": {"several people"}, "empty.mp4": {"no person"},
        "cut.mp4": {"damaged"}, "noise.mp4": {"damaged"},
    }  # fmt: skip
    _, repeated, others = find_sources(root, out, SETTINGS)
    assert [source.name for source in repeated] == ["twice.mp4"]
    assert others == 1
    assert "Neither videos nor pictures: 1" in said
    assert all(name in said for name in ("two.mp4", "empty.mp4", "cut.mp4, noise.mp4", "twice.mp4"))
    assert "2 x damaged" in said
    assert "good.mp4" not in said
    assert {clip["source"] for clip in json.loads((out / "train" / "index.json").read_text())["clips"]} == {"good.mp4"}


def test_extracted_controls_lie_on_the_person(mixed):
    """Silhouettes of parts and depth against the generator's truth; on the wrong frame's mirror image they do not."""
    _, out, _ = mixed
    data, index = open_dataset(out / "train"), json.loads((out / "train" / "index.json").read_text())
    _, truth = scene(5)

    def overlap(a, b):
        return (a & b).sum() / (a | b).sum()

    for i, clip in enumerate(index["clips"]):
        first = round(clip["start"] * FPS)
        true = cropped(truth[first : first + 5], clip["crop"]) > 0
        parts, depth, pose = data.parts(i)[1:] > 0, data.control("depth", i)[1:], data.control("pose", i)[1:]
        assert overlap(parts, true) > 0.55
        assert overlap(parts, true[:, :, ::-1]) < overlap(parts, true)
        assert overlap(parts, depth > 0) > 0.95
        person = data.own(i)[1:] > 0
        assert overlap(person, true) > 0.55
        assert (data.own(i) == LOOSE).any(), "hair and clothes are known"
        assert pose.shape == (5, 64, 64, 3)
        drawn = pose.max(-1) > 0
        assert 0.005 < drawn.mean() < 0.2
        assert (drawn & true).sum() > 0.6 * drawn.sum()
        assert (drawn & true[:, :, ::-1]).sum() < (drawn & true).sum()
        assert clip["figures"]["agreement"] > 0.4


def test_pictures_become_clips_of_two_equal_frames(mixed):
    _, out, _ = mixed
    data = open_dataset(out / "images")
    assert (len(data), data.settings.frames, data.settings.fps) == (1, 2, None)
    assert (data.rgb(0)[0] == data.rgb(0)[1]).all()
    assert (data.parts(0) > 0).mean() > 0.05


def test_the_trainer_reads_it_unchanged(done, mixed, tmp_path):
    """One step of the VAE and of stage 1, with clips to learn from and pictures to test with."""
    common = {
        "data": str(done / "train"), "held_out": str(mixed[1] / "images"),
        "loop": {"steps": 1, "batch": 1, "lr": 1e-3, "save_every": 1, "grid_every": 1, "log_every": 1},
    }  # fmt: skip
    shutil.copytree(done / "train", tmp_path / "train")
    vae = common | {"stage": "vae", "out": str(tmp_path / "vae"),
                    "vae": {"patch": 8, "channels": [16, 16], "latent_channels": 4}}  # fmt: skip
    stage_1 = common | {
        "stage": "appearance", "out": str(tmp_path / "one"), "data": str(tmp_path / "train"),
        "vae_folder": str(tmp_path / "vae" / "vae"), "preview": {"steps": 1}, "preview_people": 1,
        "model": {"name": "own", "resolution": [64, 64], "control_encoding": "parts", "patch": 8, "norm_scope": "frame",
                  "window": 4, "overlap": 1},
        "networks": {"channels": [32, 32], "heads": 2, "text_width": 4, "control_channels": [8, 8], "positions": 8},
        "branches": {"stage": "appearance", "targets": 1},
    }  # fmt: skip
    for name, settings in (("vae", vae), ("one", stage_1)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        result = CliRunner().invoke(app, ["train", str(tmp_path / f"{name}.yaml")])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "one" / "model" / "model.json").is_file()


def test_help_tells_training_and_preparing_apart():
    for arguments, present, absent in (
        (["train", "--help"], "--set", "--max-padding"),
        (["train", "prepare", "--help"], "--max-padding", "--set"),
    ):
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "NO_COLOR": "1"})
        assert result.exit_code == 0
        assert present in result.output
        assert absent not in result.output
    result = CliRunner().invoke(app, ["train", "--set", "loop.steps=1", "prepared.yaml"])
    assert result.exit_code == 2
    assert "prepared.yaml is missing" in result.output
