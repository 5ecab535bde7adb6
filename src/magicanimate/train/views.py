"""Augmentation that is computed once: crops and mirrored copies of clips, pictures and control alike."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field

from magicanimate.models.config import ControlKind
from magicanimate.parts.densepose import FLIP_TABLE, LOOSE

MIRRORED_PARTS = np.append(FLIP_TABLE, np.uint8(LOOSE))
"""Index of each part in a mirrored picture: left becomes right."""


class ViewSettings(BaseModel):
    """Augmentation that is computed with the latents: how often each clip is in the cache, and in what crops."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(1, ge=1, description="1: as it is; every second further one is mirrored")
    crop: float = Field(1.0, gt=0.2, le=1, description="smallest side of a view's random square crop, as a share")


@dataclass(frozen=True)
class View:
    """One crop, in shares of the picture, and whether it is mirrored afterwards."""

    top: float = 0.0
    left: float = 0.0
    side: float = 1.0
    mirror: bool = False


def clip_view(clip: int, number: int, settings: ViewSettings) -> View:
    """View `number` of a clip, a function of both: the first is the clip as it is."""
    if number == 0:
        return View()
    rng = np.random.default_rng([clip, number, 31])
    side = float(rng.uniform(settings.crop, 1))
    top, left = rng.uniform(0, 1 - side, 2)
    return View(float(top), float(left), side, bool(number % 2))


def apply_view(
    view: View, rgb_FHWC: np.ndarray, control_FHW: np.ndarray, control: ControlKind = "densepose"
) -> tuple[np.ndarray, np.ndarray]:
    """Crop all frames alike, enlarge them to the old size, and mirror pictures and control maps; parts left for right.

    A drawn skeleton [F,H,W,3] keeps the colors of its sides, so it is not mirrored here (see `cache_latents`).
    """
    if view.side < 1:
        rgb_FHWC, control_FHW = _crop(view, rgb_FHWC, control_FHW)
    if view.mirror:
        rgb_FHWC, control_FHW = rgb_FHWC[:, :, ::-1], control_FHW[:, :, ::-1]
        control_FHW = MIRRORED_PARTS[control_FHW] if control == "densepose" else control_FHW
    return np.array(rgb_FHWC), np.array(control_FHW)


def _crop(view: View, rgb_FHWC: np.ndarray, parts_FHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = parts_FHW.shape[1:3]
    top, left = round(view.top * height), round(view.left * width)
    rows, columns = slice(top, top + round(view.side * height)), slice(left, left + round(view.side * width))
    pictures = torch.from_numpy(np.array(rgb_FHWC[:, rows, columns])).movedim(-1, 1).float()
    size = (height, width)
    pictures = F.interpolate(pictures, size, mode="bilinear", align_corners=False)
    return pictures.round().byte().movedim(1, -1).numpy(), resize_nearest(parts_FHW[:, rows, columns], size)


def resize_nearest(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[F,H,W] or [F,H,W,3] uint8 -> [F,height,width(,3)] by nearest pixel."""
    planes = torch.from_numpy(np.array(frames)).reshape(*frames.shape[:3], -1).movedim(-1, 1)
    large = F.interpolate(planes, size, mode="nearest-exact").movedim(1, -1)
    return large.reshape(len(frames), *size, *frames.shape[3:]).numpy()
