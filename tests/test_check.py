"""The input doctor: what it finds, says and draws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from figures import walking_parts
from magicanimate.animation.job import prepare_job
from magicanimate.animation.settings import make_settings
from magicanimate.check.estimate import Weights, Work, count_weights, estimate
from magicanimate.check.examine import examine
from magicanimate.check.measure import measure
from magicanimate.check.sheet import over, sheet_frames
from magicanimate.cli.main import app
from magicanimate.media import load_picture, open_clip
from magicanimate.media.video import save_frames
from magicanimate.models.config import read_config
from magicanimate.models.locations import SHIPPED
from magicanimate.parts.densepose import render_parts
from magicanimate.serve.page.examples import SHELF
from mannequin import dancing

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def config():
    return read_config(SHIPPED / "tiny")


@pytest.fixture(scope="module")
def person() -> np.ndarray:
    """A picture of somebody, 256x256."""
    return load_picture(SHELF["studio"].picture)


@pytest.fixture(scope="module")
def look(config, picture_path):
    """Findings of a motion given as part maps, by topic."""

    def found(parts_FHW, image=None, **settings):
        picture = np.asarray(Image.open(picture_path)) if image is None else image
        examined = examine(picture, render_parts(parts_FHW), config=config, settings={"align": "none"} | settings)
        worst_last = sorted(examined.findings, key=lambda finding: finding.level == "warning")
        return {finding.topic: finding for finding in worst_last}, examined

    return found


def test_a_good_motion_has_no_warning(look):
    found, examined = look(dancing(6), np.zeros((440, 400, 3), np.uint8))
    nobody = found.pop("source")
    assert nobody.level == "warning"
    assert "No person was recognized" in nobody.text
    assert {finding.level for finding in found.values()} <= {"ok", "note"}
    assert (examined.frames, examined.fps) == (6, 25)
    assert examined.sheet_HWC.shape[2] == 3
    assert examined.seconds > 0
    assert examined.memory > 3e8
    assert json.dumps(examined.to_dict())


@pytest.fixture(scope="module")
def sound(look):
    """Findings of a motion without a fault."""
    return look(dancing(40)[:6])[0]


@pytest.mark.parametrize(
    ("spoil", "topic", "message"),
    [
        (lambda parts: parts[:, 40:], "cut off", "head runs out"),
        (lambda parts: np.pad(parts, ((0, 0), (0, 400), (0, 400))), "coverage", "covers only"),
        (lambda parts: parts * (1 - np.arange(len(parts)) % 2)[:, None, None].astype(np.uint8), "jitter", "flicker"),
        (lambda parts: parts[:, :, 95:], "cut off", "at the left"),
        (lambda parts: parts[:, 70:], "people", "No head"),
    ],
)
def test_each_fault_is_found_with_advice(look, sound, spoil, topic, message):
    finding = look(spoil(dancing(40)[:6]))[0][topic]
    assert finding.level == "warning"
    assert message in finding.text
    assert finding.advice
    assert sound[topic].level != "warning"  # negative control


def test_rates_pictures_and_lengths(look):
    assert look(dancing(3), fps=5)[0]["frame rate"].level == "warning"
    assert "single frame" in look(dancing(1))[0]["length"].text
    assert "enlarged" in look(dancing(3), np.zeros((40, 40, 3), np.uint8))[0]["picture"].text
    assert "cut away" in look(dancing(3), np.zeros((2000, 400, 3), np.uint8), size="motion")[0]["picture"].text
    assert "2 people" in look(np.maximum(dancing(3), np.roll(dancing(3), 80, 2)))[0]["people"].text


def looked(picture, motion=None, **settings):
    """Findings with alignment, and all that was found."""
    motion = render_parts(dancing(4)) if motion is None else motion
    examined = examine(picture, motion, config=read_config(SHIPPED / "tiny"), settings=settings)
    return examined.findings, examined


def warned(findings) -> str:
    return " ".join(str(finding) for finding in findings if finding.level == "warning")


def test_agreement_of_bodies_is_told_and_the_first_frame_is_drawn(person):
    findings, examined = looked(person)
    told = {finding.topic: finding for finding in findings}
    assert told["fit"].level == "ok"
    assert "agrees with them at 0." in told["fit"].text
    assert told["body"].level == "ok"
    assert "No person" not in warned(findings)
    assert "people are seen" not in warned(findings)
    drawn = examined.sheet_HWC[len(examined.sheet_HWC) // 2 :, :230]
    mostly_parts = (np.abs(drawn.astype(int) - render_parts(np.full((1, 1), 2, np.uint8))[0, 0]).sum(-1) < 60).mean()
    assert mostly_parts < 0.01, "colored parts instead of the drawing"


def test_nobody_in_the_picture_is_a_warning_with_advice():
    sky = np.linspace(0, 255, 200).astype(np.uint8)[:, None, None].repeat(260, 1).repeat(3, 2)
    findings, _ = looked(sky)
    assert warned(findings).count("No person was recognized in the picture") == 1
    assert "closer to the person" in warned(findings)


def test_a_small_person_gets_the_motion_and_a_warning(person):
    small = np.asarray(Image.fromarray(person).resize((64, 64)))
    around = np.repeat(np.repeat(small[:1, :1], 320, 0), 400, 1).copy()
    around[200:264, 300:364] = small
    findings, examined = looked(around)
    assert "of the picture's height" in warned(findings)
    assert "No person" not in warned(findings)
    told = {finding.topic: finding for finding in findings}
    assert told["body"].level == "ok"
    assert "after alignment 1.00" in told["alignment"].text
    assert examined.frames == 4


def test_people_who_stay_where_they_are_are_counted(person):
    other = load_picture(SHELF["hills"].picture)
    findings, _ = looked(np.concatenate([person, other], 1))
    assert "2 people are seen in the picture and one moves" in warned(findings)


def test_measures_of_a_still_and_a_jumping_map():
    still = np.repeat(dancing(1), 5, 0)
    assert measure(still).flicker == 0
    jumping = still.copy()
    jumping[2] = np.where(jumping[2] > 0, 24, 0)
    assert measure(jumping).flicker > 0.3
    assert measure(still).cut == {"top": 0, "bottom": 0, "left": 0, "right": 0}
    assert measure(still).people == (1, 1)
    assert measure(still).shares_25.sum() == pytest.approx(1)


def test_estimates_grow_with_the_work():
    weights = count_weights(SHIPPED / "tiny")
    values = {"frames": 32, "positions": 256, "pixels": 65536, "steps": 4, "guided": True, "window": 16, "overlap": 4}
    base = estimate(weights, Work(**values))
    for name, value in (("frames", 64), ("steps", 8), ("positions", 512)):
        assert estimate(weights, Work(**values | {name: value})).seconds > base.seconds
    assert estimate(weights, Work(**values | {"guided": False})).seconds < base.seconds
    assert estimate(weights, Work(**values), device="cuda").seconds < base.seconds
    larger = replace(weights, denoiser=weights.denoiser * 4)
    assert estimate(larger, Work(**values)).memory > base.memory
    assert count_weights(SHIPPED / "missing") is None
    assert isinstance(weights, Weights)
    assert weights.total > weights.denoiser


def test_the_sheet_shows_up_to_eight_frames():
    assert sheet_frames(1) == [0]
    assert sheet_frames(3) == [0, 1, 2]
    assert sheet_frames(100)[:2] == [0, 14]
    assert len(sheet_frames(100)) == 8
    parts = walking_parts(1)[0]
    mixed = over(np.full((64, 64, 3), 200, np.uint8), parts)
    assert (mixed[parts == 0] == 200).all()
    assert (mixed[parts > 0] != 200).any(-1).all()


@pytest.fixture
def inputs(tmp_path, picture_path):
    motion = save_frames(iter(render_parts(dancing(4))), tmp_path / "m.mp4", 25, {})
    return ["check", "--image", str(picture_path), "--motion", str(motion), "--align", "none"]


def test_check_prints_findings_and_writes_the_sheet(inputs, tmp_path):
    result = RUNNER.invoke(app, [*inputs, "-o", str(tmp_path / "sheet.png")])
    assert result.exit_code == 0, result.stderr
    assert "ok      palette" in result.stdout
    assert Image.open(tmp_path / "sheet.png").size[0] > 500
    told = json.loads(RUNNER.invoke(app, [*inputs, "--json"]).stdout)
    assert told["frames"] == 4
    assert {"level", "topic", "text", "advice"} == set(told["findings"][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "sheet.jpg"], "end sheet.jpg in .png"), (["-o", "missing/s.png"], "does not exist"),
        (["--start", "9"], "nothing is left"), (["--end", "abc"], "is not a time"),
        (["--start", "2", "--end", "1"], "after start"),
        (["--model", "no-such"], "Unknown model"), (["--motion", "no.mp4"], "does not exist"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(inputs, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = RUNNER.invoke(app, [*inputs, *options])
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if not line.endswith("...")]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(tmp_path.iterdir()) == before


def test_animate_prints_only_what_matters(inputs, tmp_path, model_folder):
    words = [
        "animate",
        *inputs[1:],
        "--model",
        str(model_folder),
        "--steps",
        "1",
        "--max-frames",
        "2",
        "--device",
        "cpu",
    ]
    result = RUNNER.invoke(app, [*words, "-o", str(tmp_path / "out.mp4"), "--size", "64x64"])
    assert result.exit_code == 0, result.stderr
    assert "The motion is a part map" not in result.stderr
    assert "ok " not in result.stderr
    assert len(list(open_clip(tmp_path / "out.mp4"))) == 2


@pytest.mark.real
@pytest.mark.parametrize(
    ("image", "motion", "scales", "said"),
    [
        ("demo4.png", "demo4", (0.8, 0.95), "scaled by"), ("monalisa.png", "running", (1.4, 1.7), "scaled by"),
        ("multi1_source.png", "multi_dancing", (1.0, 1.0), "2 people move"),
    ],
)  # fmt: skip
def test_real_pairs(config, real_inputs, image, motion, scales, said):
    job = prepare_job(
        config, 8, real_inputs / "source_image" / image, real_inputs / "densepose" / f"{motion}.mp4",
        make_settings(max_frames=16),
    )  # fmt: skip
    assert scales[0] <= job.alignment.used <= scales[1]
    assert any(said in note for note in job.notes)
    assert job.signal.report.people == (2 if motion == "multi_dancing" else 1)
