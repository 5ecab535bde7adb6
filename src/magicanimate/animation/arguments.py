"""The settings as keyword arguments, as type checkers see them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from magicanimate.animation.parsing import Interval, Size
from magicanimate.animation.presets import Preset


class SettingArguments(TypedDict, total=False):
    """Settings of one animation as keyword arguments; see `AnimateSettings`."""

    preset: Preset
    steps: int | None
    guidance: float | None
    seed: int
    size: Size | str
    fps: float | None
    max_frames: int | None
    start: float | str
    end: float | str | None
    audio: bool
    extractor: str
    person: int | None
    person_edit: str | None
    fit: Literal["cover", "contain", "stretch"] | None
    align: Literal["auto", "none"] | None
    background: str
    label: bool
    expression: float
    smooth: float
    speed: float
    mirror: bool
    hold: float
    loop: bool
    scheduler: str | None
    fusion: Literal["mean", "triangular"] | None
    noise: Literal["shared", "independent", "static"] | None
    guidance_interval: Interval | str | None
    guidance_every: int | None
    cache: int | None
    cache_layers: int
    window: int | None
    overlap: int | None
    detail: bool
    decode_chunk: int | None
    wrap: bool
    pad_frames: int
    truncate: bool
    resample: bool
    raw_control: bool


class AccelerationArguments(TypedDict, total=False):
    """Options of model execution as keyword arguments; see `ModelOptions`."""

    quantize: Literal["none", "int8", "fp8"]
    offload: bool
    compile: bool
    graphs: bool | None
    decoder: Path | None
