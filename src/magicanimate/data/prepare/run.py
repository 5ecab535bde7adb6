"""All sources of a folder, in several processes. Interrupt and repeat at will."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from magicanimate.data.prepare.people import check_extractor
from magicanimate.data.prepare.settings import REASONS, PrepareSettings
from magicanimate.data.prepare.source import Source
from magicanimate.data.prepare.sources import find_sources
from magicanimate.data.prepare.store import (
    PrepareReport,
    open_output,
    prune,
    record_of,
    report_on,
    write_indexes,
    write_source,
)
from magicanimate.errors import InputError

Told = Callable[[int, int, str], None]
"""(sources done, sources, name of the last one)."""

_stop: Event | None = None  # of a worker process


def prepare(
    videos: Path,
    out: Path,
    settings: PrepareSettings,
    parts: Path | None = None,
    workers: int = 1,
    progress: Told | None = None,
    forget: bool = False,
) -> PrepareReport:
    """Prepare what is not prepared yet, and write the indexes that training reads.

    forget: delete what was made of sources that are no longer in the folder.

    Raises:
        InputError: bad settings or folders, an extractor that cannot run, or nothing that could be kept.
    """
    sources, repeated, others = find_sources(videos, out, settings, parts)
    open_output(out, settings)
    if forget:
        prune(out, sources)
    done: dict[str, tuple[Source, dict[str, Any]]] = {}
    for source in sources:
        if record := record_of(out, source):
            done[source.name] = (source, record)
    missing = [source for source in sources if source.name not in done]
    if any(source.parts is None for source in missing) or settings.controls:
        check_extractor(settings.extractor, bool(settings.controls))
    try:
        for source, record in _records(out, missing, settings, workers):
            done[source.name] = (source, record)
            if progress:
                progress(len(done), len(sources), source.name)
    finally:  # an interrupted run leaves data that can be trained on
        write_indexes(out, done.values(), settings)
    report = report_on(done.values(), repeated, others)
    if not report.kept:
        told = ", ".join(f"{count} x {REASONS[reason]}" for reason, count in report.dropped.items())
        raise InputError(
            f"Nothing of the {report.sources} sources in {videos} could be kept ({told or 'all scenes too short'}); "
            "docs/own-videos.md says what is looked for."
        )
    return report


def _records(
    out: Path, missing: list[Source], settings: PrepareSettings, workers: int
) -> Iterator[tuple[Source, dict[str, Any]]]:
    """Yield finished sources as they come."""
    if workers == 1 or len(missing) < 2:
        for source in missing:
            yield source, write_source(out, source, settings, lambda: None)
        return
    context = multiprocessing.get_context("spawn")  # neither torch's threads nor an OpenGL context survive a fork
    stop = context.Event()
    pool = ProcessPoolExecutor(min(workers, len(missing)), context, _begin, (stop,))
    try:
        jobs = {pool.submit(_work, out, source, settings): source for source in missing}
        for job in as_completed(jobs):
            yield jobs[job], job.result()
    except BrokenProcessPool as error:
        raise InputError(
            "A worker process ended by force, most likely for want of memory; run the command again with fewer "
            "--workers, finished sources are kept."
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _begin(stop: Event) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is told, and tells the others
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _work(out: Path, source: Source, settings: PrepareSettings) -> dict[str, Any]:
    return write_source(out, source, settings, _tick)


def _tick() -> None:
    if _stop is not None and _stop.is_set():
        raise KeyboardInterrupt
