"""Match outputs to targets: folders by name, or two single videos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from magicanimate.errors import InputError
from magicanimate.media.pictures import PICTURE_SUFFIXES
from magicanimate.media.reading import visible

VIDEO_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v", ".gif")
ARRAY_SUFFIXES = (".npy", ".npz")
_LISTED = 3  # names in a message


@dataclass(frozen=True)
class Pair:
    """A video to be evaluated."""

    name: str
    output: Path
    target: Path
    parts: Path | None = None
    """Part maps of the target."""


def pair_up(output: Path, target: Path, parts: Path | None = None) -> list[Pair]:
    """Match outputs with targets, and with part maps, by name without ending; sorted by name.

    A folder holds one video if pictures (or arrays of single frames) lie in it, otherwise its files and sub-folders
    are videos.

    Raises:
        InputError: something is missing, empty, there twice, or named differently.
    """
    outputs, targets = _videos(output, "output"), _videos(target, "target")
    if isinstance(outputs, Path) != isinstance(targets, Path):
        raise InputError(f"Give two videos or two folders of videos; {output} and {target} are one of each.")
    if isinstance(outputs, Path) or isinstance(targets, Path):
        assert isinstance(outputs, Path)
        assert isinstance(targets, Path)
        if parts is not None and not parts.exists():
            raise InputError(f"The part maps {parts} do not exist; check the path.")
        return [Pair(targets.stem, outputs, targets, parts)]
    _same_names(outputs, targets, "output", "target")
    maps = _maps(parts) if parts else {}
    if parts:
        _same_names({name: maps[name] for name in maps if name in targets}, targets, "part map", "target")
    return [Pair(name, outputs[name], targets[name], maps.get(name)) for name in sorted(targets)]


def holds_frames(folder: Path) -> bool:
    """Return True if a folder is one video: single frames lie in it."""
    files = [file for file in visible(folder) if file.is_file()]
    if any(file.suffix.lower() in VIDEO_SUFFIXES for file in files):
        return False
    return any(file.suffix.lower() in (*PICTURE_SUFFIXES, ".npy") for file in files) and not _sub_folders(folder)


def _videos(path: Path, what: str) -> Path | dict[str, Path]:
    """Return a single video, or the videos of a folder by name."""
    if not path.exists():
        raise InputError(f"The {what} {path} does not exist; check the path.")
    if path.is_file() or (holds_frames(path) and not _whole_videos(path)):
        return path
    found = [file for file in visible(path) if file.suffix.lower() in (*VIDEO_SUFFIXES, *ARRAY_SUFFIXES)]
    found += _sub_folders(path)
    if not found:
        raise InputError(f"The folder {path} holds no videos and no folders of frames; give the {what}s of a method.")
    return _by_name(found, path)


def _whole_videos(folder: Path) -> bool:
    """Return True if the arrays in a folder are videos [F, H, W, 3] rather than frames [H, W, 3]."""
    import numpy as np

    arrays = [file for file in visible(folder) if file.suffix.lower() == ".npy"]
    if not arrays:
        return False
    try:
        return np.load(arrays[0], "r", allow_pickle=False).ndim == 4
    except (OSError, ValueError, EOFError):
        return True  # the sentence for a damaged file comes when it is read


def _maps(folder: Path) -> dict[str, Path]:
    """Return part maps by name: whatever a motion can be."""
    if not folder.is_dir():
        raise InputError(f"The part maps {folder} are no folder; give one with a part map for each target.")
    suffixes = (*VIDEO_SUFFIXES, *ARRAY_SUFFIXES, *PICTURE_SUFFIXES)
    found = [file for file in visible(folder) if file.suffix.lower() in suffixes] + _sub_folders(folder)
    return _by_name(found, folder)


def _sub_folders(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.is_dir() and any(visible(path))]


def _by_name(paths: Iterable[Path], folder: Path) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        name = path.name if path.is_dir() else path.stem
        if name in named:
            raise InputError(f"{folder} holds two videos called {name} ({named[name].name}, {path.name}); remove one.")
        named[name] = path
    return named


def _same_names(ours: dict[str, Path], targets: dict[str, Path], what: str, other: str) -> None:
    for missing, there, lacking in ((set(targets) - set(ours), other, what), (set(ours) - set(targets), what, other)):
        if missing:
            listed = ", ".join(sorted(missing)[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
            raise InputError(
                f"{len(missing)} {there}s have no {lacking} of their name ({listed}); names have to match."
            )
