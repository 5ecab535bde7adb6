"""Drawn people for training: clips of a data set go through the same matte, fit and layers as photographs do.

Frame 0 of a clip is the picture. Files in a folder: `drawn.rgb.npy` [N,F-1,H,W,3], `drawn.alpha.npy` and
`drawn.kind.npy` [N,F-1,H,W], uint8, of frames 1.. of N clips, and `drawn.found.npy` [N] bool: clips whose person was
found.

Shape legend: N clips, F frames, H W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from magicanimate.body.fit import fit_track
from magicanimate.body.track import Track
from magicanimate.person.layers import build_layers
from magicanimate.person.matte import find_matte
from magicanimate.person.scene import DrawnFrame, Scene
from magicanimate.person.track_person import track_picture
from magicanimate.synth.dataset import Dataset, open_dataset

_FPS = 1.0  # of frames that are far apart in time: nothing is smoothed
_ARRAYS = ("rgb", "alpha", "kind", "found")


@dataclass(frozen=True)
class Drawings:
    """Drawn frames of a data set's first clips, mapped into memory."""

    rgb: np.ndarray
    alpha: np.ndarray
    kind: np.ndarray
    found: np.ndarray

    def frame(self, clip: int, frame: int) -> DrawnFrame:
        """Return the drawing of frame `frame` + 1 of a clip."""
        return DrawnFrame(self.rgb[clip, frame], self.alpha[clip, frame], self.kind[clip, frame])


def draw_clip(rgb_FHWC: np.ndarray) -> list[DrawnFrame] | None:
    """Draw the person of frame 0 as frames 1.. show them; None where somebody is not found."""
    tracks = [track_picture(frame_HWC) for frame_HWC in rgb_FHWC]
    if any(track is None for track in tracks):
        return None
    body = fit_track(_joined([track for track in tracks if track is not None]))
    first = slice(0, 1)
    own = body.only(first)
    matte = find_matte(rgb_FHWC[0])
    if not matte.mask_HW.any():
        return None
    scene = Scene(rgb_FHWC[0], [build_layers(rgb_FHWC[0], matte, own)], [body])
    return [scene(index) for index in range(1, len(rgb_FHWC))]


def _joined(tracks: Sequence[Track]) -> Track:
    """Return tracks of single pictures as one."""
    masks = [track.masks for track in tracks]

    def mask(frame: int) -> np.ndarray | None:
        own = masks[frame]
        return None if own is None else own(0)

    first = tracks[0]
    world = [track.world_FJ3 for track in tracks]
    return Track(
        np.concatenate([track.points_FJ3 for track in tracks]), first.names, first.size, _FPS,
        None if any(w is None for w in world) else np.concatenate(world), mask,  # type: ignore[arg-type]
    )  # fmt: skip


def open_drawings(folder: Path) -> Drawings:
    """Open the drawings that `write_drawings` wrote."""
    return Drawings(*(np.load(folder / f"drawn.{name}.npy", mmap_mode="r") for name in _ARRAYS))


def write_drawings(
    data: Path, clips: int, folder: Path, workers: int, tick: Callable[[int], None] = lambda done: None
) -> Drawings:
    """Draw the first clips of a data set on disk, unless that was done before.

    Args:
        data: folder of the data set.
        workers: processes.
        tick: told how many clips are done.
    """
    paths = {name: folder / f"drawn.{name}.npy" for name in _ARRAYS}
    if not all(path.exists() for path in paths.values()):
        settings = open_dataset(data).settings
        shape = (clips, settings.frames - 1, settings.size, settings.size)
        shapes = {"rgb": (*shape, 3), "alpha": shape, "kind": shape, "found": (clips,)}
        arrays = {
            name: np.lib.format.open_memmap(
                path.with_suffix(".part"), "w+", bool if name == "found" else np.uint8, shapes[name]
            )
            for name, path in paths.items()
        }
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for clip, drawn in enumerate(pool.map(partial(_drawn_clip, data), range(clips))):
                if drawn is not None:
                    for name in ("rgb", "alpha", "kind"):
                        arrays[name][clip] = drawn[name]
                    arrays["found"][clip] = True
                tick(clip + 1)
        for name, path in paths.items():
            arrays[name].flush()
            os.replace(path.with_suffix(".part"), path)
    return open_drawings(folder)


def _drawn_clip(data: Path, clip: int) -> dict[str, np.ndarray] | None:
    import torch

    torch.set_num_threads(1)
    frames = draw_clip(_dataset(data).rgb(clip))
    if frames is None:
        return None
    return {
        "rgb": np.stack([frame.frame_HWC for frame in frames]),
        "alpha": np.stack([frame.alpha_HW for frame in frames]),
        "kind": np.stack([frame.kind_HW for frame in frames]),
    }


def _dataset(folder: Path) -> Dataset:
    return open_dataset(folder)
