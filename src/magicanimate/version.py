"""The installed version of the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed


def version() -> str:
    """Return the version of the installed package, or `0+source` in a source folder that is not installed."""
    try:
        return _installed("magicanimate")
    except PackageNotFoundError:
        return "0+source"
