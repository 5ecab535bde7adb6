"""One output belongs to one run at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from magicanimate.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep other processes from writing `path` meanwhile. What a killed process claimed is free again.

    The claim is a locked file `.NAME.lock` beside the output; where files cannot be locked nothing is claimed.

    Raises:
        InputError: another process has claimed it.
    """
    if fcntl is None or not path.parent.is_dir():
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    handle = _locked(lock, path)
    try:
        yield
    finally:
        if handle is not None:
            lock.unlink(missing_ok=True)
            os.close(handle)


def _locked(lock: Path, path: Path) -> int | None:
    """Return the handle of a locked file that is still under its name; None where files cannot be locked."""
    while True:
        try:
            handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise InputError(
                f"Another run is writing {path} at this moment; wait for it, or choose another name."
            ) from error
        except OSError:
            os.close(handle)
            return None
        with suppress(FileNotFoundError):  # whoever had it before may have removed the file before we locked it
            if os.stat(lock).st_ino == os.fstat(handle).st_ino:
                return handle
        os.close(handle)
