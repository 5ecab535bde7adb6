"""A correction of the person that was found in a picture: where joints are, and which pixels are theirs.

As JSON: {"size": [HEIGHT, WIDTH], "joints": {"left_wrist": [X, Y], ...}, "mask": "PNG in base64"}, in pixels of the
picture, or of the same picture at another size. Joints and mask may be left out.

Shape legend: H W pixels, J landmarks (33).
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from magicanimate.body.track import RIG_POINTS, Track
from magicanimate.errors import InputError, did_you_mean
from magicanimate.media.pictures import LARGEST, SMALLEST, Placement, fit_picture
from magicanimate.person.track_person import NAMES
from magicanimate.untrusted import parse_json

EDIT_BYTES = 8 * 2**20
"""Most bytes of the JSON."""
JOINTS = tuple(name for name in NAMES if name in RIG_POINTS)
"""Joints that may be given."""
_FOLLOWERS = {
    f"{side}_{joint}": tuple(f"{side}_{name}" for name in names)
    for side in ("left", "right")
    for joint, names in (("wrist", ("pinky", "index", "thumb")), ("ankle", ("heel", "foot_index")))
}
"""Landmarks that move with a joint, unless they are given themselves."""
_TRUNK = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "hip"))
_MOVED = 0.5  # pixels: joints nearer than that to where they were found stay there
_SURE = 0.02  # of the figure: joints that were moved that far are where the edit says
_FEATHER = 0.8  # pixels, of masks without soft edges
_KEYS = ("size", "joints", "mask")


@dataclass(frozen=True)
class PersonEdit:
    """Corrections of the person in a picture."""

    size: tuple[int, int]
    """(height, width) of the picture whose pixels are meant."""
    joints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """x, y by the names of JOINTS."""
    mask_HW: np.ndarray | None = None
    """[H, W] uint8 of `size`, 255: only the person."""

    def placed(self, placement: Placement, picture: tuple[int, int]) -> PersonEdit:
        """Return the same in the frame that a picture of (height, width) is placed in."""
        if self.size == placement.size == placement.inner[2:]:
            return self
        down, across = (own / given for own, given in zip(self.size, picture, strict=True))
        left, top, right, bottom = placement.box
        inner_top, inner_left, inner_height, inner_width = placement.inner
        joints = {
            name: (
                inner_left + (x / across - left) * inner_width / (right - left),
                inner_top + (y / down - top) * inner_height / (bottom - top),
            )
            for name, (x, y) in self.joints.items()
        }
        mask_HW = self.mask_HW
        if mask_HW is not None:
            own = replace(placement, box=(left * across, top * down, right * across, bottom * down))
            mask_HW = fit_picture(mask_HW[..., None].repeat(3, -1), own, Image.Resampling.BILINEAR)[..., 0]
        return PersonEdit(placement.size, joints, mask_HW)

    def to_json(self) -> str:
        """Return the text that `parse_person_edit` reads."""
        joints = {name: [round(x, 2), round(y, 2)] for name, (x, y) in self.joints.items()}
        content: dict[str, Any] = {"size": list(self.size), "joints": joints}
        if self.mask_HW is not None:
            png = io.BytesIO()
            Image.fromarray(self.mask_HW).save(png, "PNG", optimize=True)
            content["mask"] = base64.b64encode(png.getvalue()).decode()
        return json.dumps(content)


def is_inline(given: str) -> bool:
    """Return True for an edit's JSON itself, False for the path of a file."""
    return given.lstrip().startswith("{")


def read_person_edit(given: str, picture: tuple[int, int]) -> PersonEdit:
    """Read an edit for a picture of (height, width): JSON, or the path of a file with it.

    Raises:
        InputError: the file is missing, is no such edit, or is one of a picture of another shape.
    """
    what = "The person edit" if is_inline(given) else f"The person edit {given}"
    try:
        edit = parse_person_edit(given if is_inline(given) else _file_content(Path(given).expanduser()))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} cannot be used: {str(error).removesuffix('?')}.") from error
    (height, width), (own_height, own_width) = picture, edit.size
    if abs(own_width - width * own_height / height) > 1 and abs(own_height - height * own_width / width) > 1:
        raise InputError(
            f"{what} is for a picture of {own_width}x{own_height} pixels, and this one is {width}x{height}; make one "
            "for this picture: magicanimate motion PICTURE -o person.json."
        )
    return edit


def _file_content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(EDIT_BYTES + 1)
    except OSError as error:
        raise InputError(f"The person edit {path} cannot be read: {error.strerror or error}.") from error


def parse_person_edit(text: str | bytes) -> PersonEdit:
    """Read an edit's JSON.

    Raises:
        ValueError: it is not JSON, too large, or no edit; says what is wrong in a few words.
    """
    if len(text) > EDIT_BYTES:
        raise ValueError(f"it has more than {EDIT_BYTES // 2**20} MB")
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(content, dict) or "size" not in content:
        raise ValueError('it is not an object such as {"size": [HEIGHT, WIDTH], "joints": {"left_wrist": [X, Y]}}')
    if unknown := sorted(set(content) - set(_KEYS)):
        raise ValueError(f"it has an entry {unknown[0][:40]!r}, and only {', '.join(_KEYS)} are known")
    size = _size(content["size"])
    mask = content.get("mask")
    edit = PersonEdit(size, _joints(content.get("joints", {}), size), None if mask is None else _mask(mask, size))
    if not edit.joints and edit.mask_HW is None:
        raise ValueError("it has neither joints nor a mask")
    return edit


def _size(given: Any) -> tuple[int, int]:
    if isinstance(given, list) and len(given) == 2 and all(type(side) is int for side in given):
        height, width = given
        if min(given) >= SMALLEST and max(given) <= LARGEST:
            return height, width
    raise ValueError(f"its size is not [HEIGHT, WIDTH] in pixels, whole numbers from {SMALLEST} to {LARGEST}")


def _joints(given: Any, size: tuple[int, int]) -> dict[str, tuple[float, float]]:
    if not isinstance(given, dict):
        raise ValueError('its joints are not an object such as {"left_wrist": [X, Y]}')
    joints = {}
    for name, at in given.items():
        if name not in JOINTS:
            raise ValueError(f"there is no joint {name[:40]!r}{did_you_mean(name, JOINTS)}")
        numbers = isinstance(at, list) and len(at) == 2 and all(type(value) in (int, float) for value in at)
        if not numbers or not all(0 <= value <= side for value, side in zip(at, size[::-1], strict=True)):
            raise ValueError(f"the joint {name} is not at [X, Y] within its {size[1]}x{size[0]} pixels")
        joints[name] = (float(at[0]), float(at[1]))
    return joints


def _mask(given: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the mask [H, W] uint8; a hard one with a small feather."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(given, validate=True)), formats=["PNG"]) as picture:
            found = picture.size
            mask_HW = np.asarray(picture.convert("L")) if found == size[::-1] else np.zeros(size, np.uint8)
    except (TypeError, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("its mask is not a PNG in base64") from error
    if found != size[::-1]:
        raise ValueError(f"its mask has {found[0]}x{found[1]} pixels, and its size says {size[1]}x{size[0]}")
    if not (mask_HW > 127).any():
        raise ValueError("its mask is empty")
    hard = not ((mask_HW > 0) & (mask_HW < 255)).any()
    return np.rint(ndimage.gaussian_filter(mask_HW.astype(np.float32), _FEATHER)).astype(np.uint8) if hard else mask_HW


def correct_track(found: Track, edit: PersonEdit) -> tuple[Track, bool]:
    """Put the landmarks of one frame where an edit says; returns the track, and whether anything moved.

    Args:
        found: in the picture of the edit's size.
    """
    points_J3 = found.points_FJ3[0].copy()
    world_J3 = np.zeros_like(points_J3) if found.world_FJ3 is None else found.world_FJ3[0].copy()
    figure = float(np.ptp(points_J3[:, :2], axis=0).max())
    meters = float(np.ptp(world_J3[:, [0, 2]], axis=0).max()) / figure  # in a pixel
    moved = False
    for name, at in edit.joints.items():
        shift_2 = np.array(at, np.float32) - points_J3[NAMES.index(name), :2]
        away = math.hypot(*shift_2)
        if away <= _MOVED:
            continue
        moved = True
        followers = [NAMES.index(other) for other in _FOLLOWERS.get(name, ()) if other not in edit.joints]
        both = [NAMES.index(name), *followers]
        points_J3[both, :2] += shift_2
        points_J3[both[0], 2] = max(points_J3[both[0], 2], min(1.0, away / (_SURE * figure)))
        world_J3[np.ix_(both, [0, 2])] += meters * shift_2 * (1, -1)  # z is up
    world_FJ3 = None if found.world_FJ3 is None else world_J3[None]
    return replace(found, points_FJ3=points_J3[None], world_FJ3=world_FJ3), moved


def track_of_edit(edit: PersonEdit) -> Track | None:
    """Return the track of one frame that an edit alone makes where nobody was found; None without a whole trunk."""
    if not all(name in edit.joints for name in _TRUNK):
        return None
    points_J3 = np.zeros((len(NAMES), 3), np.float32)
    for name, at in edit.joints.items():
        points_J3[NAMES.index(name)] = (*at, 1)
    return Track(points_J3[None], NAMES, edit.size, 1.0)
