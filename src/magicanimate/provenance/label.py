"""The visible label, drawn into frames.

Shape legend: H W pixels, C color channels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

TEXT = "AI-generated"
_SMALLEST, _SHARE = 9, 0.045  # pixels of the letters, and their share of the frame's shorter side


@lru_cache(maxsize=4)
def _label(height: int, width: int) -> np.ndarray:
    """Return white letters on half-transparent black, [h, w, 4] uint8."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    letters = max(_SMALLEST, round(_SHARE * min(height, width)))
    font = ImageFont.load_default(letters)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(TEXT))
    pad = max(2, letters // 3)
    image = Image.new("RGBA", (right - left + 2 * pad, bottom - top + 2 * pad), (0, 0, 0, 150))
    ImageDraw.Draw(image).text((pad - left, pad - top), TEXT, (255, 255, 255, 255), font)
    return np.asarray(image)[:height, :width]


def labeled(frame_HWC: np.ndarray) -> np.ndarray:
    """Return a copy of a frame [H, W, 3 or 4] uint8 with the label in its lower right corner; alpha is straight."""
    import numpy as np

    label = _label(*frame_HWC.shape[:2])
    height, width = label.shape[:2]
    out_HWC = frame_HWC.copy()
    corner = out_HWC[-height:, -width:]
    alpha = label[..., 3:] / 255
    below = (1 - alpha) * (corner[..., 3:] / 255 if frame_HWC.shape[2] == 4 else 1)
    total = alpha + below
    corner[..., :3] = np.round((label[..., :3] * alpha + corner[..., :3] * below) / total)
    corner[..., 3:] = np.round(255 * total[..., : corner.shape[2] - 3])
    return out_HWC
