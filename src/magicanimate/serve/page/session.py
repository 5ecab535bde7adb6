"""State of one visitor: inputs, settings, and the jobs that came of them. Knows nothing of how it is shown.

All work happens elsewhere: in the workers, and, for the check of the inputs, in a thread. `look` asks for the
progress; the page calls it twice a second while `busy`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicanimate.animation.parsing import TRANSPARENT
from magicanimate.animation.settings import make_settings
from magicanimate.errors import InputError
from magicanimate.person.edit import parse_person_edit
from magicanimate.serve.backend import JobState, ServiceError, WorkerState
from magicanimate.serve.clock import now
from magicanimate.serve.page.checking import Check, Submit
from magicanimate.serve.page.time_left import PREVIEW_SHARES, Pace

if TYPE_CHECKING:
    from magicanimate.check.examine import Examination
    from magicanimate.serve.service import Service

PREVIEW_FRAMES = 24
"""Most frames of a rough preview."""
_LONGEST_PIECE = 60  # characters of a picture's or motion's name in that of a video
NEW_SEEDS = 2**31
CANCELLED = "Cancelled; nothing was kept."


@dataclass(frozen=True)
class Input:
    """A file that was dropped or chosen."""

    path: Path
    name: str
    """The file's name on the visitor's machine."""
    url: str
    """Address for the browser."""


@dataclass
class Session:
    """One visitor's page. Methods raise nothing: what goes wrong is in `error`."""

    backend: Service
    run_aside: Submit
    """Runs a function in a thread."""
    client: str
    picture: Input | None = None
    motion: Input | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    release: Callable[[Input], None] = lambda _chosen: None
    """Told of files that are needed no more."""
    values: tuple[Any, ...] | None = None
    """The page's controls as they were left, also where `settings` could not be made of them."""
    error: str | None = None
    note: str | None = None
    """Note about the last action, until the next one."""
    examination: Examination | str | None = None
    """Findings of the check, or the sentence why there are none."""
    person: str | None = None
    """The picture's person as found, the JSON that a correction begins with."""
    finding: Future[str | None] | None = None
    """The search for them, which follows the check."""
    edit: str | None = None
    """The visitor's correction of them."""
    checking: Check | None = None
    """The doctor's look at the inputs while it is under way."""
    check_stopped: bool = False
    """The visitor wants none of inputs and settings as they are."""
    preview: JobState | None = None
    preview_pace: Pace = field(default_factory=Pace)
    job: JobState | None = None
    """The full run that is under way, or that ended badly."""
    shown: JobState | None = None
    """The result in the player."""
    results: list[JobState] = field(default_factory=list)
    """Finished videos, newest first."""
    inputs: dict[str, tuple[Input, Input]] = field(default_factory=dict)
    """Inputs of the visitor's jobs."""
    example: str | None = None
    """The full run, if it is one of a shipped example with the usual settings."""
    ahead: int = 0
    """Jobs of others that come before `job`."""
    pace: Pace = field(default_factory=Pace)
    workers: list[WorkerState] = field(default_factory=list)

    def begin(self) -> None:
        """Take up what this visitor left: a page may be reloaded while a job runs."""
        self._attempt(self._take_up)

    def leave(self) -> None:
        """Let go of all files: this visitor was not here for long."""
        left = [self.picture, self.motion, *(chosen for both in self.inputs.values() for chosen in both)]
        self.picture = self.motion = self.example = None
        self.inputs.clear()
        self._release(left)

    def _act(self) -> None:
        """The visitor does something: what was said of the last action is old."""
        self.error = self.note = None

    def choose(self, picture: Input | None = None, motion: Input | None = None, *, preview: bool = True) -> None:
        """Another picture or motion; both are examined, and tried out, as soon as both are there."""
        before = (self.picture, self.motion)
        self.picture, self.motion = picture or self.picture, motion or self.motion
        if self.picture != before[0]:
            self.person = self.edit = self.finding = None
        self._release(before)
        self._act()
        self._forget_check()
        self._attempt(self._consider if preview else self._forget_preview)

    def drop(self, what: str) -> None:
        """Take the `picture` or the `motion` away."""
        before = getattr(self, what)
        setattr(self, what, None)
        if what == "picture":
            self.person = self.edit = self.finding = None
        self._release((before,))
        self._act()
        self._forget_check()
        self._attempt(self._forget_preview)

    def adjust(self, settings: dict[str, Any], model: str | None, *, preview: bool = True) -> None:
        """Other settings, as they were written."""
        try:
            checked = make_settings(**settings).model_dump(mode="json", exclude_unset=True)
        except InputError as error:
            self.error = str(error)
            return
        self.error = None
        if (checked, model) != (self.settings, self.model):
            self.note = None
            self.settings, self.model = checked, model
            if preview:
                self._attempt(self._consider)

    def correct(self, edit: str | None) -> None:
        """Correct the picture's person, or take that back."""
        self._act()
        try:
            if edit is not None:
                parse_person_edit(edit)
        except ValueError as error:
            self.error = f"The correction cannot be used: {error}."
            return
        if edit != self.edit:
            self.edit = edit
            self._attempt(self._consider)

    @property
    def _chosen(self) -> dict[str, Any]:
        """The settings, with the correction."""
        return self.settings | ({"person_edit": self.edit} if self.edit else {})

    def run(self) -> None:
        """The full video."""
        if self.picture is None or self.motion is None:
            missing = "a picture" if self.picture is None else "a motion"
            self.error = f"Choose {missing} first."
            return
        picture, motion = self.picture, self.motion
        self._attempt(lambda: self._submit(picture, motion, self._chosen, self.model))

    def run_example(self, picture: Input, motion: Input) -> None:
        """The full video of shipped files; at once, if it was made before with the usual settings."""
        self.choose(picture=picture, motion=motion, preview=False)
        if self._chosen or (self.job is not None and not self.job.ended):
            self.run()
        else:
            self._attempt(lambda: self._run_usual(picture, motion))

    def again(self) -> None:
        """The shown result once more, with another seed, as long as its inputs are known."""
        if self.shown is not None and self.shown.id in self.inputs:
            shown = self.shown
            (picture, motion), settings = self.inputs[shown.id], shown.settings | {"seed": random.randrange(NEW_SEEDS)}
            self._attempt(lambda: self._submit(picture, motion, settings, shown.model))

    def cancel(self) -> None:
        """Stop the full run for good: its job is gone at once, whenever its worker hears of it."""
        if self.job is not None and not self.job.ended:
            job, self.job = self.job.id, None
            self._act()
            self.note = CANCELLED
            self._attempt(lambda: self.backend.delete(job, self.client))
            self._release(self.inputs.pop(job, ()))

    def pause_or_resume(self) -> None:
        """Let the full run rest, or let it go on."""
        if self.job is not None and not self.job.ended:
            job, change = self.job, self.backend.resume if self.job.state == "paused" else self.backend.pause
            self._act()
            self._attempt(lambda: change(job.id, self.client))
            self._follow(job)

    def stop_check(self) -> None:
        """End the check; the next change begins another."""
        if self.checking is not None:
            self._act()
            self._forget_check()
            self.check_stopped = True
            self.note = "The check was stopped; the next change begins it anew."

    def stop_preview(self) -> None:
        """End the rough preview; the next change begins another."""
        if self.preview is not None and not self.preview.ended:
            self._act()
            self.note = "The preview was stopped; the next change begins it anew."
            self._attempt(self._forget_preview)

    def show(self, job: str) -> None:
        """Put a finished video into the player."""
        self._act()
        self.shown = next((state for state in self.results if state.id == job), self.shown)

    def delete(self) -> None:
        """Delete the shown result for good."""
        if self.shown is not None:
            job = self.shown.id
            self.shown = None
            self._act()
            self._attempt(lambda: self.backend.delete(job, self.client))
            self._release(self.inputs.pop(job, ()))
            self._attempt(self._list)

    def _release(self, inputs: Iterable[Input | None]) -> None:
        """Let go of files that are neither chosen nor those of a job that may be made again."""
        needed = {self.picture, self.motion, *(chosen for both in self.inputs.values() for chosen in both)}
        for chosen in inputs:
            if chosen is not None and chosen not in needed:
                self.release(chosen)

    def download_name(self, job: JobState) -> str:
        """Name a finished video after picture, motion, and seed, as far as they are known."""
        names = [Path(chosen.name).stem for chosen in self.inputs.get(job.id, ())] or ["magicanimate", job.id[:8]]
        plain = [re.sub(r"[^\w.-]+", "-", name)[:_LONGEST_PIECE].strip("-.") for name in names]
        seed = job.settings.get("seed", 1)
        kind = "webm" if job.settings.get("background") == TRANSPARENT else "mp4"
        return f"{'_'.join(name for name in plain if name)}_seed{seed}.{kind}"

    @property
    def busy(self) -> bool:
        """True if anything is under way that `look` should ask about."""
        running = any(job is not None and not job.ended for job in (self.job, self.preview))
        idle = any(worker.state == "ready" for worker in self.workers)
        return running or self.checking is not None or self.finding is not None or not idle

    def look(self) -> None:
        """Update the progress of everything."""
        self._attempt(self._look)

    def _attempt(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except ServiceError as error:
            self.error = str(error)

    def _take_up(self) -> None:
        self.workers = self.backend.workers()
        jobs = self._list()
        if self.job is None:
            self.job = next((job for job in jobs if not job.ended and not job.preview), None)
            self.pace = Pace()
        if self.shown not in self.results:
            self.shown = self.results[0] if self.results else None

    def _list(self) -> list[JobState]:
        """Return all jobs of the visitor, newest first; inputs of those that are gone or came to nothing are let go."""
        jobs = self.backend.jobs(self.client)
        self.results = [job for job in jobs if job.state == "done" and not job.preview]
        useful = {job.id for job in jobs if job.state == "done" or not job.ended}
        for gone in self.inputs.keys() - useful:
            self._release(self.inputs.pop(gone))
        return jobs

    def _consider(self) -> None:
        """A rough preview of inputs and settings as they are, without networks, and the doctor's view of them.

        The preview comes first: files that the service refuses are not opened here either.
        """
        self._forget_preview()
        if self.picture is None or self.motion is None:
            return
        frames = min(self.settings.get("max_frames") or PREVIEW_FRAMES, PREVIEW_FRAMES)
        rough = {"preset": "preview", "max_frames": frames, "audio": False}
        job = self.backend.submit(
            self.picture.path, self.motion.path, self._chosen | rough, self.client, model=self.model, preview=True
        )
        self.preview = self.backend.state(job, self.client)
        self.preview_pace = Pace(shares=PREVIEW_SHARES)
        self._examine(self.picture, self.motion)

    def _examine(self, picture: Input, motion: Input) -> None:
        self._forget_check()
        self.checking = Check(
            self.backend, self.run_aside, picture.path, motion.path, self._chosen, self.model
        )  # fmt: skip

    def _forget_check(self) -> None:
        """Drop the check of other inputs or settings; its thread is free for the next one."""
        if self.checking is not None:
            self.checking.stop()
        self.examination = self.checking = None
        self.check_stopped = False

    def _forget_preview(self) -> None:
        old, self.preview = self.preview, None
        if old is not None:
            self.backend.delete(old.id, self.client)

    def _submit(self, picture: Input, motion: Input, settings: dict[str, Any], model: str | None) -> None:
        if self.job is not None and not self.job.ended:
            self.error = "A video is being made; wait for it or cancel it first."
            return
        self._act()
        job = self.backend.submit(picture.path, motion.path, settings, self.client, model=model)
        self.inputs[job] = (picture, motion)
        unchecked = self.examination is None and self.checking is None and not self.check_stopped
        if unchecked and (picture, motion) == (self.picture, self.motion):
            self._examine(picture, motion)
        found = self.examination
        self.pace = Pace(None if found is None or isinstance(found, str) else found.frames)
        self.job = self.backend.state(job, self.client)
        self.ahead = self._ahead_of(self.job)

    def _run_usual(self, picture: Input, motion: Input) -> None:
        """A video of a shipped example with the usual settings: the visitor's own, a kept one, or a new one."""
        both = (picture, motion)
        own = [job for job in self.results if self.inputs.get(job.id) == both and not job.settings]
        if made := [job for job in own if job.model == self.model]:
            self.shown = made[0]
            self.note = "This video was made before."
        elif job := self.backend.submit_made(picture.path, motion.path, {}, self.client, model=self.model):
            self.inputs[job] = both
            self.shown = self.backend.state(job, self.client)
            self._list()
        else:
            self._submit(picture, motion, {}, self.model)
            self.example = self.job.id if self.job else None

    def _ahead_of(self, job: JobState) -> int:
        """Return jobs of others that come before a queued one; nobody waits for oneself."""
        if not job.position:
            return 0
        waiting = (other for other in self.backend.jobs(self.client) if other.state == "queued")
        return max(0, job.position - sum(other.created < job.created for other in waiting))

    def _look(self) -> None:
        self.workers = self.backend.workers()
        if self.checking is not None and self.checking.ended:
            self.examination, self.checking = self.checking.outcome(), None
            if self.person is None and self.picture is not None:
                self.finding = self.run_aside(self.backend.begin_edit, self.picture.path)
        if self.finding is not None and self.finding.done():
            self.person = None if self.finding.exception() else self.finding.result()
            self.finding = None
        if self.checking is not None:
            self.checking.look()
        if self.preview is not None and not self.preview.ended:
            self.preview = self.backend.state(self.preview.id, self.client)
            self.preview_pace.see(self.preview, now())
        if self.job is not None and not self.job.ended:
            self._follow(self.job)

    def _follow(self, job: JobState) -> None:
        """Update the full run; one that was cancelled or deleted elsewhere is under way no more."""
        self.job = None
        state = self.backend.state(job.id, self.client)
        if state.state == "done":
            self.shown = state
            if self.example == job.id:
                self.backend.keep_made(job.id, self.client, *(chosen.path for chosen in self.inputs[job.id]))
            self._list()
            self._forget_preview()
        elif state.state == "cancelled":
            self.note = CANCELLED
        else:
            self.job, self.ahead = state, self._ahead_of(state)
            self.pace.see(state, now())
