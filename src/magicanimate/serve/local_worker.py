"""A worker in a process of its own; see `crew.Worker`. The process ends when the server does, by whatever end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from magicanimate.animation.settings import ModelOptions
from magicanimate.batch.crew import WorkerGone
from magicanimate.batch.worker import Animator, Outcome, Status, Task
from magicanimate.errors import InputError

_LOOK, _BEAT = 0.2, 0.05  # seconds between looks at either end
_SILENCE = 120.0  # seconds after which a worker that computes and says nothing is taken for gone
_PATIENCE = 0.5  # seconds for a process to end by itself
_NICE = 5  # on a processor that both share, the server goes first: it needs little and somebody waits for it


class LocalWorker:
    """The server's end."""

    def __init__(self, options: ModelOptions) -> None:
        self._options, self.name = options, f"on {options.device}"
        self._process: BaseProcess | None = None
        self._connection: Any = None

    def start(self, follow: Callable[[], None]) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._options), daemon=True)
        self._process.start()
        theirs.close()
        while (heard := self._hear()) is None:
            follow()
        if isinstance(heard, InputError):
            raise heard
        self.name = heard

    def check(self) -> None:
        if self._process is None or not self._process.is_alive():
            raise WorkerGone("its process has ended")

    def animate(self, task: Task, follow: Callable[[Status | None], bool]) -> Outcome:
        self._say(task)
        last = time.monotonic()
        while True:
            heard = self._hear()
            if isinstance(heard, Outcome):
                return heard
            if heard is not None:
                last = time.monotonic()
            elif time.monotonic() - last > _SILENCE:
                raise WorkerGone("its process says nothing any more")
            if follow(heard or None):
                self._say(task.key)

    def close(self) -> None:
        if self._process is not None:
            self._connection.close()
            self._process.join(_PATIENCE)
            self._process.kill()
            self._process.join()
            self._process = None

    def _hear(self) -> Any:
        """Return the next word; None if there is none for a while."""
        try:
            return self._connection.recv() if self._connection.poll(_LOOK) else None
        except (EOFError, OSError) as error:
            raise WorkerGone("its process has ended") from error

    def _say(self, word: object) -> None:
        try:
            self._connection.send(word)
        except OSError as error:
            raise WorkerGone("its process has ended") from error


def _work(connection: Connection, options: ModelOptions) -> None:
    """Be the worker's end: hear tasks, and keys of tasks to stop; say a name when the model is there, how far a task is
    (or an empty tuple), and its outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    if hasattr(os, "nice"):
        os.nice(_NICE)
    pool = ThreadPoolExecutor(1)
    animator: Any = None
    work: Future[Any] | None = pool.submit(Animator, options)
    key = ""
    try:
        while True:
            if connection.poll(_BEAT):
                word = connection.recv()
                if isinstance(word, Task):
                    key, work = word.key, pool.submit(animator.animate, word)
                else:
                    animator.report(word, stop=True)
            if work is None:
                continue
            if not work.done():
                if animator:
                    connection.send(animator.report(key) or ())
                continue
            done, work = work.exception() or work.result(), None
            if isinstance(done, Animator):
                animator, done = done, done.name()
            connection.send(done)
    finally:  # the server is gone; a computation is not waited for
        os._exit(0)
