"""Pictures: loaded from any common file into plain RGB, and fitted to a frame.

Shape legend: F frames, H W pixels, C colour channels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from magicanimate.errors import InputError
from magicanimate.parts.densepose import BACKGROUND

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SMALLEST = 16
"""Pixels on the short side below which nobody can be seen in a picture."""

Fit = Literal["cover", "contain", "stretch"]
_TOP_SHARE = 0.25  # of the height that a cover crop removes: heads are near the top of pictures
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def load_picture(path: str | Path) -> np.ndarray:
    """Read a picture as `image_HWC` uint8 RGB, upright.

    EXIF rotation is applied, colour profiles are converted to sRGB, CMYK, palettes, grey and 16 bit are converted,
    transparency is laid over white, and of an animation the first frame is taken.

    Raises:
        InputError: the file is missing, is not a picture, is damaged, or is smaller than 16 pixels.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"The picture {path} does not exist; check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a single picture (PNG, JPEG or WebP).")
    if path.stat().st_size == 0:
        raise InputError(f"The picture {path} is empty (0 bytes); give a PNG, JPEG or WebP file.")
    try:
        with Image.open(path) as picture:
            image_HWC = np.asarray(to_rgb(picture))
    except UnidentifiedImageError as error:
        what = "a video, not a picture; save one of its frames" if _is_video(path) else "not a picture that can be read"
        raise InputError(f"{path} is {what}; give a PNG, JPEG or WebP file.") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"The picture {path} has too many pixels; scale it down first.") from error
    except PermissionError as error:
        raise InputError(f"The picture {path} cannot be opened: no permission to read it.") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged data
        raise InputError(f"The picture {path} is damaged ({error}); save it again or give another.") from error
    height, width = image_HWC.shape[:2]
    if min(height, width) < SMALLEST:
        raise InputError(
            f"The picture {path} is only {width}x{height} pixels; at least {SMALLEST}x{SMALLEST} are needed."
        )
    return image_HWC


def _is_video(path: Path) -> bool:
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.video)
    except (av.error.FFmpegError, OSError):
        return False


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow image, upright, as RGB over white."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in _SIXTEEN_BIT or picture.mode in ("I", "F"):
        picture = _to_eight_bit(picture)
    picture = _to_srgb(picture)
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture.convert("RGB")


def _to_eight_bit(picture: Image.Image) -> Image.Image:
    """16 bit and floating point grey to 8 bit; Pillow's own conversion clips at 255 instead of scaling."""
    values_HW = np.asarray(picture).astype(np.float64)
    top = 65535.0 if values_HW.max() > 255 else 255.0 if values_HW.max() > 1 else 1.0
    if picture.mode in _SIXTEEN_BIT:
        top = 65535.0
    return Image.fromarray(np.clip(np.rint(values_HW / top * 255), 0, 255).astype(np.uint8))


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Follow an embedded colour profile; one that is broken or of another kind of colour is ignored."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return picture
    return picture if converted is None else converted


@dataclass(frozen=True)
class Placement:
    """How a source of one size lands in a frame of another.

    `box` is the part of the source that is seen (left, top, right, bottom, in source pixels), `inner` the rectangle
    (top, left, height, width) of the frame that it fills, `size` the frame (height, width) in pixels.
    """

    box: tuple[float, float, float, float]
    inner: tuple[int, int, int, int]
    size: tuple[int, int]


def place(source: tuple[int, int], size: tuple[int, int], fit: Fit = "cover") -> Placement:
    """Fit a source (height, width) to a frame (height, width).

    cover: fills the frame and crops what is over, aspect ratio kept; centred across, and with three quarters of
    the vertical loss taken at the bottom, since heads are near the top. contain: all is seen, the rest of the frame
    is filled. stretch: the aspect ratio is ignored (the original's way).
    """
    (source_height, source_width), (height, width) = source, size
    whole = (0.0, 0.0, float(source_width), float(source_height))
    if fit == "stretch":
        return Placement(whole, (0, 0, height, width), size)
    if fit == "contain":
        scale = min(height / source_height, width / source_width)
        inner_height = min(height, max(1, round(source_height * scale)))
        inner_width = min(width, max(1, round(source_width * scale)))
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        return Placement(whole, (top, left, inner_height, inner_width), size)
    scale = max(height / source_height, width / source_width)
    seen_height = min(height / scale, source_height)
    seen_width = min(width / scale, source_width)
    left_edge = (source_width - seen_width) / 2
    top_edge = (source_height - seen_height) * _TOP_SHARE
    return Placement((left_edge, top_edge, left_edge + seen_width, top_edge + seen_height), (0, 0, height, width), size)


def fit_picture(image_HWC: np.ndarray, placement: Placement) -> np.ndarray:
    """[H, W, 3] -> [height, width, 3]; what a contained picture leaves free repeats its border."""
    _, _, inner_height, inner_width = placement.inner
    resized = Image.fromarray(image_HWC).resize(
        (inner_width, inner_height), Image.Resampling.LANCZOS, box=placement.box
    )
    rows, columns = _margins(placement)
    return np.pad(np.asarray(resized), (rows, columns, (0, 0)), mode="edge")


def fit_parts(parts_HW: np.ndarray, placement: Placement) -> np.ndarray:
    """[H, W] indices -> [height, width] by nearest pixel; what is left free, or outside the map, is background."""
    left, top, right, bottom = placement.box
    rows = _sample(top, bottom, placement.inner[2])
    columns = _sample(left, right, placement.inner[3])
    outside = ((rows < 0) | (rows >= parts_HW.shape[0]))[:, None] | ((columns < 0) | (columns >= parts_HW.shape[1]))
    rows = np.clip(rows, 0, parts_HW.shape[0] - 1)
    columns = np.clip(columns, 0, parts_HW.shape[1] - 1)
    inner = np.where(outside, BACKGROUND, parts_HW[rows[:, None], columns]).astype(parts_HW.dtype)
    return np.pad(inner, _margins(placement), constant_values=BACKGROUND)


def _sample(start: float, stop: float, count: int) -> np.ndarray:
    """Indices of the pixels under `count` equally spaced centres between start and stop."""
    return np.floor(start + (np.arange(count) + 0.5) * (stop - start) / count).astype(np.int64)


def _margins(placement: Placement) -> tuple[tuple[int, int], tuple[int, int]]:
    top, left, inner_height, inner_width = placement.inner
    height, width = placement.size
    return (top, height - top - inner_height), (left, width - left - inner_width)
