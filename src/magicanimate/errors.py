"""The exceptions that are the user's business."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from difflib import get_close_matches

_DEBIAN = {
    "libEGL.so.1": "libegl1", "libGL.so.1": "libgl1", "libGLdispatch.so.0": "libglvnd0", "libOpenGL.so.0": "libopengl0",
    "libglib-2.0.so.0": "libglib2.0-0", "libgomp.so.1": "libgomp1", "libgthread-2.0.so.0": "libglib2.0-0",
    "libsndfile.so.1": "libsndfile1", "libstdc++.so.6": "libstdc++6", "libz.so.1": "zlib1g",
}  # fmt: skip
"""System libraries, and the packages of Debian and Ubuntu that bring them."""
_ABSENT = re.compile(r"(lib[\w.+-]+?\.so[.\w]*)(: cannot open shared object file| not loaded| not found)")

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of errors that mean that no more fits."""
_NEAR = 0.6  # similarity of a name that may be meant


class InputError(ValueError):
    """Bad input or settings. Its message is one sentence: what is wrong and what to do about it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a clause that names the nearest of some known names; empty if none is near."""
    nearest = get_close_matches(name.lower(), list(known), n=1, cutoff=_NEAR)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def why_not_written(error: BaseException) -> str:
    """Return the reason for a failed write as a clause; PyTorch wraps the system's message."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            return "the disk is full: free some space first"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return first_line(error)


def first_line(error: BaseException, most: int = 200) -> str:
    """Return the first line of a library's message, for the inside of a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:most].rstrip(". ")


class NobodyFound(InputError):
    """No person was found where one was looked for."""


def absent_library(error: Exception) -> str | None:
    """Name the system library that could not be loaded and the package that brings it; None if that was not it."""
    found = _ABSENT.search(str(error))
    if found is None:
        return None
    library = found[1] if found[1].rpartition(".so")[2] else f"{found[1]}.1"  # some loaders leave the version out
    if package := _DEBIAN.get(library):
        return f"the system library {library}; on Debian or Ubuntu: apt-get install {package}"
    return f"the system library {library}; your system's packages bring it"


def cannot_import(purpose: str, package: str, command: str, error: ImportError) -> InputError:
    """Say in one sentence what a failed import lacks: a system library, or the package itself.

    Args:
        purpose: what needs the package; the sentence's subject.
        package: its name.
        command: what installs it.
        error: of the import.
    """
    if isinstance(error, ModuleNotFoundError) or not (library := absent_library(error)):
        reason = "" if isinstance(error, ModuleNotFoundError) or not str(error) else f" (it fails: {error})"
        return InputError(f"{purpose} needs the package {package}{reason}; install it with: {command}.")
    return InputError(f"{purpose} needs the package {package}, and that needs {library}.")
