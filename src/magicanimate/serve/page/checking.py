"""The check of both inputs while it is under way in a thread: how far it is, and how to stop it."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicanimate.serve.backend import JobState, ServiceError
from magicanimate.serve.clock import now
from magicanimate.serve.page.time_left import CHECK_SHARES, Pace

if TYPE_CHECKING:
    from magicanimate.check.examine import Examination
    from magicanimate.serve.service import Service

LOG = logging.getLogger(__name__)
Submit = Callable[..., "Future[Any]"]


class _Stopped(Exception):
    """Nobody wants to know any more; raised out of the check's progress."""


class Check:
    """One check; begins at once, or as soon as a thread is free. `state` is told as that of a job."""

    def __init__(
        self, backend: Service, run_aside: Submit, picture: Path, motion: Path,
        settings: Mapping[str, Any], model: str | None,
    ) -> None:  # fmt: skip
        self._stop = threading.Event()
        self.state = JobState(
            id=uuid.uuid4().hex, state="queued", model=model or "", settings=dict(settings), created=now()
        )
        self.pace = Pace(shares=CHECK_SHARES)
        self._future = run_aside(
            backend.examine, picture, motion, dict(settings), model=model, progress=self._told
        )  # fmt: skip

    def stop(self) -> None:
        """End it at its next word; what it would find is dropped."""
        self._stop.set()
        self._future.cancel()

    def look(self) -> None:
        """Update the progress."""
        self.pace.see(self.state, now())

    @property
    def ended(self) -> bool:
        return self._future.done()

    def outcome(self) -> Examination | str:
        """Return the findings, or the sentence why there are none; once the check has ended."""
        error = self._future.exception()
        if isinstance(error, ServiceError):
            return str(error)
        if error is not None:
            LOG.error("the check failed", exc_info=error)
            return "The check failed; the video can be made all the same."
        return self._future.result()

    def _told(self, stage: str, done: int, total: int | None) -> None:
        """The check's progress, in its own thread."""
        if self._stop.is_set():
            raise _Stopped
        started = self.state.started or now()
        news = {"state": "running", "started": started, "stage": stage, "done": done, "total": total}
        self.state = self.state.model_copy(update=news)
