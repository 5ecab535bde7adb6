"""The HTTP API under /api/v1: jobs, models, health and metrics."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from magicanimate.animation.settings import AnimateSettings
from magicanimate.errors import did_you_mean
from magicanimate.media import settings_path
from magicanimate.serve.backend import JobState, ServiceError, WorkerState
from magicanimate.serve.metrics import Metrics
from magicanimate.serve.sent_file import SentFile
from magicanimate.serve.service import Service, unknown_job
from magicanimate.untrusted import parse_json

_EVENT_SECONDS = 0.5
_UPLOADS = anyio.CapacityLimiter(2)
"""Uploads that are checked at once: a crowd of them must not make those wait who only ask."""


class Problem(BaseModel):
    """Reason of a refusal."""

    detail: str = Field(description="one sentence: what is wrong and what to do")


class Health(BaseModel):
    """Readiness of the service."""

    status: str = Field(description="ok: a worker is there; loading: none is ready yet; no worker: jobs would wait")
    jobs: dict[str, int] | None = Field(None, description="by state; not told without a token where one is needed")
    workers: list[WorkerState] | None = Field(None, description="the same")


class ModelState(BaseModel):
    """A model that jobs may ask for."""

    name: str
    default: bool


async def _client(request: Request) -> str:
    return request.state.client


async def _service(request: Request) -> Service:
    return request.app.state.service


Client = Annotated[str, Depends(_client)]
Jobs = Annotated[Service, Depends(_service)]


async def _job_id(job: Annotated[str, PathParameter(description="as given when the job was created")]) -> str:
    """Check a job's id; 404 for anything else, without asking the store."""
    if not re.fullmatch("[0-9a-f]{32}", job):
        raise unknown_job()
    return job


JobId = Annotated[str, Depends(_job_id)]
_FIELDS = ("picture", "motion", "picture_path", "motion_path", "model", "settings")


async def _known_fields(request: Request) -> None:
    """A field with a slip in its name would be left out without a word."""
    for name in await request.form():
        if name not in _FIELDS:
            near = did_you_mean(name, _FIELDS) or f": send {', '.join(_FIELDS)}."
            raise ServiceError(422, f"There is no field {name[:40]!r} here{near}")


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem} for status in (401, 403, 421, 422, *statuses)}


_SETTINGS: dict[str, Any] = {
    "contentMediaType": "application/json", "contentSchema": AnimateSettings.model_json_schema(),
}  # fmt: skip
# The guard checks it; this describes it.
_TOKEN = HTTPBearer(auto_error=False, description="where the service has tokens")
router = APIRouter(prefix="/api/v1", dependencies=[Depends(_TOKEN)])


@router.post(
    "/jobs", status_code=201, tags=["jobs"], responses=_problems(400, 404, 413, 415, 429, 503, 507),
    dependencies=[Depends(_known_fields)],
)  # fmt: skip
async def create_job(
    request: Request,
    response: Response,
    service: Jobs,
    client: Client,
    picture: Annotated[UploadFile | None, File(description="PNG, JPEG or WebP")] = None,
    motion: Annotated[UploadFile | None, File(description="DensePose video or animation")] = None,
    picture_path: Annotated[str | None, Form(description="instead of a file, where the service allows it")] = None,
    motion_path: Annotated[str | None, Form(description="instead of a file, where the service allows it")] = None,
    model: Annotated[str | None, Form(description="default: the first of /models")] = None,
    settings: Annotated[
        str, Form(description='JSON object such as {"steps": 2, "seed": 3}', json_schema_extra=_SETTINGS)
    ] = "{}",
) -> JobState:
    """Queue a job. What it answers is its state; `Location` is where to ask again."""

    def queue() -> JobState:
        with ExitStack() as files:
            sources = [
                _source(service, files, *given)
                for given in (("picture", picture, picture_path), ("motion", motion, motion_path))
            ]
            job = service.submit_files(sources[0], sources[1], parse_settings(settings), client, model=model)
        return service.state(job, client)

    state = await anyio.to_thread.run_sync(queue, limiter=_UPLOADS)
    response.headers["Location"] = request.url_for("get_job", job=state.id).path
    return state


@router.get("/jobs", tags=["jobs"], responses=_problems())
def list_jobs(service: Jobs, client: Client) -> list[JobState]:
    """Your jobs, newest first, at most 100."""
    return service.jobs(client)


@router.get("/jobs/{job}", tags=["jobs"], responses=_problems(404))
async def get_job(job: JobId, service: Jobs, client: Client) -> JobState:
    """State and progress of a job."""  # from memory: a thread would take longer
    return service.state(job, client)


@router.get("/jobs/{job}/events", tags=["jobs"], response_class=EventSourceResponse, responses=_problems(404))
async def watch_job(
    job: JobId, service: Jobs, client: Client, state: Annotated[JobState, Depends(get_job)]
) -> AsyncIterator[ServerSentEvent]:
    """The state as server-sent events: one now, one for every change, none after the job has ended."""
    yield ServerSentEvent(data=state, event="state")
    while not state.ended:
        await anyio.sleep(_EVENT_SECONDS)
        try:
            new = service.state(job, client)
        except ServiceError:
            return  # deleted meanwhile
        if new != state:
            yield ServerSentEvent(data=new, event="state")
        state = new


@router.post("/jobs/{job}/cancel", tags=["jobs"], responses=_problems(404))
def cancel_job(job: JobId, service: Jobs, client: Client) -> JobState:
    """Stop a job. One that is being computed stops within moments; one that has ended stays as it is."""
    return service.cancel(job, client)


@router.post("/jobs/{job}/pause", tags=["jobs"], responses=_problems(404))
def pause_job(job: JobId, service: Jobs, client: Client) -> JobState:
    """Let a job rest until it is resumed; its worker takes another one."""
    return service.pause(job, client)


@router.post("/jobs/{job}/resume", tags=["jobs"], responses=_problems(404))
def resume_job(job: JobId, service: Jobs, client: Client) -> JobState:
    """Queue a paused job again. Denoising goes on at the last step that was kept."""
    return service.resume(job, client)


@router.get(
    "/jobs/{job}/result",
    tags=["jobs"],
    response_class=FileResponse,
    responses=_problems(404, 409) | {200: {"content": {kind: {} for kind in ("video/mp4", "video/webm")}}},
)
def get_result(job: JobId, service: Jobs, client: Client) -> SentFile:
    """The finished video: mp4, or webm where the background is transparent."""
    path = service.result(job, client)
    try:
        return SentFile(path, f"{job}{path.suffix}")
    except FileNotFoundError as error:
        raise _gone() from error


@router.get("/jobs/{job}/result/settings", tags=["jobs"], responses=_problems(404, 409))
def get_result_settings(job: JobId, service: Jobs, client: Client) -> dict[str, Any]:
    """Everything that made the finished video."""
    try:
        return json.loads(settings_path(service.result(job, client)).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _gone() from error


@router.delete("/jobs/{job}", status_code=204, tags=["jobs"], responses=_problems(404))
def delete_job(job: JobId, service: Jobs, client: Client) -> None:
    """Delete a job with all its files, whatever its state."""
    service.delete(job, client)


@router.get("/models", tags=["service"], responses=_problems())
def list_models(service: Jobs) -> list[ModelState]:
    """Models that jobs may ask for."""
    return [ModelState(name=name, default=index == 0) for index, name in enumerate(service.models())]


@router.get("/health", tags=["service"], responses={421: {"model": Problem}})
def get_health(service: Jobs, client: Client) -> Health:
    """Tell whether a worker is ready. Needs no token."""
    workers = service.workers()
    ready = any(worker.state in ("ready", "busy") for worker in workers)
    status = "ok" if ready else "loading" if workers else "no worker"
    if client is None:
        return Health(status=status)
    return Health(status=status, jobs=service.store.counts(), workers=workers)


@router.get("/metrics", tags=["service"], response_class=Response, responses=_problems())
def get_metrics(request: Request) -> Response:
    """Return metrics in Prometheus' text format."""
    return Response(request.app.state.metrics.text(), media_type=Metrics.media_type)


def _source(
    service: Service, files: ExitStack, name: str, upload: UploadFile | None, path: str | None
) -> BinaryIO:  # fmt: skip
    """One input as an open file."""
    if (upload is None) == (path is None):
        raise ServiceError(422, f"Send a file {name}, or name one with {name}_path where the service allows it.")
    if upload is not None:
        return upload.file
    return files.enter_context(allowed_path(service.options.paths, str(path)).open("rb"))


def allowed_path(root: Path | None, path: str) -> Path:
    """A file below the folder that may be named. Links that lead out of it are out of it."""
    if root is None:
        raise ServiceError(403, "This service takes no paths; upload the files.")
    try:
        chosen = (root / path).resolve()
        if chosen.is_relative_to(root.resolve()) and chosen.is_file():
            return chosen
    except (OSError, ValueError) as error:
        raise ServiceError(404, "There is no such file in the folder for inputs.") from error
    raise ServiceError(404, "There is no such file in the folder for inputs.")


def parse_settings(text: str) -> dict[str, Any]:
    """Settings as a JSON object. ServiceError if they are none."""
    try:
        settings = parse_json(text)
    except ValueError as error:
        raise ServiceError(422, 'settings: not JSON; send an object such as {"steps": 2}.') from error
    if not isinstance(settings, dict):
        raise ServiceError(422, 'settings: send a JSON object such as {"steps": 2}.')
    return settings


def _gone() -> ServiceError:
    return ServiceError(404, "The result has been deleted.")
