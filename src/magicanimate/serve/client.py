"""A client of the service's HTTP API.

from magicanimate.client import Client

with Client("http://127.0.0.1:8000", token="...") as client:
    job = client.submit("picture.png", "motion.mp4", seed=3)
    client.wait(job.id)
    client.save(job.id, "out.mp4")
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import httpx

from magicanimate.files import atomic_path
from magicanimate.serve.backend import JobState


class RequestError(Exception):
    """The service refused, or the job failed; the message is its sentence. `status` is HTTP's, or None."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class Unreachable(RequestError, httpx.TransportError):
    """No service answers there, or the connection broke."""


class MissingFile(RequestError, FileNotFoundError):
    """A file that was to be sent is not there, or cannot be read."""


class Client:
    """Talks to one service. Every method raises `RequestError` when refused, and `Unreachable` without a connection.

    Args:
        url: where the service is.
        token: needed unless the service runs without; MAGICANIMATE_TOKEN by default.
        timeout: seconds to wait for an answer.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", token: str | None = None, *, timeout: float = 60.0
    ) -> None:  # fmt: skip
        token = token or os.environ.get("MAGICANIMATE_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url.rstrip("/")
        self._http = httpx.Client(base_url=f"{self._url}/api/v1", headers=headers, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise Unreachable(
                f"No service answers at {self._url} ({error}); start it, or check the address."
            ) from error

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        with self._connected():
            return _checked(self._http.request(method, path, **content))

    def submit(
        self, picture: str | Path, motion: str | Path, *, model: str | None = None, **settings: Any
    ) -> JobState:  # fmt: skip
        """Upload both files and queue a job; `settings` are those of `AnimateSettings`.

        Raises:
            MissingFile: one of the files cannot be read.
        """
        form = {"settings": json.dumps(settings)} | ({"model": model} if model else {})
        with ExitStack() as opened:
            files = {
                name: opened.enter_context(_opened(name, Path(path)))
                for name, path in (("picture", picture), ("motion", motion))
            }
            return _job(self._send("POST", "/jobs", data=form, files=files))

    def state(self, job: str) -> JobState:
        """Return the state of a job."""
        return _job(self._send("GET", f"/jobs/{job}"))

    def jobs(self) -> list[JobState]:
        """Return your jobs, newest first."""
        return [JobState.model_validate(state) for state in self._send("GET", "/jobs").json()]

    def watch(self, job: str) -> Iterator[JobState]:
        """Yield the job's states as they change, until it has ended."""
        patient = httpx.Timeout(60.0, read=None)
        with self._connected(), self._http.stream("GET", f"/jobs/{job}/events", timeout=patient) as response:
            if response.is_error:
                response.read()
            for line in _checked(response).iter_lines():
                if line.startswith("data: "):
                    yield JobState.model_validate_json(line.removeprefix("data: "))

    def wait(
        self, job: str, *, every: float = 0.5, progress: Callable[[JobState], None] | None = None
    ) -> JobState:  # fmt: skip
        """Ask again and again until a job has ended. RequestError if it did not end well."""
        while not (state := self.state(job)).ended:
            if progress:
                progress(state)
            time.sleep(every)
        if state.state != "done":
            raise RequestError(state.error or f"The job is {state.state}.")
        return state

    def save(self, job: str, path: str | Path) -> Path:
        """Download a result. The file appears when it is complete."""
        path = Path(path)
        with (
            self._connected(),
            self._http.stream("GET", f"/jobs/{job}/result") as response,
            atomic_path(path) as temporary,
        ):
            if response.is_error:
                response.read()
            with temporary.open("wb") as file:
                for chunk in _checked(response).iter_bytes():
                    file.write(chunk)
        return path

    def result_settings(self, job: str) -> dict[str, Any]:
        """Return everything that made a result."""
        return self._send("GET", f"/jobs/{job}/result/settings").json()

    def cancel(self, job: str) -> JobState:
        """Ask a job to stop."""
        return _job(self._send("POST", f"/jobs/{job}/cancel"))

    def pause(self, job: str) -> JobState:
        """Let a job rest."""
        return _job(self._send("POST", f"/jobs/{job}/pause"))

    def resume(self, job: str) -> JobState:
        """Queue a paused job again."""
        return _job(self._send("POST", f"/jobs/{job}/resume"))

    def delete(self, job: str) -> None:
        """Delete a job with all its files."""
        self._send("DELETE", f"/jobs/{job}")

    def models(self) -> list[str]:
        """Return models that can be asked for, the default first."""
        return [model["name"] for model in self._send("GET", "/models").json()]

    def health(self) -> dict[str, Any]:
        """Return the readiness of the service."""
        return self._send("GET", "/health").json()


def _checked(response: httpx.Response) -> httpx.Response:
    if not response.is_error:
        return response
    try:
        sentence = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        sentence = f"The service answered {response.status_code} {response.reason_phrase}."
    raise RequestError(str(sentence), response.status_code)


def _job(response: httpx.Response) -> JobState:
    return JobState.model_validate(response.json())


def _opened(what: str, path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise MissingFile(f"The {what} {path} cannot be read: {error.strerror or error}.") from error
