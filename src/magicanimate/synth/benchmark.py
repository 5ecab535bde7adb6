"""SynthDance-test: the fixed benchmark of generated people and motions that no training has seen.

40 people of the test split, 4 motions each, 32 frames at 12.5 per second, every motion drawn for this clip alone. A
clip's first frame is the reference, at least a second away from the others.

Folder: `target/NAME/frame_00000.png` .. (frame 0: the reference), `parts/NAME/...` (their DensePose maps),
`person/NAME/frame_00000.png` (where the reference shows the person, with hair and clothes), and `benchmark.json` with
seeds and hashes. NAME is `p07_m2`: person 7, motion 2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from magicanimate.errors import InputError
from magicanimate.files import atomic_path, sha256, write_json
from magicanimate.parts.densepose import PALETTE_25, render_parts, with_loose
from magicanimate.synth.clip import render_clip
from magicanimate.synth.dataset import clip_times

NAME, VERSION = "SynthDance-test", 2  # 1 had the same pixels, and no `person`
PEOPLE, MOTIONS, FRAMES, FPS = 40, 4, 32, 12.5
FIRST_PERSON, FIRST_MOTION = 7000, 8000  # seeds of the test split that no preview and no other benchmark uses
INDEX = "benchmark.json"
PIXELS = {128: "ed4ad40d64dfcfcda6466dfa1f37ed9f09b8279c87843510012fd1154b1550ff"}
"""Hash by size, as rendered by Mesa 22.3's llvmpipe, of the whole benchmark's pictures and part maps."""


@dataclass(frozen=True)
class Item:
    """One clip: name, and the seeds of its person and its motion."""

    name: str
    person: int
    motion: int


class RenderedItem(NamedTuple):
    """Pictures and maps of a clip, uint8; frame 0 is the reference."""

    rgb_FHWC: np.ndarray
    """[33,H,W,3]"""
    parts_FHW: np.ndarray
    """[33,H,W]"""
    own_HW: np.ndarray
    """The reference's own map: its parts, and hair and clothes beside them (`warp.LOOSE`), as `find_person` finds them
    in a photograph."""


def items(people: int = PEOPLE, motions: int = MOTIONS) -> Iterator[Item]:
    """Yield the clips in order; fewer people or motions give a part of the same benchmark."""
    for i in range(people):
        for m in range(motions):
            yield Item(f"p{i:02d}_m{m}", FIRST_PERSON + i, FIRST_MOTION + MOTIONS * i + m)


def render_item(item: Item, size: int) -> RenderedItem:
    """Return one clip."""
    clip = render_clip(item.person, clip_times(item.motion, FRAMES + 1, FPS), size, "test", item.motion)
    return RenderedItem(clip.rgb, clip.parts, with_loose(clip.parts[0], clip.person[0]))


def _write_frames(folder: Path, frames: np.ndarray) -> None:
    """A folder of pictures [F,H,W,3] or [F,H,W], complete or not there."""
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(temporary / f"frame_{i:05d}.png", compress_level=1)


def _write_item(folder: Path, item: Item, size: int) -> str:
    """Write one clip; the hash of its pixels."""
    rgb, parts, own_HW = render_item(item, size)
    seen_1HW = (own_HW[None] > 0).astype(np.uint8) * 255
    kinds = {"parts": render_parts(parts), "person": seen_1HW, "target": rgb}  # the target last: it marks completion
    for name, frames in kinds.items():
        _write_frames(folder / name / item.name, frames)
    return sha256(rgb.tobytes(), parts.tobytes())


def _settings(size: int, people: int, motions: int) -> dict[str, object]:
    return {
        "name": NAME, "version": VERSION, "size": size, "people": people, "motions": motions,
        "frames": FRAMES, "fps": FPS, "reference": "first frame",
    }  # fmt: skip


def _read_index(folder: Path, settings: dict[str, object]) -> dict[str, str]:
    """Return hashes of the clips that are there. Raises InputError if the folder is something else."""
    index = folder / INDEX
    if not index.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no {NAME}; choose another folder.")
        return {}
    content = json.loads(index.read_text(encoding="utf-8"))
    if {key: content.get(key) for key in settings} != settings:
        raise InputError(f"{folder} holds {NAME} with other settings; choose another folder or the same settings.")
    clips: dict[str, str] = content["clips"]
    return {name: digest for name, digest in clips.items() if (folder / "target" / name).is_dir()}


def _write_index(folder: Path, settings: dict[str, object], clips: dict[str, str]) -> None:
    ordered = dict(sorted(clips.items()))
    total = sha256(*ordered.values())
    write_json(folder / INDEX, {**settings, "sha256": total, "clips": ordered}, indent=1)


def build(
    folder: Path,
    size: int = 256,
    people: int = PEOPLE,
    motions: int = MOTIONS,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Render what is missing of the benchmark, in several processes; repeat after an interruption. Returns its hash.

    The hash is that of all pixels: graphics drivers may round some of them differently, so figures are comparable
    to the last digit where hashes agree. Raises InputError if the folder holds something else.
    """
    settings, plan = _settings(size, people, motions), list(items(people, motions))
    clips = _read_index(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [item for item in plan if item.name not in clips]
    _write_index(folder, settings, clips)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(_write_item, folder, item, size): item.name for item in missing}
        for job in as_completed(jobs):
            clips[jobs[job]] = job.result()
            _write_index(folder, settings, clips)
            if progress:
                progress(len(clips), len(plan))
    return str(json.loads((folder / INDEX).read_text(encoding="utf-8"))["sha256"])


def compared(digest: str, size: int) -> str:
    """Return half a sentence on whether these are the pixels that our figures were measured on."""
    if size not in PIXELS:
        return "the first of this size"
    return "the same as ours" if digest == PIXELS[size] else "not quite ours: another graphics driver or generator"


def read_item(folder: Path, name: str) -> RenderedItem:
    """Return one clip, as it was rendered."""

    def frames(kind: str) -> np.ndarray:
        files = sorted((folder / kind / name).glob("frame_*.png"))
        if not files:
            raise InputError(f"{folder} has no clip {name}; build it with: magicanimate synth {folder} --benchmark")
        return np.stack([np.asarray(Image.open(file)) for file in files])

    # exact colors, so that red and green alone tell the parts apart
    table = np.zeros(2**16, np.uint8)
    table[PALETTE_25[:, 0].astype(int) * 256 + PALETTE_25[:, 1]] = np.arange(25)
    colors = frames("parts").astype(int)
    parts = table[colors[..., 0] * 256 + colors[..., 1]]
    return RenderedItem(frames("target"), parts, with_loose(parts[0], frames("person")[0] > 0))
