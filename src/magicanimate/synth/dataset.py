"""Data sets of clips on disk: shards of arrays, written by several processes, deterministic and resumable.

Layout of a folder: `index.json` (settings, shards) and per shard `NAME.rgb.npy` [N,F,H,W,3], `NAME.parts.npy`
[N,F,H,W], in all but older ones `NAME.person.npy` [N,F,H,W] bool, and perhaps further controls, `NAME.pose.npy`
[N,F,H,W,3] and `NAME.depth.npy` [N,F,H,W]; all others uint8, so that training can map them into memory. Shards may have
any number of clips. Frame 0 of each clip is far in time from the others.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from magicanimate.errors import InputError
from magicanimate.files import sha256, write_json, write_npy
from magicanimate.parts.densepose import with_loose
from magicanimate.synth.camera_effects import filmed_clip
from magicanimate.synth.clip import MOTION_SECONDS, SPLITS, GeneratedClip, render_clip
from magicanimate.synth.controls import check_controls, control_frames

INDEX = "index.json"
PERSON = "person"


@dataclass(frozen=True)
class DatasetSettings:
    """Contents of a data set. Clips i = 0..clips-1 have the seeds first_seed + i."""

    clips: int
    frames: int
    size: int = 256
    fps: float | None = (
        None  # None: frames spread over the whole motion; else frames 1.. follow each other at this rate
    )
    split: str = "train"
    first_seed: int = 0
    clips_per_shard: int = 50
    controls: tuple[str, ...] = ()
    """Control kinds besides parts: pose, depth."""
    filmed: bool = False
    """Pictures as a phone takes them (camera_effects.py)."""
    rich: bool = False
    """People with accessories, folds, prints and more detailed faces (wardrobe.py)."""

    def shards(self) -> Iterator[tuple[str, range]]:
        for start in range(0, self.clips, self.clips_per_shard):
            seeds = range(self.first_seed + start, self.first_seed + min(start + self.clips_per_shard, self.clips))
            yield f"{seeds.start:08d}", seeds


def clip_times(seed: int, frames: int, fps: float | None) -> np.ndarray:
    """Draw the times of a clip's frames, [F] seconds."""
    rng = np.random.default_rng([seed, 77])
    if fps is None:
        slot = MOTION_SECONDS / frames
        return rng.permutation((np.arange(frames) + rng.uniform(0.1, 0.9, frames)) * slot)
    run = np.arange(frames - 1) / fps
    if run[-1] > 0.6 * MOTION_SECONDS:
        raise InputError(
            f"{frames - 1} frames at {fps} fps are longer than {0.6 * MOTION_SECONDS:.1f} s; use fewer frames."
        )
    start = rng.uniform(0, MOTION_SECONDS - run[-1])
    before = start > MOTION_SECONDS - run[-1] - start
    reference = (
        rng.uniform(0, max(0.0, start - 1))
        if before
        else rng.uniform(min(MOTION_SECONDS, start + run[-1] + 1), MOTION_SECONDS)
    )
    return np.concatenate([[reference], start + run])


def make_clip(seed: int, settings: DatasetSettings) -> GeneratedClip:
    """Return one clip of a data set."""
    times = clip_times(seed, settings.frames, settings.fps)
    render = partial(render_clip, seed, size=settings.size, split=settings.split, rich=settings.rich)
    if not settings.filmed:
        return render(times)
    return filmed_clip(render, times, seed, settings.size, settings.split)


def _write_shard(folder: Path, name: str, seeds: range, settings: DatasetSettings) -> str:
    clips = [make_clip(seed, settings) for seed in seeds]
    write_npy(folder / f"{name}.rgb.npy", np.stack([clip.rgb for clip in clips]))
    write_npy(folder / f"{name}.{PERSON}.npy", np.stack([clip.person for clip in clips]))
    for kind in settings.controls:
        write_npy(folder / f"{name}.{kind}.npy", np.stack([control_frames(clip, kind) for clip in clips]))
    write_npy(
        folder / f"{name}.parts.npy", np.stack([clip.parts for clip in clips])
    )  # last: marks the shard as complete
    return name


def _settings(index: Path) -> DatasetSettings:
    """Return settings of a data set on disk; those of an older one have no controls."""
    stored = json.loads(index.read_text())["settings"]
    return DatasetSettings(**stored | {"controls": tuple(stored.get("controls", ()))})


def _check(folder: Path, settings: DatasetSettings) -> None:
    if settings.split not in SPLITS:
        raise InputError(f"Unknown split {settings.split!r}; choose one of {', '.join(SPLITS)}.")
    check_controls(settings.controls)
    if settings.clips < 1 or settings.frames < 2 or settings.size < 16:
        raise InputError("A data set needs at least 1 clip, 2 frames and a size of 16 pixels.")
    index = folder / INDEX
    if index.exists() and replace(_settings(index), clips=0) != replace(settings, clips=0):
        raise InputError(f"{folder} holds a data set with other settings; choose another folder or the same settings.")


def _holds(path: Path, clips: int) -> bool:
    """Return True if a shard with so many clips exists: the last one of a smaller data set has fewer."""
    return path.exists() and len(np.load(path, mmap_mode="r")) == clips


def write_dataset(
    folder: Path, settings: DatasetSettings, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write the missing shards, in several processes. Interrupt and repeat at will; more clips may be added later.

    progress: called with the number of finished and of all shards; it may raise to stop once the current ones are done.
    """
    _check(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    shards = list(settings.shards())
    missing = [(name, seeds) for name, seeds in shards if not _holds(folder / f"{name}.parts.npy", len(seeds))]
    write_json(folder / INDEX, {"settings": asdict(settings), "shards": [name for name, _ in shards]}, indent=1)
    done = len(shards) - len(missing)
    # spawned, not forked: neither torch's threads nor an OpenGL context survive a fork
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_write_shard, folder, name, seeds, settings) for name, seeds in missing]
        try:
            for job in as_completed(jobs):
                job.result()
                done += 1
                if progress:
                    progress(done, len(shards))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@dataclass(frozen=True)
class Dataset:
    """A folder of clips, mapped into memory. `rgb[i]` [F,H,W,3] and `parts[i]` [F,H,W] are clip i."""

    settings: DatasetSettings
    rgb_shards: list[np.ndarray]
    parts_shards: list[np.ndarray]
    control_shards: dict[str, list[np.ndarray]] = field(default_factory=dict)
    person_shards: list[np.ndarray] = field(default_factory=list)
    """[N,F,H,W] bool, where people with hair and clothes are; none in older data sets."""
    clips: list[dict[str, Any]] = field(default_factory=list)
    """Entries of the index about each clip of prepared videos (`train prepare`)."""

    def __len__(self) -> int:
        return self._starts[-1]

    @cached_property
    def _starts(self) -> list[int]:
        """First clip of each shard, and the number of clips."""
        return [0, *accumulate(len(shard) for shard in self.parts_shards)]

    def _find(self, shards: list[np.ndarray], i: int) -> np.ndarray:
        if not 0 <= i < len(self):
            raise IndexError(f"clip {i} of {len(self)}")
        shard = bisect_right(self._starts, i) - 1
        return shards[shard][i - self._starts[shard]]

    def rgb(self, i: int) -> np.ndarray:
        return self._find(self.rgb_shards, i)

    def parts(self, i: int) -> np.ndarray:
        return self._find(self.parts_shards, i)

    def own(self, i: int) -> np.ndarray:
        """Return the part maps of clip i for warping, with hair and loose cloth where they are known. [F,H,W]."""
        return with_loose(self.parts(i), self._find(self.person_shards, i)) if self.person_shards else self.parts(i)

    def control(self, kind: str, i: int) -> np.ndarray:
        """Return control frames of clip i: densepose or depth [F,H,W], pose [F,H,W,3]. Raises InputError if missing."""
        if kind == "densepose":
            return self.parts(i)
        if kind not in self.control_shards:
            raise InputError(f"The data set has no {kind} frames; make it again with --controls {kind}.")
        return self._find(self.control_shards[kind], i)

    def times(self, i: int) -> np.ndarray:
        """Return the times of the frames of clip i, [F] seconds."""
        if self.clips:
            return np.array(self.clips[i]["times"])
        return clip_times(self.settings.first_seed + i, self.settings.frames, self.settings.fps)

    @property
    def sources(self) -> str | None:
        """Hash of what the clips were cut from, where that is not decided by the settings."""
        if not self.clips:
            return None
        told = json.dumps([[clip["sha256"], clip["shard"], clip["crop"], clip["times"]] for clip in self.clips])
        return sha256(told)[:16]


def open_dataset(folder: Path, only_complete: bool = True) -> Dataset:
    """Open a data set. With only_complete=False, the leading shards that exist so far (while it is being written)."""
    index = folder / INDEX
    if not index.is_file():
        raise InputError(f"{folder} is no data set ({INDEX} is missing); make one with: magicanimate synth {folder}")
    content = json.loads(index.read_text())
    names = content["shards"]
    present = [name for name in names if (folder / f"{name}.parts.npy").exists()]
    if only_complete and len(present) < len(names):
        raise InputError(
            f"{folder} is incomplete ({len(present)} of {len(names)} shards); run the synth command again."
        )
    leading = [name for name, other in zip(names, present, strict=False) if name == other]
    if not leading:
        raise InputError(f"{folder} holds no finished shard yet.")

    def shards(kind: str) -> list[np.ndarray]:
        return [np.load(folder / f"{name}.{kind}.npy", mmap_mode="r") for name in leading]

    settings = _settings(index)
    return Dataset(
        settings,
        shards("rgb"),
        shards("parts"),
        {kind: shards(kind) for kind in settings.controls},
        shards(PERSON) if all((folder / f"{name}.{PERSON}.npy").exists() for name in leading) else [],
        content.get("clips", []),
    )
