"""A folder as one archive in pieces, for transfers that limit the size of a file."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from pathlib import Path

from magicanimate.errors import InputError

PIECE_BYTES = 16_000_000
ARCHIVE = "session.tgz"


def pack(folder: Path, out: Path, most_mb: float) -> None:
    """Write a folder as pieces ARCHIVE.00-of-NN and so on; raises InputError if they would be too large together."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        tar.add(folder, arcname=".")
    content = buffer.getvalue()
    if len(content) > 1e6 * most_mb:
        raise InputError(f"The results are {len(content) / 1e6:.1f} MB and may be {most_mb:g} (--most-mb).")
    pieces = [content[i : i + PIECE_BYTES] for i in range(0, len(content), PIECE_BYTES)]
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{ARCHIVE}.*"):
        old.unlink()
    for i, piece in enumerate(pieces):
        temporary = out / f".{i}.part"
        temporary.write_bytes(piece)
        os.replace(temporary, out / f"{ARCHIVE}.{i:02d}-of-{len(pieces):02d}")


def unpack(pieces: Path, folder: Path) -> None:
    """Undo `pack`. Raises InputError if pieces are missing or damaged."""
    found = sorted(pieces.glob(f"{ARCHIVE}.*"))
    expected = int(found[0].name.rpartition("-")[2]) if found else 0
    if not found or len(found) != expected:
        raise InputError(f"{pieces} has {len(found)} pieces of {ARCHIVE}, not all {expected or 'of them'}.")
    try:
        # decompressed first, because that checks a sum: tarfile alone takes a broken archive for a short one
        content = gzip.decompress(b"".join(piece.read_bytes() for piece in found))
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"The pieces in {pieces} are damaged ({error}); copy them again.") from error
