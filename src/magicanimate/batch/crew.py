"""Workers with a thread each, which give them tasks while there are any, and start dead ones again."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from magicanimate.batch.worker import Outcome, Status, Task
from magicanimate.errors import InputError

LOG = logging.getLogger(__name__)
AnyTask = TypeVar("AnyTask", bound=Task)
ATTEMPTS = 2
"""A task is begun at most so often: whatever kills a worker twice would kill it for ever."""
LOST = "Two workers ended in the middle of this job: killed, or too little memory."
_LOOK, _PATIENCE, _LONGEST_PAUSE = 0.1, 3.0, 30.0  # seconds
_TRIALS = 3  # starts of a worker in a row, until a list does without it


class WorkerGone(Exception):
    """A worker has ended, or cannot be started."""


class Ending(Exception):
    """Nothing more is to be done."""


class Worker(Protocol):
    """An `Animator` somewhere else. Its methods raise `WorkerGone`."""

    name: str

    def start(self, follow: Callable[[], None]) -> None:
        """Start it, and wait until it has its model; calls `follow` meanwhile. InputError: it cannot have it."""
        ...

    def check(self) -> None:
        """Find out whether it is still there."""
        ...

    def animate(self, task: Task, follow: Callable[[Status | None], bool]) -> Outcome:
        """Do a task; `follow` is told how far it is, and says whether to stop it."""
        ...

    def close(self) -> None:
        """End it, whatever it does."""
        ...


class Crew(ABC):
    """Says what the workers do, and what becomes of their tasks."""

    def __init__(self) -> None:
        self.ending = threading.Event()
        self._threads: list[threading.Thread] = []

    @abstractmethod
    def take(self, worker: Worker) -> Task:
        """Wait for the next task. Raises Ending when there will be no more."""

    @abstractmethod
    def follow(self, task: Task, status: Status | None) -> bool:
        """Hear how far a task is, and say whether to stop it."""

    @abstractmethod
    def ended(self, task: Task, outcome: Outcome) -> None:
        """Record how a task ended."""

    @abstractmethod
    def lost(self, task: Task) -> None:
        """Try a task again whose worker is gone, which is our doing when we are ending."""

    @abstractmethod
    def no_worker(self, worker: Worker, error: Exception) -> None:
        """Hear that a worker could not be started. May raise Ending, which ends this one."""

    def go_on(self) -> None:
        """Raise Ending if we are."""
        if self.ending.is_set():
            raise Ending

    def spawn(self, life: Callable[..., None], *arguments: Any) -> None:
        """Start a thread that ends when we do."""
        self._threads.append(threading.Thread(target=life, args=arguments, daemon=True))
        self._threads[-1].start()

    def end(self) -> None:
        """End everything, and wait for it a little."""
        self.ending.set()
        until = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def employ(self, worker: Worker) -> None:
        """Start a worker, give it tasks, and start it again when it dies, until the end."""
        pause = 0.5
        while not self.ending.is_set():
            started = time.monotonic()
            try:
                self.start_worker(worker)
                while True:
                    self._do(worker, self.take(worker))
            except Ending:
                return
            except (InputError, WorkerGone) as error:
                LOG.warning("the worker %s: %s", worker.name, error)
            except Exception:  # whatever a worker does, its place is filled again
                LOG.exception("the worker %s", worker.name)
            finally:
                worker.close()
            pause = 0.5 if time.monotonic() - started > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
            self.ending.wait(pause)

    def start_worker(self, worker: Worker) -> None:
        """Wait until a worker is ready."""
        try:
            worker.start(self.go_on)
        except (InputError, WorkerGone) as error:
            self.no_worker(worker, error)
            raise

    def _do(self, worker: Worker, task: Task) -> None:
        def follow(status: Status | None) -> bool:
            self.go_on()
            return self.follow(task, status)

        try:
            self.ended(task, worker.animate(task, follow))
        except BaseException:
            worker.close()  # before somebody else begins the task
            self.lost(task)
            raise


class _List(Crew):
    """Has all its tasks from the beginning."""

    def __init__(self, tasks: Sequence[Task], workers: int, say: Callable[[Any], None]) -> None:
        super().__init__()
        self._waiting, self._say, self._workers = deque(tasks), say, workers
        self._trials: Counter[Worker] = Counter()
        self._attempts: Counter[str] = Counter()
        self.results: SimpleQueue[tuple[Any, Outcome, int] | Exception] = SimpleQueue()

    def take(self, worker: Worker) -> Task:
        self._trials[worker] = 0
        while not self._waiting:  # one that is under way may come back
            self.go_on()
            time.sleep(_LOOK)
        worker.check()
        try:
            task = self._waiting.popleft()
        except IndexError:
            return self.take(worker)
        self._attempts[task.key] += 1
        return task

    def follow(self, task: Task, status: Status | None) -> bool:
        return False

    def ended(self, task: Task, outcome: Outcome) -> None:
        self.results.put((task, outcome, self._attempts[task.key]))

    def lost(self, task: Task) -> None:
        if self._attempts[task.key] >= ATTEMPTS:
            self.ended(task, Outcome(LOST, "lost"))
        elif not self.ending.is_set():
            self._say(task)
            self._waiting.appendleft(task)

    def no_worker(self, worker: Worker, error: Exception) -> None:
        self._trials[worker] += 1
        if isinstance(error, InputError):
            self.results.put(error)
        elif self._trials[worker] < _TRIALS:
            return
        self._workers -= 1
        if not self._workers:
            self.results.put(InputError(f"No worker can be started: {error}."))
        raise Ending


def outcomes(
    tasks: Sequence[AnyTask], workers: Sequence[Worker], say: Callable[[AnyTask], None]
) -> Iterator[tuple[AnyTask, Outcome, int]]:
    """Yield how tasks end, in the order in which they do, and at which attempt.

    `say` is told of a task that lost its worker and is tried again. InputError: no worker can be started.
    """
    crew = _List(tasks, len(workers), say)
    for worker in workers:
        crew.spawn(crew.employ, worker)
    try:
        for _ in tasks:
            result = crew.results.get()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        crew.end()
