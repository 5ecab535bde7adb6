"""What can be chosen about prepared data, and the names of all reasons for leaving something out."""

from __future__ import annotations

from dataclasses import dataclass

from magicanimate.errors import InputError
from magicanimate.synth.controls import check_controls

SPLIT_BY = ("source", "folder")

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


@dataclass(frozen=True)
class PrepareSettings:
    """What decides the data; whoever changes one of these starts another data set."""

    frames: int = 17
    """Frames of a clip: the reference and the run that follows it."""
    size: int = 256
    fps: float = 12.5
    gap: float = 1.0
    """Seconds that the reference is away from its run, where the scene is long enough."""
    max_seconds: float = 20.0
    """Longer scenes are cut into stretches; reference and run are of one stretch."""
    scene_cut: float = 24.0
    """Mean difference of neighbouring frames, 0 to 255, from which a cut is suspected."""
    min_person: float = 0.5
    """Least extent of the person in the source, in multiples of `size`."""
    max_padding: float = 0.35
    """Largest share of a clip's square that may lie outside the frame."""
    min_agreement: float = 0.4
    """Least overlap (intersection over union) of the control with the person that was seen."""
    min_sharpness: float = 0.08
    min_motion: float = 0.2
    """Least share of the person's pixels that change their part in a second."""
    extractor: str = "auto"
    controls: tuple[str, ...] = ()
    """Control kinds besides the part maps, which are always there: pose, depth."""
    held_out: float = 0.1
    """Share of the sources that are kept for testing."""
    split_by: str = "source"
    """source, or folder: all files below one folder of VIDEOS go to the same side."""

    def check(self) -> None:
        """Raise InputError for what cannot be."""
        if self.frames < 2 or self.size < 16 or self.fps <= 0 or self.max_seconds <= 0:
            raise InputError("A clip needs at least 2 frames, a size of 16 pixels, and positive times.")
        if not 0 <= self.held_out < 1:
            raise InputError(f"The held-out share must be at least 0 and below 1, and it is {self.held_out:g}.")
        if self.split_by not in SPLIT_BY:
            raise InputError(f"Unknown split {self.split_by!r}; choose one of {', '.join(SPLIT_BY)}.")
        check_controls(self.controls)
