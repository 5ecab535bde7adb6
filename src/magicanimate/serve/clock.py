"""The service's clock."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def now() -> float:
    """Return seconds since 1970, counted from the start of this process: setting the clock changes nothing."""
    return _START + time.monotonic()
