"""Licenses of the official checkpoints, which go with whatever is made of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from magicanimate.files import write_text

NOTICE_NAME = "NOTICE.md"
LICENCES = (
    "MagicAnimate's weights are tagged BSD-3-Clause, but were trained from Stable Diffusion 1.5 and hold weights "
    "derived from it, as its own UNet and text encoder do. Those are under CreativeML OpenRAIL-M, whose use "
    "restrictions (Attachment A) travel with every copy and converted folder; the VAE sd-vae-ft-mse is under MIT. "
    "https://huggingface.co/spaces/CompVis/stable-diffusion-license"
)
_NAMES = ("LICENSE*", "LICENCE*", "NOTICE*")


def write_notices(folder: Path, source: Path, official: bool = False) -> None:
    """Copy the licenses and notices of a model's source, to any depth, into a folder that is made of it.

    official: the source is in the official layout, whose licenses are told if it does not.
    """
    for path in sorted({path for name in _NAMES for path in source.rglob(name) if path.is_file()}):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if official and not (folder / NOTICE_NAME).exists():
        write_text(folder / NOTICE_NAME, f"{LICENCES}\n")
