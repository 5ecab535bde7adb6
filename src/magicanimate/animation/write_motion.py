"""Write a motion: its body as BVH, OpenPose or .npz; part indices where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magicanimate.errors import InputError
from magicanimate.files import write_json, write_npz

if TYPE_CHECKING:
    from magicanimate.animation.parsing import Size
    from magicanimate.motion.clip import MotionClip

BODIES = (".bvh", ".openpose")
"""Endings of outputs that hold a body, and nothing else."""


def write_motion(found: MotionClip, out: Path, about: dict[str, Any], size: Size | None = None) -> None:
    """Write the body where there is one, otherwise part indices [F, H, W] uint8 and their rate; settings beside it.

    Args:
        found: the motion.
        out: ends in .bvh, .openpose (a folder) or .npz.
        about: the settings.
        size: (height, width) that it is brought to.

    Raises:
        InputError: there is no body, and `out` holds nothing else.
    """
    from magicanimate.media import settings_path
    from magicanimate.motion.formats.bvh_bodies import write_bvh
    from magicanimate.motion.formats.openpose_files import write_openpose
    from magicanimate.parts.densepose import resize_parts

    if found.body is not None:
        body = found.body.resized(size) if size else found.body
        if out.suffix.lower() == ".bvh":
            write_bvh(body, out)
        elif out.suffix.lower() == ".openpose":
            write_openpose(body, out)
        else:
            body.save(out)
    elif out.suffix.lower() in BODIES:
        raise InputError(f"{found.path} shows no single body, so nothing can be written as {out.suffix}.")
    else:
        parts_FHW = np.stack([resize_parts(parts_HW, size) if size else parts_HW for parts_HW in found])
        write_npz(out, {"parts": parts_FHW, "fps": np.array(found.fps)})
    write_json(settings_path(out), about)
