"""Sessions by visitor, so that a reloaded page goes on where it was. They live in the memory of the web process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from magicanimate.serve.page.session import Session

MOST_VISITORS = 200
"""Sessions that are kept, each of about 1 MB; those unseen for longest go first."""


@dataclass
class Desk:
    """A visitor's session, shared by all pages that this visitor has open."""

    session: Session
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Events of one visitor come one after the other; those of others need not wait."""
    seen: float = field(default_factory=time.monotonic)
    """Seconds since 1970."""


class Visitors:
    """Keeps at most `most` desks, each for `keep_seconds` after it was last seen."""

    def __init__(self, keep_seconds: float, most: int = MOST_VISITORS) -> None:
        self._keep_seconds, self._most = keep_seconds, most
        self._desks: dict[Hashable, Desk] = {}
        self._lock = threading.Lock()

    def desk_of(self, visitor: Hashable, begin: Callable[[], Session]) -> Desk:
        """Return the visitor's desk; a new one where there is none."""
        with self._lock:
            desk = self._desks.pop(visitor, None) or Desk(begin())
            desk.seen = time.monotonic()
            gone = self._clear()
            self._desks[visitor] = desk
        for old in gone:
            with old.lock:
                old.session.leave()
        return desk

    def _clear(self) -> list[Desk]:
        """Take away the desks that are too old or too many for one more."""
        by_age = sorted(self._desks, key=lambda visitor: self._desks[visitor].seen)
        late = time.monotonic() - self._keep_seconds
        too_many = len(by_age) + 1 - self._most
        gone = [each for rank, each in enumerate(by_age) if rank < too_many or self._desks[each].seen < late]
        return [self._desks.pop(each) for each in gone]
