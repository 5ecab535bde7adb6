"""`magicanimate evaluate`: folders in, a report out; bad input is one sentence and keeps what was finished."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluate.clips import clip, noisy, write_frames
from magicanimate.cli.main import app
from magicanimate.media.video import save_frames
from magicanimate.parts.densepose import render_parts

RUNNER = CliRunner()


def evaluate(*options: object):
    return RUNNER.invoke(app, ["evaluate", *map(str, options), "--size", "32", "--players", "1"])


def refused(result, *words: str) -> str:
    """One sentence with these words, and exit code 2."""
    assert result.exit_code == 2, (result.exit_code, result.stderr, result.exception)
    message = next(line for line in result.stderr.splitlines() if line.startswith("Error: "))
    for word in words:
        assert word in message, message
    assert "Traceback" not in result.stderr
    return message


@pytest.fixture
def folders(tmp_path) -> Path:
    """Three videos of eight frames as folders of frames: pred, target, parts."""
    for seed in range(3):
        target, parts = clip(seed)
        write_frames(tmp_path / "target" / f"v{seed}", target)
        write_frames(tmp_path / "pred" / f"v{seed}", noisy(target, 10 + 5 * seed))
        write_frames(tmp_path / "parts" / f"v{seed}", render_parts(parts))
    return tmp_path


def rows(out: Path) -> list[dict]:
    return [json.loads(line)["row"] for line in (out / "rows.jsonl").read_text().splitlines()]


def test_a_report(folders):
    out = folders / "report"
    result = evaluate(folders / "pred", folders / "target", "-o", out, "--parts", folders / "parts")
    assert result.exit_code == 0, (result.stderr, result.exception)
    report = json.loads((out / "report.json").read_text())
    assert report["result"]["videos"] == 3
    assert report["result"]["frames"] == 21
    assert report["comparable_with_tiktok"] is False
    assert report["command"].startswith("magicanimate evaluate ")
    assert "--size 32" in report["command"]
    blocks = report["result"]["blocks"]
    assert 0 < blocks["correct"]["SSIM"]["value"] < 1
    assert "Part color error" in blocks["consistency"]
    assert "FID" not in blocks["correct"]
    text = (out / "report.md").read_text()
    for word in ("FID is left out", "Not comparable with the TikTok table", "| v2 |", "95% interval", "numpy "):
        assert word in text
    page = (out / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 1
    assert "<svg" in page
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)  # nothing is fetched
    assert "Not comparable" in result.stdout


def test_repeating_measures_only_what_is_new(folders):
    out = folders / "report"
    assert evaluate(folders / "pred", folders / "target", "-o", out).exit_code == 0
    first = (out / "report.json").read_text()
    assert len(rows(out)) == 3
    assert evaluate(folders / "pred", folders / "target", "-o", out).exit_code == 0
    assert len(rows(out)) == 3
    assert (out / "report.json").read_text() == first
    np.save(folders / "pred" / "v1.npy", noisy(clip(1)[0], 50))
    for file in (folders / "pred" / "v1").iterdir():
        file.unlink()
    assert evaluate(folders / "pred", folders / "target", "-o", out).exit_code == 0
    assert [row["name"] for row in rows(out)] == ["v0", "v1", "v2", "v1"]
    assert (out / "report.json").read_text() != first


def test_two_single_videos_and_a_list(tmp_path):
    target, _ = clip(0)
    save_frames(iter(target), tmp_path / "dance.mp4", 25, {})
    save_frames(iter(noisy(target, 5)), tmp_path / "out.mp4", 25, {})
    options = (tmp_path / "out.mp4", tmp_path / "dance.mp4", "-o", tmp_path / "report")
    (tmp_path / "list.txt").write_text("# DisCo\ndance 8\n")
    result = evaluate(*options, "--tiktok-list", tmp_path / "list.txt")
    assert result.exit_code == 0, result.stderr
    assert "Not comparable with the TikTok table: the published protocol is 256x256" in result.stdout


def test_the_verdict_on_the_tiktok_table(tmp_path):
    from magicanimate.evaluate.evaluation import Evaluation, EvaluationSettings
    from magicanimate.evaluate.tiktok import judge

    evaluation = Evaluation()
    target, _ = clip(0, frames=3, side=256)
    evaluation.add("dance", target, target)
    listed = tmp_path / "list.txt"
    for text, comparable in (("dance 3", True), ("dance, 3\n", True), ("dance 4", False), ("dance 3\nother 3", False),
                             ("other 3", False)):  # fmt: skip
        listed.write_text(text)
        assert judge(listed, evaluation.rows, EvaluationSettings()).comparable is comparable, text
    listed.write_text("dance 3")
    assert not judge(listed, evaluation.rows, EvaluationSettings(size=128)).comparable
    assert not judge(None, evaluation.rows, EvaluationSettings()).comparable


def test_different_names_counts_and_sizes(folders):
    target, _ = clip(1)
    common = (folders / "pred", folders / "target", "-o", folders / "report")
    shorter = folders / "pred" / "v1"
    (shorter / "frame_00007.png").unlink()
    message = refused(evaluate(*common), "v1", "7 frames", "8")
    assert "1 of 3 videos" in message
    assert [row["name"] for row in rows(folders / "report")] == ["v0"]  # what was finished is kept
    for file in shorter.iterdir():
        file.unlink()
    shorter.rmdir()
    refused(evaluate(*common), "1 targets have no output of their name (v1)")
    write_frames(shorter, target[:, :, :24])
    refused(evaluate(*common), "24x32", "32x32")
    for file in shorter.iterdir():
        file.unlink()
    shorter.rmdir()
    write_frames(shorter, target)
    assert evaluate(*common).exit_code == 0
    assert [row["name"] for row in rows(folders / "report")] == ["v0", "v1", "v2"]


def test_nan_frames_and_odd_arrays(tmp_path):
    target, _ = clip(0)
    np.save(tmp_path / "target.npy", target)
    frames = target / 255.0
    np.save(tmp_path / "good.npy", frames)
    frames[3, 1, 1, 0] = np.nan
    np.save(tmp_path / "nan.npy", frames)
    np.save(tmp_path / "range.npy", target.astype(np.float32))
    np.save(tmp_path / "flat.npy", target[0])
    for name, words in (("nan", "frame 4 holds NaN"), ("range", "have to be in [0, 1]"), ("flat", "has shape")):
        refused(evaluate(tmp_path / f"{name}.npy", tmp_path / "target.npy", "-o", tmp_path / name), words)
    assert evaluate(tmp_path / "good.npy", tmp_path / "target.npy", "-o", tmp_path / "good").exit_code == 0
    assert rows(tmp_path / "good")[0]["values"]["L1"] == 0


def test_empty_missing_and_damaged(folders):
    out = ("-o", folders / "report")
    (folders / "empty").mkdir()
    refused(evaluate(folders / "empty", folders / "target", *out), "holds no videos")
    refused(evaluate(folders / "none", folders / "target", *out), "does not exist")
    refused(evaluate(folders / "pred", folders / "target" / "v0", *out), "one of each")
    single = folders / "damaged.mp4"
    save_frames(iter(clip(0)[0]), single, 25, {})
    single.write_bytes(single.read_bytes()[:700])
    refused(evaluate(single, folders / "target" / "v0", *out), "damaged.mp4 cannot be evaluated")


def test_weights_and_options_that_are_not_there(folders):
    common = (folders / "pred", folders / "target", "-o", folders / "report")
    for option in ("--inception", "--i3d", "--resnet3d", "--lpips"):
        refused(evaluate(*common, option, folders / "none.pt"), "do not exist", option)
    refused(evaluate(*common, "--extract"), "--parts")
    refused(evaluate(*common, "--reference", "last"), "first or none")
    refused(evaluate(*common, "--parts", folders / "target"), "ordinary video")
    refused(evaluate(folders / "pred", folders / "target", "-o", folders), "holds other things")


def test_networks_of_named_files(folders):
    """Real networks of the published layouts, random weights: LPIPS in both blocks, and videos too short for FVD."""
    import torch

    from published_weights import random_state

    torch.save(random_state("lpips-vgg-backbone", keep="features"), folders / "vgg.pth")
    torch.save(random_state("i3d"), folders / "i3d.pth")
    common = (folders / "pred" / "v0", folders / "target" / "v0", "-o", folders / "report")
    result = evaluate(*common, "--lpips", folders / "vgg.pth")
    assert result.exit_code == 0, (result.stderr, result.exception)
    about = json.loads((folders / "report" / "report.json").read_text())["result"]
    correct = about["blocks"]["correct"]["LPIPS (VGG16)"]["value"]
    compatible = about["blocks"]["disco-compat"]["LPIPS (VGG16), inputs in [0,1]"]["value"]
    assert correct > 0
    assert compatible > 0
    assert abs(correct - compatible) > 1e-3 * correct
    assert any("none of the published files" in note for note in about["notes"])
    refused(evaluate(*common, "--i3d", folders / "i3d.pth"), "7 frames to compare", "FVD cannot be measured")
    refused(evaluate(*common, "--inception", folders / "vgg.pth"), "do not fit")


def test_an_interruption_keeps_what_is_finished(folders, monkeypatch):
    from magicanimate.evaluate import run

    real = run.read_frames

    def interrupted(path: Path, size: int | None):
        if path.name == "v1":
            raise KeyboardInterrupt
        return real(path, size)

    monkeypatch.setattr(run, "read_frames", interrupted)
    result = evaluate(folders / "pred", folders / "target", "-o", folders / "report")
    assert result.exit_code == 3
    assert "1 of 3 videos" in result.stderr
    assert len(rows(folders / "report")) == 1


def test_parts_are_found_again_in_the_outputs(tmp_path):
    """A still of a person is found by the real extractor; in noise it finds nobody, which is a pose of nothing."""
    import magicanimate
    from magicanimate.body.fit import fit_track
    from magicanimate.media import load_picture
    from magicanimate.motion.extractors.extract import drawn
    from magicanimate.person.track_person import track_picture

    picture = load_picture(Path(magicanimate.__file__).parent / "assets" / "demo" / "picture.png")
    control = next(iter(drawn(fit_track(track_picture(picture)), tmp_path, "video", [])))
    write_frames(tmp_path / "target", np.stack([picture] * 3))
    write_frames(tmp_path / "noise", np.random.default_rng(0).integers(0, 256, (3, *picture.shape)).astype(np.uint8))
    np.savez(tmp_path / "control.npz", parts=np.stack([control] * 3))
    scores = {}
    for name in ("target", "noise"):
        result = RUNNER.invoke(
            app, ["evaluate", str(tmp_path / name), str(tmp_path / "target"), "-o", str(tmp_path / f"{name}-report"),
                  "--parts", str(tmp_path / "control.npz"), "--extract", "--players", "0"],
        )  # fmt: skip
        assert result.exit_code == 0, (result.stderr, result.exception)
        assert "extractor mediapipe" in result.stdout
        scores[name] = rows(tmp_path / f"{name}-report")[0]["values"]
    assert scores["target"]["Silhouette IoU"] > 0.8
    assert scores["target"]["Pose IoU"] > 0.5
    assert (scores["noise"]["Silhouette IoU"], scores["noise"]["Pose IoU"]) == (0, 0)
