"""Workers that die or do not start, without Ray: who does the tasks then, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from magicanimate.animation.settings import AnimateSettings
from magicanimate.batch.crew import LOST, WorkerGone, outcomes
from magicanimate.batch.worker import Outcome, Task, succeeded
from magicanimate.errors import InputError


class Worker:
    """Does tasks at once; some of them kill it, and it may not start."""

    def __init__(self, name: str, deadly: set[str] = frozenset(), starts: Exception | None = None) -> None:
        self.name, self._deadly, self._starts = name, deadly, starts

    def start(self, follow: Callable[[], None]) -> None:
        follow()
        if self._starts:
            raise self._starts

    def check(self) -> None:
        pass

    def animate(self, task: Task, follow: Callable[..., bool]) -> Outcome:
        follow(None)
        if task.key in self._deadly:
            raise WorkerGone("killed")
        return Outcome(frames=1, summary=self.name)

    def close(self) -> None:
        pass


def tasks(count: int) -> list[Task]:
    paths = {name: Path(name) for name in ("image", "motion", "out")}
    return [Task(key=str(number), settings=AnimateSettings(), **paths) for number in range(count)]


def run(workers: list[Worker], count: int = 6) -> tuple[dict[str, tuple[str | None, int]], list[str]]:
    said: list[str] = []
    ended = outcomes(tasks(count), workers, lambda task: said.append(task.key))
    return {task.key: (outcome.error, attempts) for task, outcome, attempts in ended}, said


def test_all_tasks_are_done_once():
    ended, said = run([Worker("a"), Worker("b")])
    assert ended == {str(number): (None, 1) for number in range(6)}
    assert said == []


def test_a_task_that_kills_two_workers_has_failed_and_the_others_go_on():
    ended, said = run([Worker("a", {"2"}), Worker("b", {"2"})])
    assert ended.pop("2") == (LOST, 2)
    assert said == ["2"]
    assert set(ended.values()) == {(None, 1)}


def test_a_worker_that_does_not_start_is_done_without():
    ended, _ = run([Worker("a", starts=WorkerGone("no memory")), Worker("b")])
    assert set(ended.values()) == {(None, 1)}


@pytest.mark.parametrize(
    ("error", "said"), [(WorkerGone("no memory"), "No worker can be started: no memory"), (InputError("x."), "x")]
)
def test_no_worker_at_all_is_one_sentence(error, said):
    with pytest.raises(InputError, match=said):
        run([Worker("a", starts=error), Worker("b", starts=error)])


@pytest.mark.parametrize(
    ("failure", "kind"), [("input", InputError), ("disk", InputError), ("fault", RuntimeError), ("lost", RuntimeError)]
)
def test_an_outcome_without_a_video_is_no_success(failure, kind):
    made = Outcome(frames=3)
    assert succeeded(made) is made
    with pytest.raises(kind, match="no video") as raised:
        succeeded(Outcome("There is no video.", failure))
    assert type(raised.value) is kind
