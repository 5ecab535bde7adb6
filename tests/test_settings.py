"""Settings: presets, sizes, and one sentence for what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magicanimate.animation.parsing import parse_size
from magicanimate.animation.presets import PRESETS
from magicanimate.animation.settings import AnimateSettings, make_settings
from magicanimate.errors import InputError
from magicanimate.models.config import ModelConfig

CONFIG = ModelConfig(name="m", resolution=(128, 96), window=12, overlap=3, steps=17, guidance=3.0)


def test_the_model_fills_what_is_left_open():
    chosen = make_settings(seed=5).for_model(CONFIG)
    assert (chosen.steps, chosen.guidance, chosen.window, chosen.overlap) == (17, 3.0, 12, 3)
    assert (chosen.scheduler, chosen.fusion, chosen.noise, chosen.fit, chosen.align) == (
        "ddim", "mean", "shared", "cover", "auto",
    )  # fmt: skip
    assert (chosen.seed, chosen.size, chosen.fps) == (5, "auto", None)
    assert (chosen.wrap, chosen.truncate, chosen.raw_control) == (False, False, False)


def test_the_original_preset():
    chosen = make_settings(preset="original").for_model(CONFIG)
    assert (chosen.steps, chosen.guidance, chosen.fps, chosen.size) == (25, 7.5, 25.0, (128, 96))
    assert (chosen.window, chosen.overlap, chosen.pad_frames, chosen.fit) == (16, 4, 16, "stretch")
    assert chosen.wrap
    assert chosen.truncate
    assert chosen.raw_control
    assert not chosen.resample


@pytest.mark.parametrize("preset", list(PRESETS))
def test_what_is_given_wins_over_every_preset(preset):
    chosen = make_settings(preset=preset, steps=3, guidance=1.5, size="64x32", window=6).for_model(CONFIG)
    assert (chosen.steps, chosen.guidance, chosen.size, chosen.window) == (3, 1.5, (32, 64), 6)
    assert chosen.overlap < 6
    assert chosen.for_model(CONFIG) == chosen


@pytest.mark.parametrize(
    ("preset", "steps", "expected"),
    [
        ("quality", 2, {"steps": 2, "guidance": 3.0, "scheduler": "ddim", "cache": 1, "guidance_every": 1}),
        ("quality", 25, {"steps": 16, "guidance": 3.0, "scheduler": "dpm++", "cache": 1, "guidance_every": 1}),
        ("fast", 2, {"steps": 2, "guidance": 1.0, "scheduler": "ddim", "cache": 1}),
        ("fast", 25, {"steps": 8, "guidance": 3.0, "scheduler": "dpm++", "cache": 2, "guidance_every": 2}),
        ("original", 25, {"steps": 25, "guidance": 7.5, "scheduler": "ddim", "cache": 1, "guidance_every": 1}),
    ],
)
def test_what_a_preset_is_depends_on_the_model(preset, steps, expected):
    chosen = make_settings(preset=preset).for_model(CONFIG.model_copy(update={"steps": steps}))
    assert chosen.model_dump(include=set(expected)) == expected
    assert chosen.guidance_interval == (0, 1)


@given(st.integers(1, 99999), st.integers(1, 99999))
def test_sizes_are_width_by_height(width, height):
    assert parse_size(f"{width}x{height}") == (height, width)
    assert parse_size(f" {width} X {height} ") == (height, width)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": "0x0"}, "size: both sides must be between"),
        ({"size": "-64x64"}, "size: both sides must be between"),
        ({"guidance_interval": "0.5-0.2"}, "guidance_interval: must rise within 0 to 1"),
        ({"guidance_interval": "half"}, "guidance_interval: 'half' is not an interval"),
        ({"cache": 0}, "cache: should be greater than or equal to 1"),
        ({"size": "64"}, "size: '64' is not a size; write WIDTHxHEIGHT"),
        ({"size": "9999x64"}, "size: both sides must be between"),
        ({"steps": 0}, "steps: should be greater than or equal to 1"),
        ({"steps": "many"}, "steps: should be a valid integer"),
        ({"guidance": -1}, "guidance: should be greater than or equal to 0"),
        ({"guidance": float("nan")}, "guidance: "),
        ({"fps": 0}, "fps: should be greater than 0"),
        ({"fps": 1e-9}, "fps: should be at least 0.1"),
        ({"scheduler": "dpm+"}, "scheduler: Unknown solver 'dpm+'; did you mean dpm++?"),
        ({"scheduler": "magic"}, "scheduler: Unknown solver 'magic': choose one of ddim, ddpm"),
        ({"scheduler": "MagicScheduler"}, "scheduler: Unknown solver"),
        ({"schedular": "ddim"}, "schedular: there is no such setting; did you mean scheduler?"),
        ({"max_frames": 0}, "max_frames: "),
        ({"seed": -1}, "seed: "),
        ({"preset": "best"}, "preset: should be 'original', 'quality', 'fast' or 'preview'"),
        ({"fusion": "max"}, "fusion: "),
        ({"tempo": 1}, "tempo: there is no such setting"),
        ({"speed": 0}, "speed: should be greater than or equal to 0.1"),
    ],
)
def test_what_is_wrong_is_one_sentence(values, message):
    with pytest.raises(InputError) as caught:
        make_settings(**values)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_overlap_must_be_smaller_than_the_window():
    with pytest.raises(InputError, match="overlap"):
        make_settings(window=4, overlap=4).for_model(CONFIG)


def test_settings_survive_json():
    chosen = make_settings(size="64x32", steps=3)
    assert AnimateSettings.model_validate_json(chosen.model_dump_json()) == chosen


@pytest.mark.parametrize(
    ("text", "seconds"), [("12.5", 12.5), ("1:05", 65), ("01:02.25", 62.25), ("1:00:00", 3600), ("90", 90), (3, 3)]
)
def test_times_are_seconds_or_minutes(text, seconds):
    assert make_settings(start=text).start == seconds


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": "soon"}, "start: 'soon' is not a time"), ({"end": "-3"}, "end: '-3' is not a time"),
        ({"start": 5, "end": 4}, "end: should be after start, which is 5 s"), ({"start": "1:2:3:4"}, "is not a time"),
        ({"person": 0}, "person: "), ({"extractor": "magic"}, "extractor: "),
    ],
)  # fmt: skip
def test_impossible_times_and_choices(values, message):
    with pytest.raises(InputError, match=message):
        make_settings(**values)


def test_solvers_are_known_by_short_names_and_by_those_of_their_classes():
    for name in ("ddim", "euler-a", "EulerDiscreteScheduler"):
        assert make_settings(scheduler=name).scheduler == name
