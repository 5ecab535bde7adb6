"""Shipped examples that run with one click, and motions to choose from."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from magicanimate.models.locations import SHIPPED

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = SHIPPED / "examples"


@dataclass(frozen=True)
class Example:
    """A picture with a motion that goes with it."""

    key: str
    title: str
    person: str
    """The picture in words."""
    dance: str
    """The motion in words."""

    @property
    def picture(self) -> Path:
        return EXAMPLES / self.key / "picture.png"

    @property
    def motion(self) -> Path:
        return EXAMPLES / self.key / "motion.mp4"


SHELF = {
    example.key: example
    for example in (
        Example("studio", "Studio", "a person in a dark blue shirt before a plain wall", "Turn"),
        Example("hills", "Hills", "a person in a striped shirt before green hills", "Arms up"),
        Example("stripes", "Stripes", "a person in striped clothes in a gray room", "Sway"),
    )
}


@lru_cache(maxsize=16)
def thumbnail(path: Path) -> str:
    """Return a small picture of a picture or of a video's middle, as a data URL that needs no request."""
    from PIL import Image

    image = Image.fromarray(_middle_frame(path)) if path.suffix == ".mp4" else Image.open(path).convert("RGB")
    image.thumbnail((160, 160))
    data = io.BytesIO()
    image.save(data, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


def _middle_frame(path: Path) -> np.ndarray:
    from magicanimate.media import open_clip

    frames = list(open_clip(path))
    return frames[len(frames) // 2]
