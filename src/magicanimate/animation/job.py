"""Stages 1 and 2: picture, motion and settings become one checked job, ready to be computed.

Shape legend: F video frames, H W pixels, C color channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from magicanimate.animation.background import open_backdrop, without_person
from magicanimate.animation.edit_motion import edited, timing_edits, with_body
from magicanimate.animation.expression import open_face
from magicanimate.animation.inputs import MotionInput, PictureInput, as_motion, as_picture
from magicanimate.animation.parsing import DRIVER, TRANSPARENT
from magicanimate.animation.scene import NOBODY, build_joint_scene, build_scene
from magicanimate.animation.settings import AnimateSettings, ChosenSettings
from magicanimate.errors import InputError
from magicanimate.media import Audio
from magicanimate.media.framing import Frame, choose_frame, choose_size, own_placement
from magicanimate.media.pictures import Fit, Placement, fit_picture, place
from magicanimate.motion.open import MotionClip
from magicanimate.motion.placing.align import Alignment, align
from magicanimate.motion.placing.take_place import take_place
from magicanimate.motion.report import ReportBuilder
from magicanimate.motion.signal import Signal, read_signal
from magicanimate.parts.densepose import render_parts, resize_parts
from magicanimate.person.edit import PersonEdit, read_person_edit
from magicanimate.person.scene import Backdrop, Scene
from magicanimate.progress import Progress
from magicanimate.provenance.marks import AI_GENERATED
from magicanimate.version import version

if TYPE_CHECKING:
    from magicanimate.models.config import ModelConfig

_SIMILAR = 1.25  # times: sizes of a figure that need no other size of the picture it is cut from
_MOST_RESIZED = 3.0  # times that size
_ONE_PERSON = "person_edit: it corrects one person, and several people move."


@dataclass(frozen=True, kw_only=True)
class Job:
    """One animation, checked and ready to be computed."""

    model: dict[str, Any]
    """name and version."""
    settings: ChosenSettings
    size: tuple[int, int]
    """(height, width) of the video."""
    frame: Frame
    """Frame that the networks see; smaller than the video where the scene brings its detail."""
    picture_HWC: np.ndarray = field(repr=False)
    """The reference picture at the video's size."""
    cut_HWC: np.ndarray = field(repr=False)
    """The reference picture at the size at which people are found in it and cut out; usually the same."""
    image_HWC: np.ndarray = field(repr=False)
    """The reference picture on the networks' canvas."""
    signal: Signal
    scene: Scene | None = field(default=None, repr=False)
    """The picture's people as layers that move, for models that draw; None where that cannot be done."""
    drawn_alone: bool = False
    """True if the drawing is the video, because no network would change it."""
    fps: float
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    audio: Audio | None = None
    """The motion's sound."""
    alignment: Alignment | None = field(default=None, repr=False)
    """Placement of the motion on the person in the picture."""
    parts_agreement: float | None = None
    """0..1, of a body that was fitted to the motion's part maps with them; None where none was."""

    def __len__(self) -> int:
        return len(self.signal)

    @property
    def transparent(self) -> bool:
        """True if frames have an alpha channel."""
        return self.settings.background == TRANSPARENT

    def part_map(self, index: int) -> np.ndarray:
        """Return one frame of the motion at the video's size, parts [H, W] uint8."""
        return resize_parts(self.frame.crop(self.signal.parts_FHW[index][..., None])[..., 0], self.size)

    def motion_frames(self) -> Iterator[np.ndarray]:
        """Yield the motion as the video shows it, in clean palette colors."""
        for index in range(len(self)):
            yield render_parts(self.part_map(index))

    def describe(self) -> dict[str, Any]:
        """Return everything that made the video, for its metadata; sizes are (height, width)."""
        import torch

        return {
            "magicanimate": version(),
            "torch": torch.__version__,
            "model": self.model,
            "settings": self.settings.model_dump(mode="json"),
            "frames": len(self),
            "fps": self.fps,
            "size": list(self.size),
            "drawn_alone": self.drawn_alone,
            "motion_report": asdict(self.signal.report),
            "warnings": self.warnings,
            "notes": self.notes,
            **AI_GENERATED,
        }

    def summary(self) -> str:
        """Return one line for people."""
        (height, width), found = self.size, self.signal.report
        if self.drawn_alone:
            made = "drawn with the picture's own pixels, without networks"
        else:
            made = (
                f"{self.settings.steps} steps of {self.settings.scheduler}, guidance {self.settings.guidance:g}, seed "
                f"{self.settings.seed}"
            )
        return (
            f"{len(self)} frames of {width}x{height} at {self.fps:g} fps; model {self.model['name']}, {made}; motion: "
            f"{found.people} {'person' if found.people == 1 else 'people'}, {found.coverage:.0%} of the frame covered."
        )


def prepare_job(
    config: ModelConfig,
    factor: int,
    image: PictureInput | Sequence[PictureInput],
    motion: MotionInput,
    settings: AnimateSettings,
    progress: Progress | None = None,
    *,
    draws: bool = False,
    mends: bool = False,
) -> Job:
    """Read and check everything, compute nothing yet.

    Args:
        config: the model's description.
        factor: pixels per latent along each axis: the canvas is a multiple of it.
        image: path, Pillow image, or `image_HWC` uint8; a list or tuple of them shows a person each.
        motion: see `as_motion`.
        settings: what was chosen; the rest comes from the preset and the model.
        progress: told ("reading", done, total).
        draws: the model sees the picture's people drawn in the poses of the motion.
        mends: the model has a detail network, which mends the drawing.

    Raises:
        InputError: bad input or settings.
    """
    chosen = settings.for_model(config)
    pictures: Sequence[PictureInput] = image if isinstance(image, list | tuple) else [image]  # type: ignore[list-item]
    image_HWC, *guests = [as_picture(each) for each in pictures]
    if chosen.person_edit and guests:
        raise InputError(_ONE_PERSON)
    edit = read_person_edit(chosen.person_edit, _shape(image_HWC)) if chosen.person_edit else None
    clip = as_motion(motion, chosen, progress)
    draws = draws or chosen.preset == "preview"
    size, frame = _shapes(config, factor, image_HWC, clip, chosen, draws)
    if draws:
        clip = with_body(clip, progress)
    _check_together(config, chosen, len(pictures), draws)
    clip = edited(clip, chosen, progress)
    placed = _place_motion(config, image_HWC, clip, (size, frame), chosen, draws, edit, progress)
    if edit is not None and placed.signal.report.people > 1:
        raise InputError(_ONE_PERSON)
    backdrop = _open_background(placed, chosen, progress)
    scene = _open_scene(placed, guests, backdrop, chosen, progress) if draws else None
    if scene is None and (chosen.preset == "preview" or (draws and backdrop is not None)):
        raise InputError(NOBODY)
    drawn_alone = scene is not None and (chosen.preset == "preview" or (chosen.detail and not mends))
    if backdrop is not None and not drawn_alone:
        raise InputError(
            f"background: {config.name} makes the whole picture anew, so nobody can be put before another background; "
            "add --preset preview, which moves the picture's own pixels."
        )
    return Job(
        model={"name": config.name, "version": config.version}, settings=chosen, size=size, frame=frame,
        picture_HWC=placed.picture_HWC, cut_HWC=placed.cut_HWC, image_HWC=frame.picture(image_HWC, chosen.fit),
        signal=placed.signal, scene=scene, drawn_alone=drawn_alone, fps=placed.fps, warnings=placed.warnings,
        notes=placed.notes, alignment=placed.aligned, parts_agreement=clip.agreement,
        audio=clip.audio if chosen.audio and (chosen.resample or chosen.fps in (None, clip.fps)) else None,
    )  # fmt: skip


def _shape(image_HWC: np.ndarray) -> tuple[int, int]:
    return image_HWC.shape[0], image_HWC.shape[1]


def _check_together(config: ModelConfig, chosen: ChosenSettings, pictures: int, draws: bool) -> None:
    """Raise InputError for settings that exclude each other: several pictures, the driver's video, edits of time."""
    replaces = chosen.background == DRIVER
    if pictures > 1 and (replaces or not draws):
        what = "--background driver shows one person" if replaces else f"{config.name} makes the whole picture anew"
        raise InputError(f"{what}, so only one picture can be given.")
    if replaces and (wrong := timing_edits(chosen)):
        raise InputError(f"background: driver shows the video as it is, so {wrong[0]} cannot change the motion in it.")


@dataclass(frozen=True)
class _Placed:
    """A motion placed in the frames of the video, and the picture that it moves."""

    clip: MotionClip
    size: tuple[int, int]
    frame: Frame
    picture_HWC: np.ndarray
    cut_HWC: np.ndarray
    aligned: Alignment
    signal: Signal
    fps: float
    warnings: list[str]
    notes: list[str]


def _shapes(
    config: ModelConfig, factor: int, image_HWC: np.ndarray, clip: MotionClip, chosen: ChosenSettings, draws: bool
) -> tuple[tuple[int, int], Frame]:
    """Choose (height, width) of the video and the frame that the networks see."""
    shaped_like = clip.size if chosen.background == DRIVER else _shape(image_HWC)
    size = choose_size(shaped_like, clip.size, config.resolution, chosen.size, like_picture=draws)
    return size, choose_frame(size, config.resolution, "auto" if draws else size, factor)


def _place_motion(
    config: ModelConfig,
    image_HWC: np.ndarray,
    clip: MotionClip,
    shapes: tuple[tuple[int, int], Frame],
    chosen: ChosenSettings,
    draws: bool,
    edit: PersonEdit | None,
    progress: Progress | None,
) -> _Placed:
    """Align the motion with the picture's person, and read it at the networks' frame."""
    shape, replaces = _shape(image_HWC), chosen.background == DRIVER
    size, frame = shapes
    placement = place(shape, size, "contain" if replaces else chosen.fit)
    picture_HWC = fit_picture(image_HWC, placement)
    if replaces:
        aligned, cut_HWC = _taking_place(clip, size, chosen.fit, image_HWC, edit)
    else:
        looked_at_HWC, move = picture_HWC if draws or chosen.align == "auto" else None, chosen.align == "auto"
        placed_edit = edit.placed(placement, shape) if edit else None
        aligned, cut_HWC = align(clip, size, chosen.fit, looked_at_HWC, move, placed_edit), picture_HWC
    signal = read_signal(
        _at_size(aligned, frame.size), frame, ReportBuilder(clip.coloring, clip.near),
        colors=_colors(config, clip, aligned, chosen), on_frame=_frame_counter(clip, progress),
    )  # fmt: skip
    return _Placed(
        clip, size, frame, picture_HWC, cut_HWC, aligned, signal,
        fps=clip.fps if chosen.resample else chosen.fps or clip.fps,
        warnings=[*clip.warnings, *signal.report.warnings], notes=[*clip.notes, *aligned.notes],
    )  # fmt: skip


def _open_background(placed: _Placed, chosen: ChosenSettings, progress: Progress | None) -> Backdrop | None:
    """Open the background that replaces the picture's own; None if it stays. A note says if a video begins again."""
    if chosen.background == DRIVER:
        return without_person(placed.clip, placed.size, chosen.fit, progress)
    count = len(placed.signal)
    return open_backdrop(chosen.background, placed.size, chosen.fit, placed.fps, count, placed.notes)


def _open_scene(
    placed: _Placed,
    guests: Sequence[np.ndarray],
    backdrop: Backdrop | None,
    chosen: ChosenSettings,
    progress: Progress | None,
) -> Scene | None:
    """Cut the picture's people, or one of each picture, into layers; None, and a warning, if nobody can be moved."""
    if progress:
        progress("layers", 0, 1)
    signal = placed.signal
    if guests:
        return _joint_scene(placed.cut_HWC, guests, signal, placed.fps, backdrop)
    aligned, face = placed.aligned, None
    if signal.report.people == 1 and aligned.picture_body is not None:
        face = open_face(placed.clip, chosen, placed.cut_HWC, aligned.picture_body, placed.notes, progress)
    return build_scene(
        placed.cut_HWC,
        aligned,
        signal.parts_FHW,
        signal.report.people,
        placed.clip.fps,
        placed.warnings,
        backdrop,
        face,
    )


def _joint_scene(
    cut_HWC: np.ndarray, guests: Sequence[np.ndarray], signal: Signal, fps: float, backdrop: Backdrop | None
) -> Scene:
    """Return the people of several pictures before the first one's background."""
    cut = [cut_HWC]
    for image_HWC in guests:
        cut.append(fit_picture(image_HWC, own_placement(_shape(image_HWC))))
    return build_joint_scene(cut, signal.parts_FHW, signal.report.people, fps, backdrop)


def _taking_place(
    clip: MotionClip, size: tuple[int, int], fit: Fit, image_HWC: np.ndarray, edit: PersonEdit | None
) -> tuple[Alignment, np.ndarray]:
    """Return the picture's person in place of the motion's, and the picture at a size that shows both about as large.

    Raises:
        InputError: the motion is no video in which one person was found.
    """
    if clip.pictures is None or clip.body is None:
        raise InputError(
            f"background: driver needs a video in which one person is seen as the motion, and {clip.path.name} is none."
        )
    shape = _shape(image_HWC)

    def taking(placement: Placement) -> tuple[Alignment, np.ndarray]:
        cut_HWC = fit_picture(image_HWC, placement)
        return take_place(clip, size, fit, cut_HWC, edit.placed(placement, shape) if edit else None), cut_HWC

    placement = own_placement(shape)
    aligned, cut_HWC = taking(placement)
    if not 1 / _SIMILAR < aligned.used < _SIMILAR:
        scale = min(max(aligned.used, 1 / _MOST_RESIZED), _MOST_RESIZED)
        height, width = (max(64, round(side * scale)) for side in placement.size)
        return taking(place(shape, (height, width), "cover"))
    return aligned, cut_HWC


def _at_size(aligned: Alignment, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield part maps of an alignment at another resolution."""
    if aligned.body is not None:
        from magicanimate.body.draw import draw_motion

        yield from (drawn["parts"] for drawn in draw_motion(aligned.body, size, ("parts",)))
        return
    for parts_HW in aligned:
        yield resize_parts(parts_HW, size)


def _colors(
    config: ModelConfig, clip: MotionClip, aligned: Alignment, chosen: ChosenSettings
) -> Iterable[np.ndarray] | None:
    """Return the ControlNet's frames other than clean part maps [H, W, 3]: skeleton, depth, or painted maps."""
    if config.control == "densepose":
        return clip.colors if chosen.raw_control and config.control_encoding == "rgb" else None
    if aligned.control is None:
        raise InputError(
            f"{clip.path.name} gives body parts but no body in space, from which {config.control} could be drawn; give "
            "the video that it was made from, keypoints or BVH, or use --control densepose."
        )
    return aligned.control(config.control)


def _frame_counter(clip: MotionClip, progress: Progress | None) -> Callable[[int], None] | None:
    if progress is None:
        return None
    return lambda done: progress("reading", done, clip.count)
