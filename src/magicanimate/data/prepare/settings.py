"""Settings of prepared data, and the names of all reasons for leaving something out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from magicanimate.animation.shown import Shown

REASONS = {
    "damaged": "damaged, cut off, or no video",
    "duplicate": "the same file under another name",
    "bad parts": "part maps that do not fit the video",
    "too short": "scene shorter than a clip",
    "no person": "nobody to be seen in some frame",
    "several people": "more than one person",
    "too small": "person too small",
    "off frame": "person reaches too far out of the frame",
    "unsure": "control that does not fit the person",
    "blurred": "not sharp",
    "still": "hardly moving",
}
"""Name in the records -> what it means."""


CLIP, FILTER, SPLIT = "Clips", "What is left out", "Training and testing"
"""Groups of options."""


class PrepareSettings(BaseModel):
    """Settings that determine the data; a change of any of them starts another data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: Annotated[int, Shown(CLIP)] = Field(
        default=17, ge=2, description="frames of a clip: its reference and the run that follows it"
    )
    size: Annotated[int, Shown(CLIP, "pixels")] = Field(default=256, ge=16, le=2048, description="width and height")
    fps: Annotated[float, Shown(CLIP, "frames/s")] = Field(default=12.5, ge=1, le=120, description="frame rate")
    gap: Annotated[float, Shown(CLIP, "s")] = Field(
        default=1.0, ge=0, description="seconds between reference and run, where the scene is long enough"
    )
    max_seconds: Annotated[float, Shown(CLIP, "s")] = Field(
        default=20.0, ge=0.1, description="longer scenes are cut into stretches; reference and run are of one stretch"
    )
    scene_cut: Annotated[float, Shown(CLIP, "0-255")] = Field(
        default=24.0, ge=0, le=255, description="mean difference of neighboring frames from which a cut is suspected"
    )
    min_person: Annotated[float, Shown(FILTER)] = Field(
        default=0.5, ge=0, description="least extent of the person in the source, in multiples of --size"
    )
    max_padding: Annotated[float, Shown(FILTER)] = Field(
        default=0.35, ge=0, le=1, description="largest share of a clip's square that may lie outside the frame"
    )
    min_agreement: Annotated[float, Shown(FILTER)] = Field(
        default=0.4, ge=0, le=1, description="least overlap (intersection over union) of control and person"
    )
    min_sharpness: Annotated[float, Shown(FILTER)] = Field(
        default=0.08, ge=0, description="least sharpness; see docs/own-videos.md"
    )
    min_motion: Annotated[float, Shown(FILTER)] = Field(
        default=0.2, ge=0, description="least share of the person's pixels that change their part in a second"
    )
    extractor: Annotated[str, Shown("Options", "auto|densepose|dwpose|NAME=PATH")] = Field(
        default="auto", description="method that finds people"
    )
    controls: Annotated[tuple[str, ...], Shown("Options", "KIND,...")] = Field(
        default=(), description="further control kinds, from pose and depth; parts are always written"
    )
    held_out: Annotated[float, Shown(SPLIT)] = Field(
        default=0.1, ge=0, lt=1, description="share of the sources that are kept for testing"
    )
    split_by: Annotated[Literal["source", "folder"], Shown(SPLIT)] = Field(
        default="source", description="folder: all files below one sub-folder, of one person, go to the same side"
    )

    @field_validator("controls", mode="before")
    @classmethod
    def _kinds(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("controls")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from magicanimate.synth.controls import check_controls

        check_controls(value)
        return value
