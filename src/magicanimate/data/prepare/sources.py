"""Collect the source files of a folder, group them, and assign each group to a side of the split."""

from __future__ import annotations

from pathlib import Path

from magicanimate.data.prepare.settings import PrepareSettings
from magicanimate.data.prepare.source import Source
from magicanimate.errors import InputError
from magicanimate.files import sha256
from magicanimate.media.pictures import PICTURE_SUFFIXES

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip
_MARK = ".densepose"
"""NAME.densepose.mp4 holds the part maps of NAME.mp4."""
_PARTS_SUFFIXES = (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES, ".npz", ".npy")


def find_sources(
    videos: Path, out: Path, settings: PrepareSettings, parts: Path | None = None
) -> tuple[list[Source], list[Source], int]:
    """Find the sources below a folder, by name; those that repeat another's content; the number of other files.

    parts: folder with part maps that have the names of their videos, endings aside.

    Raises:
        InputError: there is no such folder, nothing in it, or a file cannot be read.
    """
    for folder in (videos, *([parts] if parts else [])):
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; give a folder of videos and pictures.")
    files = sorted(path for path in videos.rglob("*") if path.is_file() and not _hidden(path, videos))
    files = [path for path in files if not path.resolve().is_relative_to(out.resolve())]
    if parts:
        files = [path for path in files if not path.resolve().is_relative_to(parts.resolve())]
    maps = [path for path in files if path.stem.endswith(_MARK)]
    usual = (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES)
    chosen = [path for path in files if path not in set(maps) and path.suffix.lower() in usual]
    if not chosen:
        raise InputError(
            f"{videos} holds no videos and no pictures; give a folder of mp4, mov, webm, jpg, png ... files."
        )
    sources: dict[str, Source] = {}
    repeated = []
    for path in chosen:
        name = path.relative_to(videos).as_posix()
        digest = _digest(path)
        group = digest if settings.split_by == "source" or "/" not in name else name.partition("/")[0]
        source = Source(path, name, digest, _map_of(path, videos, parts), share_of(group) < settings.held_out)
        if digest in sources:
            repeated.append(source)
        else:
            sources[digest] = source
    return list(sources.values()), repeated, len(files) - len(chosen) - len(maps)


def _hidden(path: Path, below: Path) -> bool:
    return any(piece.startswith(".") for piece in path.relative_to(below).parts)


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def share_of(group: str) -> float:
    """Return a number in [0, 1) that belongs to a name or hash: the same in every run, on every machine."""
    return int(sha256(group)[:12], 16) / 16**12


def _map_of(path: Path, videos: Path, parts: Path | None) -> Path | None:
    """Return the part maps that lie beside a source, or in the folder of part maps."""
    stems = [path.with_name(path.stem + _MARK)]
    if parts:
        same = parts / path.relative_to(videos)
        stems = [same.with_suffix(""), same.with_name(path.stem + _MARK), *stems]
    for stem in stems:
        for suffix in _PARTS_SUFFIXES:
            if (candidate := stem.with_name(stem.name + suffix)).is_file():
                return candidate
    return None


def parts_digest(source: Source) -> str | None:
    """Hash of the part maps that came with a source."""
    return None if source.parts is None else _digest(source.parts)
