"""Files of a task that travel through Ray, so that machines need no disk in common."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Files = dict[str, bytes]
"""Contents by name, relative and with slashes."""
_PREFIX = "magicanimate-work-"


def pack(path: Path, name: str = "") -> Files:
    """Read a file, or all files below a folder, under a name; hidden ones not."""
    if path.is_file():
        return {name: path.read_bytes()}
    return {
        "/".join((*filter(None, [name]), *file.relative_to(path).parts)): file.read_bytes()
        for file in sorted(path.rglob("[!.]*"))
        if file.is_file()
    }


def unpack(files: Files, folder: Path) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def deliver(files: Files, folder: Path) -> None:
    """Write files below a folder, each file or folder at once, instead of those of the same name."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".part", ignore_cleanup_errors=True) as temporary:
        unpack(files, Path(temporary))
        for made in sorted(Path(temporary).iterdir()):
            target = folder / made.name
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(made, target)


@contextmanager
def work_folder() -> Iterator[Path]:
    """Make a temporary folder, once those of killed processes, which nobody locks any more, are removed."""
    for old in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if (lock := _lock(old)) is not None:
            shutil.rmtree(old, ignore_errors=True)
            os.close(lock)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = _lock(folder)
        if fcntl is None or (lock is not None and folder.is_dir()):  # else another process took it for an old one
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder of ours; None if another process has it, or nothing can be locked here."""
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(handle).st_uid == os.getuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
    except OSError:
        pass
    os.close(handle)
    return None
