"""The motion takes the place, size and proportions of the person in the picture.

A mismatch between picture and motion is behind many bad results, but a wrong guess is worse than none: small
differences are left alone, very large ones mean that something was misunderstood, and a motion that shows less of the
body than the picture is not made so small that its cut edge hangs in the air.

Shape legend: F frames, H W pixels, C color channels, J joints, L lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from magicanimate.media.pictures import Fit, Placement, place
from magicanimate.motion.placing.edges import Extension
from magicanimate.motion.placing.outline import find_in_motion, find_in_picture
from magicanimate.motion.placing.retarget import Similarity, retarget
from magicanimate.motion.placing.scan import Survey, survey
from magicanimate.parts.fit import fit_parts
from magicanimate.parts.skeleton import JOINT, LENGTHS, TRUNK, Skeleton
from magicanimate.person.edit import PersonEdit
from magicanimate.person.find import Person, find_person

if TYPE_CHECKING:
    from magicanimate.body.motion import BodyMotion
    from magicanimate.motion.open import MotionClip

_WORTH = 0.08  # smaller differences of scale, or of position in torso lengths, are left alone
_LIMIT = 3.5  # larger differences of scale mean that something was misunderstood
_BODY_LIMIT = 8.0  # the same where bodies were fitted to both: people are small in many pictures
_OUTLINE_LIMIT = math.log(2)  # the same as a logarithm, for outlines, which may be of anything
_GAP = 0.15  # of the frame's height that a cut-off body is continued by at most
_ENLARGED = 1.4  # times the right scale at which a cut-off motion is still used, so that its edge stays outside
_WHOLE = 0.9  # of the torso that the picture must show for its lower end to count
_SHOWN = 0.5  # of a part that the picture must show for its length to count
_WEIGHTS = np.array([2, 3, 1, 1, 1, 2, 2])
"""[L] how far each length is to be trusted where the overall scale is concerned."""
_SURE = np.array([0.15, 0.1, 0.3, 0.45, 0.45, 0.1, 0.1])
"""[L] differences in proportion (logarithms of ratios) below which measurements cannot be told from errors."""
_SAME = 0.025  # of the figure: median distance of points below which two poses are the same person's same moment
_POINTS = 12  # of the rig that the picture must show for that
_MOST = 0.3  # logarithm of the largest change of a proportion
_LIMBS = ([3, 4], [5, 6])  # of LENGTHS
_LESS = (
    "The picture shows less of the body than the motion; what would lie outside the frame is left out, and only what "
    "the picture shows will look right."
)
SAME: Mapping[str, float] = dict.fromkeys(LENGTHS, 1.0)


@dataclass(frozen=True)
class Alignment:
    """Placement of a motion in the frame."""

    start: Callable[[], Iterator[np.ndarray]] = field(repr=False)
    """Part maps [H, W] of the frame's size."""
    control: Callable[[str], Iterator[np.ndarray]] | None = field(default=None, repr=False)
    """Frames [H, W, 3] uint8 of another kind of control, pose or depth; None where there is no body to draw."""
    notes: list[str] = field(default_factory=list)
    person: Person | None = None
    """The person in the picture, where one was found."""
    needed: float | None = None
    """Factor by which the motion has to be scaled to fit the person; None where that is not known."""
    used: float = 1.0
    """Factor by which it was scaled."""
    body: BodyMotion | None = field(default=None, repr=False)
    """The moving body in pixels of the frame, where there is one and a person in the picture whose shape it has."""
    picture_body: BodyMotion | None = field(default=None, repr=False)
    """The body of the person in the picture, one frame, in pixels of the frame."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.start()


def align(
    motion: MotionClip, size: tuple[int, int], fit: Fit, picture_HWC: np.ndarray | None, move: bool = True,
    edit: PersonEdit | None = None,
) -> Alignment:  # fmt: skip
    """Land a motion in a frame of (height, width).

    Args:
        motion: read once more than it is used.
        fit: how another aspect ratio is fitted where nothing is aligned.
        picture_HWC: the picture as the frame shows it; None leaves the motion as it is.
        move: False: find the person in the picture, but leave the motion where it is.
        edit: what is known better about that person, in pixels of the frame.
    """
    placement, plain = place(motion.size, size, fit), plain_alignment(motion, size, fit)
    if picture_HWC is None or fit == "stretch":
        return plain
    left, top, _, bottom = placement.box
    scale = placement.inner[2] / (bottom - top)
    usual = Similarity(scale, (placement.inner[1] - scale * left, placement.inner[0] - scale * top))
    person = find_person(picture_HWC, edit)
    if person is None:
        plain.notes.append("No person was recognized in the picture, so the motion keeps its proportions.")
        return _by_outline(motion, size, picture_HWC, plain, usual)
    plain = replace(plain, person=person)
    if motion.body is not None:
        placed = placed_body(motion.body, placement)
        if not move or _same_pose(placed, person):
            return _in_place(placed, person, plain, size)
        return _with_body(motion.body, size, person, plain, usual)
    if not move:
        return plain
    return _with_parts(motion, size, person, plain, usual)


def plain_alignment(motion: MotionClip, size: tuple[int, int], fit: Fit) -> Alignment:
    """Return the motion as it is, fitted to a frame of (height, width)."""
    placement = place(motion.size, size, fit)
    return Alignment(lambda: (fit_parts(parts_HW, placement) for parts_HW in motion), _placed(motion, placement))


def _by_outline(
    motion: MotionClip, size: tuple[int, int], picture_HWC: np.ndarray, plain: Alignment, usual: Similarity
) -> Alignment:
    """Align a whole driver with a whole person before a plain background."""
    target = find_in_picture(picture_HWC)
    driver = find_in_motion(motion) if target else None
    if target is None or driver is None:
        return plain
    (height, width), (rows, columns) = motion.size, size
    foot_2 = np.array([driver.center * width, driver.bottom * height])
    onto_2 = np.array([target.center * columns, target.bottom * rows])
    base = _onto(foot_2, onto_2, target.height * rows / (driver.height * height))
    needed = base.scale / usual.scale
    if abs(math.log(needed)) > _OUTLINE_LIMIT or not _differs(base, usual, foot_2, target.height * rows):
        return replace(plain, needed=needed)
    placement = base.placement(size)
    moved = _told(plain, lambda: (fit_parts(parts_HW, placement) for parts_HW in motion), base, usual, SAME)
    return replace(moved, control=_placed(motion, placement))


def _placed(motion: MotionClip, placement: Placement) -> Callable[[str], Iterator[np.ndarray]] | None:
    """Other kinds of control, drawn as the motion's body is and fitted like its parts."""
    body = motion.body
    if body is None:
        return None

    def frames(kind: str) -> Iterator[np.ndarray]:
        from magicanimate.body.draw import draw_motion

        for drawn in draw_motion(body, kinds=(kind,)):
            planes = np.moveaxis(_three(drawn[kind]), -1, 0)
            yield np.stack([fit_parts(plane_HW, placement) for plane_HW in planes], -1)

    return frames


def _three(drawn: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, 3] -> [H, W, 3]."""
    return drawn if drawn.ndim == 3 else drawn[..., None].repeat(3, -1)


def placed_body(body: BodyMotion, placement: Placement) -> BodyMotion:
    """Return a body as a frame shows the picture that it was found in."""
    left, top, _, bottom = placement.box
    inner_top, inner_left, inner_height, _ = placement.inner
    scale = inner_height / (bottom - top)
    size = (body.size[0] * scale, body.size[1] * scale)
    # Where the middle of the source's picture lies, against the middle of the frame.
    aside = inner_left + (body.size[1] / 2 - left) * scale - placement.size[1] / 2
    down = inner_top + (body.size[0] / 2 - top) * scale - placement.size[0] / 2
    resized = replace(body, focal=body.focal * scale, size=(round(size[0]), round(size[1])))
    return resized.moved(shift=(aside, down), size=placement.size)


def _same_pose(placed: BodyMotion, person: Person) -> bool:
    """Return True if the motion begins in the picture's pose, as in the clip that the picture was taken from; never
    where somebody says that the pose is another one."""
    if person.corrected:
        return False
    first = int(np.flatnonzero(placed.present_F)[0])
    at_S2, own_S2 = placed.project(placed.points())[first], person.body.project(person.body.points())[0]
    height, width = placed.size
    shown = ((own_S2 >= 0) & (own_S2 < (width, height))).all(1)
    if shown.sum() < _POINTS:
        return False
    figure = float(np.ptp(own_S2[shown], axis=0).max())
    away_S = np.linalg.norm(at_S2 - own_S2, axis=1)[shown] / figure
    return bool(np.median(away_S) < _SAME and np.quantile(away_S, 0.9) < 3 * _SAME)


def _in_place(placed: BodyMotion, person: Person, plain: Alignment, size: tuple[int, int]) -> Alignment:
    """Return the motion where it is; with the body that was fitted to all of it, where it is the same person's."""
    same = _same_pose(placed, person)
    body = placed if same else placed.with_shape(person.body.shape)
    notes = plain.notes
    if same:
        notes = [*notes, "The motion begins in the pose of the person in the picture, so it is used where it is."]
    return drawn_alignment(plain, body, _frame_of(body) if same else person.body, size, notes)


def _frame_of(body: BodyMotion) -> BodyMotion:
    """Return the first frame that shows somebody, alone."""
    first = int(np.flatnonzero(body.present_F)[0])
    one = slice(first, first + 1)
    return body.only(one)


def drawn_alignment(
    plain: Alignment, body: BodyMotion, picture_body: BodyMotion, size: tuple[int, int], notes: list[str]
) -> Alignment:
    """Return an alignment whose part maps and other control are drawn from a body."""
    from magicanimate.body.draw import draw_motion

    return replace(
        plain, start=lambda: (drawn["parts"] for drawn in draw_motion(body, size, ("parts",))),
        control=lambda kind: (_three(drawn[kind]) for drawn in draw_motion(body, size, (kind,))),
        notes=notes, body=body, picture_body=picture_body,
    )  # fmt: skip


def _with_body(
    driver: BodyMotion, size: tuple[int, int], person: Person, plain: Alignment, usual: Similarity
) -> Alignment:
    """Draw the driver's joint angles on the reference's body, at its distance."""
    from magicanimate.body.rig import POINT_INDEX

    distance = float(np.median(driver.position_F3[driver.present_F, 1]))
    scale = (person.body.focal / float(person.body.position_F3[0, 1])) / (driver.focal / distance)
    needed = scale / usual.scale
    if not 1 / _BODY_LIMIT <= needed <= _BODY_LIMIT:
        return _misunderstood(plain, needed)
    body = driver.with_shape(person.body.shape).moved(scale, size=size)
    points_FS2, target_S2 = body.project(body.points()), person.body.project(person.body.points())[0]
    points_FS2 = points_FS2[body.present_F]
    neck, feet = POINT_INDEX["neck"], [POINT_INDEX["foot.L"], POINT_INDEX["foot.R"]]
    if person.feet > _SHOWN:
        down = target_S2[feet, 1].max() - np.median(points_FS2[:, feet, 1].max(1))
    else:
        down = target_S2[neck, 1] - np.quantile(points_FS2[:, neck, 1], 0.1)
    aside = target_S2[neck, 0] - points_FS2[0, neck, 0]
    body = body.moved(shift=(float(aside), float(down)))
    own_FS2 = driver.project(driver.points())[driver.present_F][:, feet]
    if person.feet < _SHOWN and (own_FS2[..., 1].max(1) < driver.size[0]).mean() > _SHOWN:
        plain.notes.append(_LESS)
    note = f"The motion was given the body of the person in the picture, scaled by {needed:.2f} and moved onto it"
    notes = [*plain.notes, f"{note} (--align none: not)."]
    return replace(drawn_alignment(plain, body, person.body, size, notes), needed=needed, used=needed)


def _with_parts(
    motion: MotionClip, size: tuple[int, int], person: Person, plain: Alignment, usual: Similarity
) -> Alignment:
    """Scale and move part maps as a whole, then limb by limb."""
    seen = survey(motion)
    if seen is None:
        return plain
    if seen.people != 1:
        plain.notes.append(f"{seen.people} people move, so the motion is used where it is.")
        return plain
    measured = _scale(person, seen.skeleton)
    anchors = _anchors(person, seen)
    if measured is None or anchors is None:
        plain.notes.append("Picture and motion show no common parts, so the motion is used where it is.")
        return plain
    needed = measured / usual.scale
    if not 1 / _LIMIT <= needed <= _LIMIT:
        return _misunderstood(plain, needed)
    from_2, onto_2, on_feet = anchors
    base = _not_hanging(_onto(from_2, onto_2, measured), motion.size, size, seen, from_2)
    if base is None:
        plain.notes.append(
            "The motion shows less of the body than the picture, so it was not made smaller to fit the person."
        )
        return replace(plain, needed=needed)
    if person.feet < _SHOWN < seen.feet:
        plain.notes.append(_LESS)
    ratios = _ratios(person, seen.skeleton, measured)
    torso = float(np.nan_to_num(person.lengths_L[LENGTHS.index("torso")], nan=size[0] / 4))
    if not _differs(base, usual, from_2, torso) and ratios == SAME:
        return replace(plain, needed=needed)
    extension = _extension(base, motion.size, size, seen)
    below = np.array([0, extension.top])
    base = _onto(below, base(np.zeros(2)), base.scale)

    def frames() -> Iterator[np.ndarray]:
        for parts_HW, joints_J2 in zip(motion, seen.skeleton.joints_FJ2, strict=True):
            yield retarget(extension(parts_HW), joints_J2 + below, base, ratios, size, on_feet)

    return replace(_told(plain, frames, base, usual, ratios), needed=needed)


def _onto(from_2: np.ndarray, onto_2: np.ndarray, scale: float) -> Similarity:
    """Return the similarity of a scale that takes one point onto another."""
    shift_2 = onto_2 - scale * from_2
    return Similarity(scale, (float(shift_2[0]), float(shift_2[1])))


def _differs(base: Similarity, usual: Similarity, point_2: np.ndarray, unit: float) -> bool:
    """Return True if two similarities differ enough in scale, or in where they put a point, to matter."""
    moved = float(np.linalg.norm(base(point_2) - usual(point_2))) / unit
    return abs(math.log(base.scale / usual.scale)) >= _WORTH or moved >= _WORTH


def _told(
    plain: Alignment, start: Callable[[], Iterator[np.ndarray]], base: Similarity, usual: Similarity,
    ratios: Mapping[str, float],
) -> Alignment:  # fmt: skip
    """Return an alignment with a sentence that says what was done."""
    factor = base.scale / usual.scale
    note = f"The motion was scaled by {factor:.2f} and moved onto the person in the picture"
    changed = [f"{name} {ratio:.2f}" for name, ratio in ratios.items() if ratio != 1]
    if changed:
        note += f", its proportions changed to theirs ({', '.join(changed)})"
    return replace(plain, start=start, notes=[*plain.notes, f"{note} (--align none: not)."], needed=factor, used=factor)


def _misunderstood(plain: Alignment, needed: float) -> Alignment:
    plain.notes.append(
        f"The person in the picture seems {needed:.1f} times as large as the one that moves, which is too much to "
        "believe, so the motion is used where it is."
    )
    return replace(plain, needed=needed)


def _scale(person: Person, driver: Skeleton) -> float | None:
    """Return pixels of the frame per pixel of the clip: the weighted median over all lengths that both show."""
    with np.errstate(invalid="ignore"):
        ratio_L = np.log(person.lengths_L / driver.lengths_L)
    weight_L = np.where(np.isnan(ratio_L), 0.0, _WEIGHTS * person.visible_L)
    order = np.argsort(ratio_L)
    total = np.cumsum(weight_L[order])
    if total[-1] < 1:
        return None
    return float(np.exp(ratio_L[order[np.searchsorted(total, total[-1] / 2)]]))


def _ratios(person: Person, driver: Skeleton, scale: float) -> Mapping[str, float]:
    """Return proportions of the person to the driver's, where the difference is sure; within bounds."""
    known_L = ~np.isnan(person.lengths_L * driver.lengths_L) & (person.visible_L > _SHOWN)
    target_L, from_L = (np.where(known_L, lengths_L, 0.0) for lengths_L in (person.lengths_L, driver.lengths_L))
    for limb in _LIMBS:  # one figure for both halves of a limb: the joint between them is the least certain
        if known_L[limb].all():
            target_L[limb], from_L[limb] = target_L[limb].sum(), from_L[limb].sum()
    change_L = np.log(np.divide(target_L, from_L * scale, out=np.ones_like(target_L), where=known_L))
    ratio_L = np.where(np.abs(change_L) > _SURE, np.exp(np.clip(change_L, -_MOST, _MOST)), 1.0)
    return dict(zip(LENGTHS, ratio_L.tolist(), strict=True))


def _anchors(person: Person, seen: Survey) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """Return a point of the clip, the point of the frame that it belongs on, and whether it is the feet's."""
    trunk = TRUNK if person.visible_L[LENGTHS.index("torso")] > _WHOLE else TRUNK[:1]
    from_2 = np.array([seen.skeleton.beginning(trunk), seen.skeleton.upright])
    onto_2 = np.array([person.joints_J2[trunk, 0].mean(), person.joints_J2[JOINT["neck"], 1]])
    ankles = [f"ankle.{side}" for side in "LR"]
    target = person.joints_J2[[JOINT[name] for name in ankles], 1]
    on_feet = person.feet > _SHOWN and seen.feet > _SHOWN and not seen.cut_bottom and not np.isnan(target).all()
    if on_feet:
        from_2 = np.array([from_2[0], seen.skeleton.lowest(*ankles)])
        onto_2 = np.array([onto_2[0], np.nanmax(target)])
    if np.isnan(from_2).any() or np.isnan(onto_2).any():
        return None
    return from_2, onto_2, on_feet


def _not_hanging(
    base: Similarity, clip: tuple[int, int], size: tuple[int, int], seen: Survey, point_2: np.ndarray
) -> Similarity | None:
    """Enlarge about a point until the clip's lower edge is out of sight or nearly; None if that is much."""
    edge = base.scale * clip[0] + base.shift[1]
    lowest = (1 - _GAP) * size[0]
    if not seen.cut_bottom or edge >= lowest:
        return base
    onto_2 = base(point_2)
    scale = (lowest - onto_2[1]) / max(clip[0] - point_2[1], 1.0)
    return _onto(point_2, onto_2, scale) if scale <= _ENLARGED * base.scale else None


def _extension(base: Similarity, clip: tuple[int, int], size: tuple[int, int], seen: Survey) -> Extension:
    """Return the rows to add to the clip's maps, so that a cut body reaches the lower edge and a cut head ends."""
    bottom = max(0.0, size[0] - (base.scale * clip[0] + base.shift[1])) / base.scale if seen.cut_bottom else 0.0
    top = max(0.0, base.shift[1]) / base.scale if seen.cut_top else 0.0
    return Extension(math.ceil(top), math.ceil(bottom))
