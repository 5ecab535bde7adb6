"""Animate a picture of a person with a motion sequence.

from magicanimate import MagicAnimatePipeline

pipe = MagicAnimatePipeline.from_pretrained("tiny")
pipe("picture.png", "motion.mp4", seed=1).save("out.mp4")
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magicanimate.animation.pipeline import MagicAnimatePipeline
    from magicanimate.animation.settings import AnimateSettings
    from magicanimate.errors import InputError
    from magicanimate.media.video import Video

    __version__: str

# Where torchao is installed, diffusers imports it, and both warn of kernels that are not for this machine.
for _chatty in ("torchao", "diffusers.quantizers.torchao", "torch.utils._pytree"):
    if logging.getLogger(_chatty).level == logging.NOTSET:
        logging.getLogger(_chatty).setLevel(logging.ERROR)

__all__ = ["AnimateSettings", "InputError", "MagicAnimatePipeline", "Video", "__version__"]

# Imported when first asked for (PEP 562): torch and diffusers take seconds.
_HOMES = {
    "AnimateSettings": "magicanimate.animation.settings",
    "InputError": "magicanimate.errors",
    "MagicAnimatePipeline": "magicanimate.animation.pipeline",
    "Video": "magicanimate.media.video",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from magicanimate.version import version

        return version()
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'magicanimate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
