"""The jobs of one service: checked, copied, queued, told about, deleted. What page and API call; see `backend`."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from magicanimate.animation.parsing import is_path
from magicanimate.animation.settings import AnimateSettings, make_settings
from magicanimate.batch.worker import Status
from magicanimate.errors import InputError, why_not_written
from magicanimate.models.locations import model_folder, named_models
from magicanimate.person.edit import is_inline, parse_person_edit
from magicanimate.progress import Progress
from magicanimate.serve import uploads
from magicanimate.serve.backend import JobState, ServiceError, WorkerState
from magicanimate.serve.clock import now
from magicanimate.serve.job_files import tidy
from magicanimate.serve.job_states import Record, paused, resumed, stopped
from magicanimate.serve.kept_uploads import KeptUploads
from magicanimate.serve.made_before import MadeBefore, made_name
from magicanimate.serve.options import Limits, ServeOptions
from magicanimate.serve.store import Store

LOG = logging.getLogger(__name__)
_MOST_PADDING = 64
_EDIT_CHARACTERS = 2**18


class Service:
    """Jobs, as page and API see them. `client` is who asks: nobody sees the jobs of others.

    All methods may be called from any thread and raise `ServiceError` with one sentence: unknown job (404), bad input
    (413, 415, 422), too many jobs (429), no space (507).

    crew: the workers. progress: of running jobs. arriving: jobs whose files are being copied. The first two are the
    dispatcher's to fill.
    """

    def __init__(self, options: ServeOptions, store: Store) -> None:
        self.options, self.store = options, store
        self.crew: dict[Any, WorkerState] = {}
        self.progress: dict[str, Status] = {}
        self.arriving: set[str] = set()
        self._made = MadeBefore(options.made)
        self.kept = KeptUploads(options.uploads, options.limits, store.used)

    def models(self) -> list[str]:
        """Return names that `submit` takes; the first is the default."""
        return list(self.options.models or named_models())

    def workers(self) -> list[WorkerState]:
        return list(self.crew.values())

    def submit(
        self, picture: Path, motion: Path, settings: Mapping[str, Any], client: str, *,
        model: str | None = None, preview: bool = False,
    ) -> str:  # fmt: skip
        """Check and copy both files and queue a job; returns its id. Previews come before other jobs."""
        for what, path in (("picture", picture), ("motion", motion)):
            if not path.is_file():
                raise ServiceError(404, f"The {what} is kept no longer; choose it again.")
        with picture.open("rb") as picture_file, motion.open("rb") as motion_file:
            return self.submit_files(picture_file, motion_file, settings, client, model=model, preview=preview)

    def submit_files(
        self, picture: BinaryIO, motion: BinaryIO, settings: Mapping[str, Any], client: str, *,
        model: str | None = None, preview: bool = False,
    ) -> str:  # fmt: skip
        """Submit a job from open files. Whatever goes wrong, nothing is left behind."""
        limits = self.options.limits
        given = self._given(settings)
        name = self._known(model)
        self._room(client)
        job = uuid.uuid4().hex
        folder = self.folder(job)
        self.arriving.add(job)
        try:
            folder.mkdir(parents=True, mode=0o700)
            size = uploads.store_upload(picture, folder / "picture", limits)
            size = uploads.store_upload(motion, folder / "motion", limits, size)
            picture_name = "picture" + uploads.picture_kind(folder / "picture", limits)
            motion_name = "motion" + uploads.motion_kind(folder / "motion", limits)
            (folder / "picture").rename(folder / picture_name)
            (folder / "motion").rename(folder / motion_name)
            record = Record(
                id=job, client=client, model=name, settings=given, preview=preview, created=now(),
                picture=picture_name, motion=motion_name, size=size,
            )  # fmt: skip
            added = size + self.kept.bytes
            self.store.add(record, lambda own, all_jobs, used: check_room(limits, own, all_jobs, used + added))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self.arriving.discard(job)
        return job

    def submit_made(
        self, picture: Path, motion: Path, settings: Mapping[str, Any], client: str, *, model: str | None = None
    ) -> str | None:
        """Make a job that is done at once of a video that `keep_made` kept; None where there is none."""
        given, name = self._given(settings), self._known(model)
        job, moment = uuid.uuid4().hex, now()
        folder = self.folder(job)
        self.arriving.add(job)
        try:
            facts = self._made.take(self._made_name(picture, motion, name, given), folder)
            if facts is None:
                return None
            record = Record(
                id=job, client=client, model=name, settings=given, state="done", picture=picture.name,
                motion=motion.name, created=moment, started=moment, finished=moment, **facts,
            )  # fmt: skip
            added = record.size + self.kept.bytes
            self.store.add(record, lambda _own, _all, used: check_room(self.options.limits, 0, 0, used + added))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self.arriving.discard(job)
        return job

    def keep_made(self, job: str, client: str, picture: Path, motion: Path) -> None:
        """Keep a copy of a finished video that was made from both files, for everybody who asks for the same."""
        record = self._own(job, client)
        try:
            self._made.keep(self._made_name(picture, motion, record.model, record.settings), record, self.folder(job))
        except OSError as error:  # the next one waits as long as this one did
            LOG.error("a finished example cannot be kept: %s", why_not_written(error))

    def state(self, job: str, client: str) -> JobState:
        return self._told(self._own(job, client))

    def jobs(self, client: str) -> list[JobState]:
        """List the client's jobs, newest first."""
        return [self._told(record) for record in self.store.of_client(client)]

    def result(self, job: str, client: str) -> Path:
        """Return the finished video, with its settings beside it (`media.settings_path`); 409 while there is none."""
        record = self._own(job, client)
        if record.state != "done" or record.result is None:
            raise ServiceError(409, f"The job has no result: it is {record.state}.")
        return self.folder(job) / record.result

    def driver(self, job: str, client: str) -> Path | None:
        """Return the motion as the model saw it, framed and timed like the result; None where there is none."""
        record = self._own(job, client)
        return self.folder(job) / record.driver if record.driver else None

    def cancel(self, job: str, client: str) -> JobState:
        """Ask a job to stop; one that has ended stays as it is."""
        return self._changed(job, client, lambda record: stopped(record, now()))

    def pause(self, job: str, client: str) -> JobState:
        """Let a job rest; one that has ended stays as it is."""
        return self._changed(job, client, paused)

    def resume(self, job: str, client: str) -> JobState:
        """Queue a paused job again; any other stays as it is."""
        return self._changed(job, client, resumed)

    def _changed(self, job: str, client: str, change: Callable[[Record], Record]) -> JobState:
        self._own(job, client)
        changed = self.store.change(job, change)
        if changed is None:
            raise unknown_job()
        tidy(self.folder(job), changed)
        return self._told(changed)

    def delete(self, job: str, client: str) -> None:
        """Cancel if need be, and delete with all files."""
        self._own(job, client)
        self.remove(job)

    def remove(self, job: str) -> None:
        """Forget a job and delete its files; a worker that has it finds out by itself."""
        self.store.remove(job)
        shutil.rmtree(self.folder(job), ignore_errors=True)

    def examine(
        self, picture: Path, motion: Path, settings: Mapping[str, Any], *,
        model: str | None = None, progress: Progress | None = None,
    ) -> Any:  # fmt: skip
        """Return the doctor's `Examination` of both inputs, computed here. `progress` may raise to end it."""
        from magicanimate.check.examine import examine
        from magicanimate.models.config import read_config

        limits = self.options.limits
        uploads.picture_kind(picture, limits)
        uploads.motion_kind(motion, limits)
        try:
            config = read_config(model_folder(self._known(model)))
            return examine(picture, motion, config=config, settings=limited(settings, limits), progress=progress)
        except InputError as error:
            raise ServiceError(422, str(error)) from error

    def begin_edit(self, picture: Path) -> str | None:
        """Return the JSON of a picture's person, for an editor to begin with; None where nobody is found."""
        from magicanimate.animation.person_edit import begin_person_edit
        from magicanimate.media import load_picture

        uploads.picture_kind(picture, self.options.limits)
        try:
            return begin_person_edit(load_picture(picture)).to_json()
        except InputError:
            return None

    def folder(self, job: str) -> Path:
        """Return the folder of a job. Job ids are made here or come from the store, never from outside."""
        return self.options.jobs / job

    def _own(self, job: str, client: str) -> Record:
        record = self.store.get(job)
        if record is None or record.client != client:
            raise unknown_job()
        return record

    def _told(self, record: Record) -> JobState:
        keep = self.options.limits.keep_seconds
        return record.told(self.store.position(record), keep, self.progress.get(record.id))

    def _given(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked settings, as they are stored."""
        given = limited(settings, self.options.limits).model_dump(mode="json", exclude_unset=True)
        return given | ({"label": True} if self.options.label else {})

    def _made_name(self, picture: Path, motion: Path, model: str, settings: dict[str, Any]) -> str:
        try:
            return made_name(picture, motion, model_folder(model), settings)
        except InputError as error:
            raise ServiceError(422, str(error)) from error

    def _known(self, model: str | None) -> str:
        models = self.models()
        if model is None:
            return models[0]
        if model not in models:
            raise ServiceError(422, f"There is no model {model!r} here: choose one of {', '.join(models)}.")
        return model

    def _room(self, client: str) -> None:
        """Refuse before the files are copied; `Store.add` decides."""
        open_jobs = [record for record in self.store.of_client(client) if not record.ended]
        check_room(self.options.limits, len(open_jobs), 0, 0)


def check_room(limits: Limits, own: int, all_jobs: int, used: int) -> None:
    """Check that one more job fits. Raises ServiceError 429, 503 or 507."""
    if own >= limits.client_jobs:
        raise ServiceError(429, f"You have {own} unfinished jobs, which is the limit; wait for one, or cancel one.")
    if all_jobs >= limits.jobs:
        raise ServiceError(503, "The queue is full; try again later.")
    if used > limits.disk_bytes:
        raise ServiceError(507, "The service has no space left for files; delete finished jobs or try again later.")


def limited(settings: Mapping[str, Any], limits: Limits) -> AnimateSettings:
    """Return checked settings within the service's limits. ServiceError 422 with a sentence."""
    try:
        chosen = make_settings(**settings)
    except InputError as error:
        raise ServiceError(422, str(error)) from error
    if (chosen.steps or 0) > limits.steps:
        raise ServiceError(422, f"steps: this service allows at most {limits.steps} (got {chosen.steps}).")
    if chosen.pad_frames > _MOST_PADDING:
        raise ServiceError(422, f"pad_frames: this service allows at most {_MOST_PADDING} (got {chosen.pad_frames}).")
    if "=" in chosen.extractor:  # names a file of this machine, which may hold a program
        raise ServiceError(422, "extractor: this service takes the name of an extractor only.")
    if is_path(chosen.background):  # names a file of this machine
        raise ServiceError(422, "background: this service takes picture, driver, transparent, or a color as #rrggbb.")
    if (chosen.max_frames or 0) > limits.frames:
        raise ServiceError(422, f"max_frames: this service allows at most {limits.frames} (got {chosen.max_frames}).")
    if isinstance(chosen.size, tuple) and chosen.size[0] * chosen.size[1] > limits.video_pixels:
        raise ServiceError(422, f"size: this service allows at most {limits.video_pixels} pixels per frame.")
    if chosen.person_edit is not None:
        _check_edit(chosen.person_edit)
    return chosen


def _check_edit(given: str) -> None:
    """Refuse a path, which would name a file of this machine, and what is no edit. ServiceError 413 or 422."""
    if not is_inline(given):
        raise ServiceError(422, "person_edit: this service takes the JSON itself, not a path.")
    if len(given) > _EDIT_CHARACTERS:
        raise ServiceError(413, f"person_edit: this service allows at most {_EDIT_CHARACTERS // 1024} KB.")
    try:
        parse_person_edit(given)
    except ValueError as error:
        raise ServiceError(422, f"person_edit: {str(error).removesuffix('?')}.") from error


def unknown_job() -> ServiceError:
    """Return the same for jobs that never were, are gone, or belong to others."""
    return ServiceError(404, "There is no such job; it may have been deleted.")
