"""The service's clock."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def now() -> float:
    """Seconds since 1970, counted on from the start of this process: setting the machine's clock changes nothing."""
    return _START + time.monotonic()
