"""Atomic writes and content hashes of files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@contextmanager
def atomic_path(path: Path, *, durable: bool = False, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path`; move what was written there to `path` when the block ends well.

    Whatever goes wrong, `path` stays as it was and the temporary file or folder is removed.

    Args:
        path: file, or folder, that appears complete or not at all; a folder replaces a folder.
        durable: wait until the content is on the disk before it is moved.
        suffix: ending of the temporary name, for writers that choose a format by it.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part{suffix}")
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        if path.is_dir() and temporary.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Delete a file or a folder with all that is in it; one that is gone already is no fault."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any, indent: int = 2) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write an npy file atomically."""
    import numpy as np

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed npz file atomically."""
    import numpy as np

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def sha256(*pieces: bytes | str | Path | memoryview) -> str:
    """Return the hexadecimal SHA-256 of bytes, texts and contents of files, one after the other.

    Raises:
        OSError: a file cannot be read.
    """
    state = hashlib.sha256()
    for piece in pieces:
        if isinstance(piece, Path):
            with piece.open("rb") as file:
                while block := file.read(1 << 20):
                    state.update(block)
        else:
            state.update(piece.encode() if isinstance(piece, str) else piece)
    return state.hexdigest()
