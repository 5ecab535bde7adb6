"""Check every request first: the Host it names, the page it comes from, and its client.

A browser can be made to send requests by any page that its user looks at. Three things keep those out: names other
than ours are refused (a foreign name can be made to point here), state is not changed for another page's origin, and
where there are tokens nothing is told without one. CORS is never granted.
"""

from __future__ import annotations

import json
import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from magicanimate.serve.options import ServeOptions

COOKIE = "magicanimate_token"
LOGIN = "/login"
OPEN = ("/api/v1/health", LOGIN)
"""Paths that need no token."""

_READING = ("GET", "HEAD", "OPTIONS")
HIDDEN = re.compile(r"/(openapi\.json|docs|redoc)/?|/gradio_api/(file|upload|proxy|stream).*")
"""Descriptions of the page's workings by its library, and its ways to files, which know no owners. The API's
description is under /api/v1, the page's files under /page."""
# The page's library writes scripts and styles into the page, and makes functions of texts; all of it comes from here.
_POLICY = {
    "default-src": "'self'", "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:", "media-src": "'self' data: blob:", "font-src": "'self' data:",
    "worker-src": "'self' blob:", "object-src": "'none'", "base-uri": "'self'", "form-action": "'self'",
    "frame-ancestors": "'self'",
}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware. The client's name goes into `request.state.client`."""

    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app, self._options = app, options
        self._headers = _embeddable(options.embedders) if options.embedders else _HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # nothing here speaks it
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        length = headers.get("content-length", "")
        client = self._options.client_of(_token(headers))
        if not self._options.allows_host(headers.get("host", "")):
            await _refuse(send, 421, "This service does not answer to that name; start it with --allow-host NAME.")
        elif scope["method"] not in _READING and _is_foreign(headers):
            await _refuse(send, 403, "The request comes from another web page, which may not change anything here.")
        elif length.isdecimal() and int(length) > self._options.limits.body_bytes:
            await _refuse(send, 413, self._options.limits.too_large)
        elif HIDDEN.fullmatch(path):
            await _refuse(send, 404, "There is nothing here.")
        elif client is None and path not in OPEN:
            if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                await _answer(send, 303, b"", {"location": LOGIN})
            else:
                await _refuse(send, 401, "A valid token is needed: send the header 'Authorization: Bearer TOKEN'.")
        else:
            scope.setdefault("state", {})["client"] = client
            received = 0

            async def receive_limited() -> Message:
                nonlocal received
                message = await receive()
                received += len(message.get("body", b""))
                if received > self._options.limits.body_bytes:
                    raise HTTPException(413, self._options.limits.too_large)
                return message

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answered = MutableHeaders(scope=message)
                    for name in [name for name in answered if name.startswith("access-control-")]:
                        del answered[name]  # what the page's library grants, which is meant for other uses of it
                    answered.update(self._headers)
                await send(message)

            await self._app(scope, receive_limited, send_with_headers)


def _embeddable(sites: tuple[str, ...]) -> dict[str, str]:
    """Return the headers of a page that other sites may show in a frame."""
    kept = {name: value for name, value in _HEADERS.items() if name != "X-Frame-Options"}
    name = "Content-Security-Policy"
    return kept | {name: kept[name].replace("frame-ancestors 'self'", " ".join(["frame-ancestors 'self'", *sites]))}


def _token(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie else None


def _is_foreign(headers: Headers) -> bool:
    """Return True if a browser says that another site's page sends this. Programs other than browsers say nothing."""
    origin = headers.get("origin")
    if origin is not None:
        try:
            return urlsplit(origin).netloc != headers.get("host")
        except ValueError:  # no address at all
            return True
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = {"content-type": "application/json"} | ({"www-authenticate": "Bearer"} if status == 401 else {})
    await _answer(send, status, body, headers)


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    headers = headers | {"content-length": str(len(body))} | _HEADERS
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
