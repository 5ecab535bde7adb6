"""Between ComfyUI's values and the package's: pictures, masks, sizes, settings. Pure functions, no ComfyUI in them.

Shape legend: B batch, F frames, H W pixels, C color channels. ComfyUI's IMAGE is float in [0, 1], [B, H, W, C].
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

MOTION_FILES = (".bvh", ".npz", ".npy", ".json", ".mp4", ".mov", ".webm", ".mkv", ".gif", ".webp")
MOTION_FOLDERS = (".openpose",)
NO_FILE = "none"
STAGES = {"extracting": 0.0, "reading": 0.3, "layers": 0.4, "control": 0.45, "denoise": 0.5, "decode": 0.8}
"""Beginning of each stage as a share of the whole; roughly."""


def package() -> Any:
    """The package magicanimate.

    Raises:
        RuntimeError: it is not installed, or another custom node pack puts its own module of that name before it.
    """
    try:
        found = importlib.import_module("magicanimate")
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "The package magicanimate is not installed in ComfyUI's Python environment: install this pack's "
            "requirements.txt there."
        ) from error
    if "MagicAnimatePipeline" not in getattr(found, "__all__", ()):
        places = [found.__file__] if getattr(found, "__file__", None) else list(getattr(found, "__path__", ["?"]))
        raise RuntimeError(
            f"Another custom node pack puts its own module magicanimate ({places[0]}) before the package of that name; "
            "remove or disable that pack and start ComfyUI again."
        )
    return found


def to_frames(images_BHWC: Tensor) -> np.ndarray:
    """IMAGE -> frames [B, H, W, 3] uint8; alpha is left out, gray is repeated."""
    values = images_BHWC.detach().cpu().float().clamp(0, 1).numpy()
    rgb = np.repeat(values, 3, axis=3) if values.shape[3] == 1 else values[..., :3]
    return np.rint(rgb * 255).astype(np.uint8)


def to_picture(images_BHWC: Tensor) -> np.ndarray:
    """IMAGE -> its first picture [H, W, 3] uint8."""
    return to_frames(images_BHWC[:1])[0]


def to_images(frames_FHWC: np.ndarray) -> Tensor:
    """Frames uint8 -> IMAGE [F, H, W, 3]; transparent ones lie before black."""
    import torch

    frames = torch.from_numpy(np.ascontiguousarray(frames_FHWC)).float() / 255
    return frames[..., :3] * frames[..., 3:] if frames.shape[3] == 4 else frames


def to_mask(maps_FHW: np.ndarray) -> Tensor:
    """Alpha [F, H, W] uint8, or booleans -> MASK [F, H, W] float, 1 where the person is."""
    import torch

    values = maps_FHW.astype(np.float32)
    return torch.from_numpy(values / 255 if maps_FHW.dtype == np.uint8 else values)


def settings_of(**values: Any) -> dict[str, Any]:
    """Settings that were chosen: 0 and empty text stand for "not chosen" where the package has a default of its own."""
    open_values = ("steps", "guidance", "fps", "max_frames", "person", "end")
    return {name: value for name, value in values.items() if value != "" and not (name in open_values and not value)}


def motion_files(folder: str | Path) -> list[str]:
    """Names of all in ComfyUI's input folder that may be a motion, after the one that stands for no file."""
    here = Path(folder)
    entries = sorted(here.iterdir()) if here.is_dir() else []
    found = [
        entry.name for entry in entries if entry.suffix.lower() in (MOTION_FOLDERS if entry.is_dir() else MOTION_FILES)
    ]
    return [NO_FILE, *found]


def one_motion(**given: Any) -> str:
    """Return which input of several was given. ValueError: none, or more than one."""
    names = [name for name, value in given.items() if value is not None and value is not False]
    if len(names) != 1:
        both = f"{' and '.join(names)} are connected" if names else "nothing is connected"
        raise ValueError(f"Read motion takes one of {', '.join(given)}, and {both}.")
    return names[0]


def share_done(stage: str, done: int, total: int | None) -> float:
    """Return the progress of the whole, 0 to 1."""
    begins = sorted(STAGES.values())
    start = STAGES.get(stage, 0.0)
    end = next((later for later in begins if later > start), 1.0)
    return start + (end - start) * min(1.0, done / total if total else 0.0)


def advice(findings: list[Any]) -> str:
    """Findings of a check, one a line, the worst first."""
    order = {"error": 0, "warning": 1}
    ranked = sorted(findings, key=lambda finding: order.get(finding.level, 2))
    return "\n".join(f"{finding.level}: {finding.topic}: {finding}" for finding in ranked)


def free_path(folder: str | Path, name: str, ending: str) -> Path:
    """Return the first path of name_00001, name_00002, and so on that is free."""
    number = 1
    while (path := Path(folder) / f"{name}_{number:05}{ending}").exists():
        number += 1
    return path
