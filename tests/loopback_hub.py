"""A Hugging Face hub on this machine, with as much of its HTTP API as pushing and fetching small folders takes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import unquote, urlparse

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """files: repository -> path -> content. tokens: of requests that had one.

    asked: path of every file that was sent -> the revision and the range, if only a part was asked for.
    spoilt: paths of files whose content is another one than the hub says. stalls_after: bytes after which the hub
    sends nothing more of a file.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.tokens: list[str] = []
        self.asked: dict[str, tuple[str, str | None]] = {}
        self.spoilt: set[str] = set()
        self.stalls_after: int | None = None
        self.closing = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    thread = Thread(target=hub.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        hub.shutdown()
        thread.join()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        self._note()
        parts = unquote(urlparse(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._about("/".join(parts[2:4]), parts[4:])
        elif "resolve" in parts:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._missing()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._note()
        parts = urlparse(self.path).path.strip("/").split("/")
        body = self._body()
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.server.files.setdefault(name, {})
            self._json({"url": f"{self.server.url}/{name}", "name": name})
        elif "preupload" in parts:
            asked = json.loads(body)["files"]
            self._json(
                {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked]}
            )
        elif "commit" in parts:
            name = "/".join(parts[2:4])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[name][value["path"]] = base64.b64decode(value["content"])
            url = f"{self.server.url}/{name}/commit/{COMMIT}"
            self._json({"commitUrl": url, "commitOid": COMMIT, "success": True})
        else:
            self._missing()

    def _about(self, name: str, rest: list[str]) -> None:
        files = self.server.files.get(name)
        if files is None or (rest and rest[1:] not in (["main"], ["v1"], [COMMIT])):
            self._missing("RevisionNotFound" if files else "RepoNotFound")
            return
        if rest[:1] == ["tree"]:
            self._json([{"type": "file", "path": path, "size": len(data), "oid": _oid(data)}
                        for path, data in files.items()])  # fmt: skip
            return
        self._json({"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0,
                    "siblings": [{"rfilename": path} for path in files]})  # fmt: skip

    def _file(self, name: str, revision: str, path: str) -> None:
        data = self.server.files.get(name, {}).get(path)
        if data is None:
            self._missing("EntryNotFound")
            return
        asked = self.headers.get("Range")
        about = {
            "X-Repo-Commit": COMMIT if revision == "main" else revision, "ETag": f'"{_oid(data)}"',
            "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data)),
        }  # fmt: skip
        if self.command == "GET":
            self.server.asked[path] = (revision, asked)
        if path in self.server.spoilt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if asked:
            begin = int(asked.removeprefix("bytes=").partition("-")[0])
            about["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            data = data[begin:]
        self._answer(206 if asked else 200, data, about)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str = "EntryNotFound") -> None:
        self._answer(404, b"{}", {"X-Error-Code": code})

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        most = self.server.stalls_after
        self.wfile.write(data[:most])
        if most is not None and len(data) > most:
            self.wfile.flush()
            self.server.closing.wait()

    def _note(self) -> None:
        if token := self.headers.get("Authorization"):
            self.server.tokens.append(token)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
