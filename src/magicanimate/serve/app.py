"""The web application: API, page, guard and dispatcher put together."""

from __future__ import annotations

import html
import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import FastAPI, Form, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from magicanimate.errors import DISK_FULL
from magicanimate.serve.api import router
from magicanimate.serve.backend import ServiceError
from magicanimate.serve.dispatcher import Dispatcher
from magicanimate.serve.metrics import Metrics
from magicanimate.serve.middleware import COOKIE, LOGIN, Guard
from magicanimate.serve.options import FORM_BYTES, ServeOptions
from magicanimate.serve.service import Service
from magicanimate.serve.store import Store
from magicanimate.version import version

LOG = logging.getLogger(__name__)
_PLOTS = Path(__file__).with_name("plots.html")
_TRIALS, _TRIAL_SECONDS = 10, 300.0  # wrong tokens from one address within so long


def create_app(options: ServeOptions) -> FastAPI:
    """Make the service of a data folder, ready for an ASGI server. Its workers start and end with it.

    Raises:
        InputError: the data folder cannot be used, or the options are not safe.
    """
    options = options.checked()
    options.make_folders()
    service = Service(options, Store(options.data / "jobs.sqlite"))
    metrics = Metrics(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        dispatcher = Dispatcher(service, metrics)
        dispatcher.start()
        yield
        await anyio.to_thread.run_sync(dispatcher.stop)

    app = FastAPI(
        title="magicanimate", version=version(), summary="Animate a picture of a person with a motion sequence.",
        lifespan=lifespan, openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None,
        form_limits={"max_files": 2, "max_fields": 8, "max_part_size": FORM_BYTES},
    )  # fmt: skip
    app.state.service, app.state.metrics = service, metrics
    app.include_router(router)
    _handle_errors(app)
    _add_login(app, options)

    @app.get("/metrics", include_in_schema=False)
    def plots() -> FileResponse:
        return FileResponse(_PLOTS)

    if options.page:
        from magicanimate.serve.page import mount_page

        service.kept.clear()
        mount_page(app, service, tokens=bool(options.tokens))
    app.add_middleware(Guard, options=options)
    app.add_middleware(metrics.counting)
    return app


def _handle_errors(app: FastAPI) -> None:
    """Every refusal is JSON with one sentence under `detail`."""

    @app.exception_handler(ServiceError)
    async def refused(_: Request, error: ServiceError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, error.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
        return JSONResponse({"detail": "; ".join(problems) + "."}, 422)

    @app.exception_handler(OSError)
    async def failed(_: Request, error: OSError) -> JSONResponse:
        if error.errno not in DISK_FULL:
            raise error
        return JSONResponse({"detail": "The disk of the service is full; try again later."}, 507)

    @app.exception_handler(sqlite3.OperationalError)
    async def unreachable(_: Request, error: Exception) -> JSONResponse:
        LOG.error("the store: %s", type(error).__name__)
        return JSONResponse({"detail": "The queue cannot be reached; try again later."}, 503)

    @app.exception_handler(HTTPException)
    async def stopped(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, OSError):  # an upload that could not be buffered
            return await failed(request, error.__cause__)
        return await http_exception_handler(request, error)


def _add_login(app: FastAPI, options: ServeOptions) -> None:
    """Add a login form for browsers, which cannot send a token by themselves: it puts the token into a cookie."""

    @app.get(LOGIN, include_in_schema=False)
    def login_form() -> HTMLResponse:
        return HTMLResponse(_login_page(""))

    trials = Trials()

    @app.post(LOGIN, include_in_schema=False)
    def login(request: Request, token: Annotated[str, Form()] = "") -> Response:
        address = request.client.host if request.client else ""
        if wait := trials.wait(address, time.monotonic()):
            page = _login_page(f"Too many wrong tokens; try again in {wait:.0f} seconds.")
            return HTMLResponse(page, 429, {"Retry-After": f"{wait:.0f}"})
        if options.client_of(token) is None:
            trials.wrong(address, time.monotonic())
            return HTMLResponse(_login_page("This token is not known."), 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return answer


class Trials:
    """Wrong tokens by address, so that they cannot be tried by the thousand."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def wait(self, address: str, now: float) -> float:
        """Return seconds until the next trial is allowed; 0: now."""
        recent = [moment for moment in self._times.get(address, []) if now - moment < _TRIAL_SECONDS]
        return 0.0 if len(recent) < _TRIALS else max(1.0, recent[-_TRIALS] + _TRIAL_SECONDS - now)

    def wrong(self, address: str, now: float) -> None:
        """Remember one."""
        for other, moments in list(self._times.items()):
            if now - moments[-1] > _TRIAL_SECONDS:
                del self._times[other]
        self._times[address] = [*self._times.get(address, []), now][-_TRIALS:]


def _login_page(message: str) -> str:
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>magicanimate</title>
<meta name="viewport" content="width=device-width"><body style="font-family:sans-serif;max-width:30em;margin:4em auto">
<h1>magicanimate</h1><p role="alert">{html.escape(message)}</p><form method="post">
<label>Token <input name="token" type="password" autocomplete="current-password" autofocus></label>
<button>Enter</button></form></body></html>"""
