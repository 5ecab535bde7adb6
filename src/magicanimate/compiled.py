"""Compiles numeric loops to machine code with numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; it runs without the interpreter's lock.

    The result is kept in the folder of the function's file or, where that cannot be written, in the user's cache.
    """
    try:
        return numba.njit(function, cache=True, nogil=True)
    except RuntimeError:  # no folder can be written: compiled again in each process
        return numba.njit(function, nogil=True)
