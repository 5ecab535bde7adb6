"""Paths as people write them."""

from __future__ import annotations

import re
from pathlib import Path

from magicanimate.errors import InputError

_ADDRESS = re.compile(r"(https?|ftp|s3|gs|file):/", re.IGNORECASE)
_WILDCARDS = re.compile(r"[*?\[]")


def existing_path(path: str | Path, what: str) -> Path:
    """Return the path of an input, with `~` for the home folder; `what` names it in messages.

    Raises:
        InputError: nothing is there; says so in particular for addresses, wildcards and `-`.
    """
    path = Path(path)
    text = str(path)
    if _ADDRESS.match(text):
        raise InputError(f"The {what} {text} is an address; download it first, and give the file.")
    try:
        if "\0" in text:
            raise ValueError("a NUL")
        found = path.expanduser()
        if found.is_file() or found.is_dir():
            return found
        if found.exists():
            raise InputError(f"The {what} {text} is neither a file nor a folder; give one that can be read twice.")
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such home, a NUL in it
        raise InputError(f"The {what} {text[:200]!r} is no path that can be read; check it.") from error
    if text == "-":
        raise InputError(f"The {what} cannot be read from standard input; give a file.")
    if _WILDCARDS.search(text):
        raise InputError(
            f"The {what} {text} does not exist, and wildcards stand for nothing here; give one file, or for a motion a "
            "folder of frames."
        )
    raise InputError(f"The {what} {text} does not exist; check the path.")


def output_path(path: str | Path) -> Path:
    """Return the path of an output, with `~` for the home folder.

    Raises:
        InputError: it is an address, or `-`.
    """
    text = str(path)
    if text == "-":
        raise InputError("A video cannot be written to standard output; give a name such as out.mp4.")
    if _ADDRESS.match(text):
        raise InputError(f"The output {text} is an address; write a file, and upload that.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"The output {text} names a home folder that is not there; check it.") from error
