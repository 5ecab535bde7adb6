"""A contact sheet of clips: each row of pictures above its part maps."""

from pathlib import Path

import numpy as np
from PIL import Image

from magicanimate.parts.densepose import PALETTE_25
from magicanimate.synth.dataset import DatasetSettings, make_clip


def write_sheet(path: Path, settings: DatasetSettings) -> None:
    """Render the clips of `settings` onto one PNG."""
    rows = []
    for seed in range(settings.first_seed, settings.first_seed + settings.clips):
        clip = make_clip(seed, settings)
        rows += [np.concatenate(list(clip.rgb), 1), np.concatenate(list(PALETTE_25[clip.parts]), 1)]
    Image.fromarray(np.concatenate(rows)).save(path)
