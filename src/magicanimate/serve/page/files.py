"""Files that the page shows and takes. Everyone gets their own only; no path of the server stands in any address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import anyio
import anyio.to_thread
from fastapi import APIRouter, File, Request, UploadFile

from magicanimate.serve.backend import ServiceError
from magicanimate.serve.kept_uploads import Upload
from magicanimate.serve.page.examples import SHELF
from magicanimate.serve.sent_file import SentFile
from magicanimate.serve.service import Service, unknown_job

VISITOR = "page-[0-9a-f]{32}"
"""Pattern of the owner's name of a visitor without token, which only their browser has."""
router = APIRouter(prefix="/page", include_in_schema=False)
_CHECKED_AT_ONCE = anyio.CapacityLimiter(2)


def upload_url(owner: str, what: str) -> str:
    """Return the address to send a `picture` or a `motion` to; relative, so that it holds behind a proxy too."""
    return f"page/uploads/{quote(owner, safe='')}/{what}"


def shown_upload_url(upload: Upload) -> str:
    """Return the address of an upload."""
    return f"page/uploads/{quote(upload.owner, safe='')}/{upload.id}"


def job_url(owner: str, job: str, what: Literal["result", "driver"]) -> str:
    """Return the address of a finished video, or of the motion as the model saw it."""
    return f"page/jobs/{quote(owner, safe='')}/{job}/{what}"


def example_url(key: str, what: Literal["picture", "motion"]) -> str:
    """Return the address of a shipped file."""
    return f"page/examples/{key}/{what}"


@router.post("/uploads/{owner}/{what}")
async def take_upload(
    request: Request, owner: str, what: Literal["picture", "motion"], file: Annotated[UploadFile, File()]
) -> dict[str, Any]:
    """Check and keep a file; what is wrong with it is said at once, under `refused`."""
    service = _service_of(request, owner)
    try:
        upload = await anyio.to_thread.run_sync(service.kept.add, owner, what, file.file, limiter=_CHECKED_AT_ONCE)
    except ServiceError as error:
        return {"refused": str(error)}
    return {"id": upload.id}


@router.get("/uploads/{owner}/{upload}")
def show_upload(request: Request, owner: str, upload: str) -> SentFile:
    """Send a file to the one who sent it."""
    return _file(_service_of(request, owner).kept.find(owner, upload).path)


@router.get("/jobs/{owner}/{job}/{what}")
def show_job(request: Request, owner: str, job: str, what: Literal["result", "driver"]) -> SentFile:
    """Send a finished video to its client."""
    service = _service_of(request, owner)
    path = service.result(job, owner) if what == "result" else service.driver(job, owner)
    if path is None:
        raise unknown_job()
    return _file(path)


@router.get("/examples/{key}/{what}")
def show_example(key: str, what: Literal["picture", "motion"]) -> SentFile:
    """Send a shipped file."""
    if key not in SHELF:
        raise unknown_job()
    return _file(SHELF[key].picture if what == "picture" else SHELF[key].motion)


def _service_of(request: Request, owner: str) -> Service:
    """Return the service, if the owner is who asks: the token's client, or, where there are no tokens, a visitor."""
    service: Service = request.app.state.service
    mine = owner == request.state.client if service.options.tokens else re.fullmatch(VISITOR, owner)
    if not mine:
        raise unknown_job()
    return service


def _file(path: Path) -> SentFile:
    try:
        return SentFile(path)
    except FileNotFoundError as error:
        raise ServiceError(404, "There is no such file; it may have been deleted.") from error
