"""The doctor's contact sheet: the picture and what was found in it, and frames of the motion as they will be used.

Shape legend: H W pixels, C color channels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from magicanimate.animation.job import Job
from magicanimate.media.pictures import fit_picture, place
from magicanimate.parts.densepose import BACKGROUND, render_parts

FRAMES = 8
_TILE, _TITLE, _GAP = 224, 18, 6  # pixels
_PAPER, _INK = (250, 250, 250), (40, 40, 40)


def over(image_HWC: np.ndarray, parts_HW: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Return parts in their colors, laid over a picture of the same size."""
    mixed = image_HWC * (1 - strength) + render_parts(parts_HW) * strength
    return np.where((parts_HW != BACKGROUND)[..., None], np.rint(mixed), image_HWC).astype(np.uint8)


def draw_sheet(job: Job) -> np.ndarray:
    """Draw two rows of five tiles: the picture with its parts, below it the first frame as it is drawn (or its parts
    where nobody can be drawn), and eight frames of the motion."""
    picture_HWC = job.picture_HWC
    maps = [job.part_map(index) for index in sheet_frames(len(job))]
    found = job.alignment.person.parts_HW if job.alignment and job.alignment.person else None
    first = picture_HWC
    if found is not None:
        first = fit_picture(over(job.cut_HWC, found), place(found.shape, job.size, "contain"))
    tiles = [
        ("picture" if found is None else "picture, parts found", first),
        ("first frame on it", over(picture_HWC, maps[0]))
        if job.scene is None
        else ("first frame, drawn", job.scene(0).frame_HWC),
    ]
    motion = [
        (f"frame {index + 1}", render_parts(parts)) for index, parts in zip(sheet_frames(len(job)), maps, strict=True)
    ]
    rows = [[tiles[0], *motion[:4]], [tiles[1], *motion[4:]]]
    return np.concatenate([_row(row) for row in rows])


def sheet_frames(count: int) -> list[int]:
    """Return the indices of eight evenly spread frames, or of all if there are fewer."""
    return sorted(set(np.linspace(0, count - 1, FRAMES).round().astype(int).tolist()))


def _row(tiles: list[tuple[str, np.ndarray]]) -> np.ndarray:
    drawn = [_tile(title, image_HWC) for title, image_HWC in tiles]
    blank = np.full_like(drawn[0], _PAPER)
    return np.concatenate([*drawn, *[blank] * (1 + FRAMES // 2 - len(drawn))], axis=1)


def _tile(title: str, image_HWC: np.ndarray) -> np.ndarray:
    height, width = image_HWC.shape[:2]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    tile = Image.new("RGB", (_TILE + _GAP, round(height * scale) + _TITLE + _GAP), _PAPER)
    tile.paste(Image.fromarray(image_HWC).resize(size, Image.Resampling.LANCZOS), ((_TILE - size[0]) // 2, _TITLE))
    ImageDraw.Draw(tile).text((2, 2), title, _INK, ImageFont.load_default(12))
    return np.asarray(tile)
