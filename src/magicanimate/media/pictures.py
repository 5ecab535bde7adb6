"""Pictures: loaded from any common file into plain RGB, and fitted to a frame.

Shape legend: F frames, H W pixels, C color channels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from magicanimate.errors import InputError
from magicanimate.media.containers import is_video
from magicanimate.media.paths import existing_path

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif")
HEIC_ADVICE = (
    "a HEIC picture; install the extra [heic], or convert it to JPEG (a telephone does so with the camera format Most "
    "Compatible)"
)
LARGEST = 4096
"""Pixels of the longer side to which larger pictures are scaled when they are read: photographs of 50 or 100 million
pixels are usual."""
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
SMALLEST = 16
"""Pixels on the short side below which nobody can be seen in a picture."""

Fit = Literal["cover", "contain", "stretch"]
_TOP_SHARE = 0.25  # of the height that a cover crop removes: heads are near the top of pictures
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def load_picture(path: str | Path) -> np.ndarray:
    """Read a picture as `image_HWC` uint8 RGB, upright.

    EXIF rotation is applied, pictures larger than LARGEST are scaled to it, color profiles are converted to sRGB,
    CMYK, palettes, gray and 16 bit are converted, transparency is laid over white, and of an animation the first frame
    is taken.

    Raises:
        InputError: the file is missing, is not a picture, is damaged, or is smaller than 16 pixels.
    """
    path = existing_path(path, "picture")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a single picture (PNG, JPEG or WebP).")
    if path.stat().st_size == 0:
        raise InputError(f"The picture {path} is empty (0 bytes); give a PNG, JPEG or WebP file.")
    try:
        with open_picture(path) as picture:
            image_HWC = np.asarray(to_rgb(picture))
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is {_something_else(path)}") from error
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


def open_picture(path: Path, formats: Sequence[str] | None = None) -> Image.Image:
    """Open a picture by its content; only its header is read. HEIC too, where pillow-heif is installed.

    Raises:
        UnidentifiedImageError: it is none, or not of these formats.
        Image.DecompressionBombError: it has more than about 180 million pixels.
        OSError, SyntaxError, ValueError: it is damaged.
    """
    if picture_kind(path) == "HEIC":
        _register_heif()
    with warnings.catch_warnings():  # which Pillow gives above 90 million pixels: telephones have more
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=None if formats is None else list(formats))


def picture_kind(path: Path) -> Literal["HEIC", "TIFF"] | None:
    """Detect pictures that FFmpeg takes for videos by their first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return None
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return "HEIC"
    return "TIFF" if head[:4] in (b"II*\0", b"MM\0*") else None


def can_read_heic() -> bool:
    """Return True if the package for HEIC is installed."""
    return find_spec("pillow_heif") is not None


@cache
def _register_heif() -> None:
    if can_read_heic():
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False)


def _something_else(path: Path) -> str:
    """Return a sentence on an unreadable picture: what the file is, and what to do."""
    kind = picture_kind(path)
    if kind == "HEIC":
        return f"{HEIC_ADVICE}."
    if kind == "TIFF":
        return "a TIFF of a kind that cannot be read, such as one of floating-point colors; save it as PNG or JPEG."
    if is_video(path):
        return "a video, not a picture; save one of its frames; give a PNG, JPEG or WebP file."
    return "not a picture that can be read; give a PNG, JPEG or WebP file."


def to_rgb(picture: Image.Image) -> Image.Image:
    """Return any Pillow image, upright, as RGB over white; the longer side has at most LARGEST pixels."""
    picture.draft("RGB", (LARGEST, LARGEST))  # a JPEG is decoded at a half or a quarter of its size, if that is enough
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in _SIXTEEN_BIT or picture.mode in ("I", "F"):
        picture = _to_eight_bit(picture)
    picture = _to_srgb(picture)
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    picture = picture.convert("RGB")
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS, reducing_gap=2)
    return picture


def _to_eight_bit(picture: Image.Image) -> Image.Image:
    """16 bit and floating point gray to 8 bit; Pillow's own conversion clips at 255 instead of scaling."""
    values_HW = np.asarray(picture)
    highest = np.nanmax(values_HW) if values_HW.size else 0
    top = 65535.0 if highest > 255 or picture.mode in _SIXTEEN_BIT else 255.0 if highest > 1 else 1.0
    levels_HW = np.empty(values_HW.shape, np.uint8)
    for row, values_W in enumerate(values_HW):  # all at once would take many times the picture's memory
        levels_HW[row] = np.clip(np.rint(np.nan_to_num(values_W / top) * 255), 0, 255)
    return Image.fromarray(levels_HW)


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Follow an embedded color profile; one that is broken or of another kind of color is ignored."""
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
    """Placement of a source of one size in a frame of another.

    `box` is the part of the source that is seen (left, top, right, bottom, in source pixels), `inner` the rectangle
    (top, left, height, width) of the frame that it fills, `size` the frame (height, width) in pixels.
    """

    box: tuple[float, float, float, float]
    inner: tuple[int, int, int, int]
    size: tuple[int, int]

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels of the frame above and below `inner`, and left and right of it."""
        top, left, inner_height, inner_width = self.inner
        height, width = self.size
        return (top, height - top - inner_height), (left, width - left - inner_width)


def place(source: tuple[int, int], size: tuple[int, int], fit: Fit = "cover") -> Placement:
    """Fit a source (height, width) to a frame (height, width).

    cover: fills the frame and crops what is over, aspect ratio kept; centered across, and with three quarters of
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


def fit_picture(
    image_HWC: np.ndarray, placement: Placement, filter: Image.Resampling = Image.Resampling.LANCZOS
) -> np.ndarray:
    """[H, W, 3] -> [height, width, 3]; what a contained picture leaves free repeats its border."""
    _, _, inner_height, inner_width = placement.inner
    resized = Image.fromarray(image_HWC).resize((inner_width, inner_height), filter, box=placement.box)
    rows, columns = placement.margins
    return np.pad(np.asarray(resized), (rows, columns, (0, 0)), mode="edge")
