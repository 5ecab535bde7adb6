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
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from magicanimate.serve.backend import JobState


class RequestError(Exception):
    """The service refused, or the job failed; the message is its sentence. `status` is HTTP's, or None."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class Client:
    """Talks to one service. Every method raises `RequestError` when refused, and httpx's errors without a connection.

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
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1", headers=headers, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self, picture: str | Path, motion: str | Path, *, model: str | None = None, **settings: Any
    ) -> JobState:  # fmt: skip
        """Upload both files and queue a job. `settings` are those of `AnimateSettings`."""
        form = {"settings": json.dumps(settings)} | ({"model": model} if model else {})
        with ExitStack() as opened:
            files = {
                name: opened.enter_context(Path(path).open("rb"))
                for name, path in (("picture", picture), ("motion", motion))
            }
            return _job(self._http.post("/jobs", data=form, files=files))

    def state(self, job: str) -> JobState:
        """How far a job is."""
        return _job(self._http.get(f"/jobs/{job}"))

    def jobs(self) -> list[JobState]:
        """Your jobs, newest first."""
        return [JobState.model_validate(state) for state in _checked(self._http.get("/jobs")).json()]

    def watch(self, job: str) -> Iterator[JobState]:
        """The job's states as they change, until it has ended."""
        with self._http.stream("GET", f"/jobs/{job}/events", timeout=httpx.Timeout(60.0, read=None)) as response:
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
        temporary = path.with_name(f".{path.name}.part")
        try:
            with self._http.stream("GET", f"/jobs/{job}/result") as response, temporary.open("wb") as file:
                if response.is_error:
                    response.read()
                for chunk in _checked(response).iter_bytes():
                    file.write(chunk)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def result_settings(self, job: str) -> dict[str, Any]:
        """Everything that made a result."""
        return _checked(self._http.get(f"/jobs/{job}/result/settings")).json()

    def cancel(self, job: str) -> JobState:
        """Ask a job to stop."""
        return _job(self._http.post(f"/jobs/{job}/cancel"))

    def delete(self, job: str) -> None:
        """Delete a job with all its files."""
        _checked(self._http.delete(f"/jobs/{job}"))

    def models(self) -> list[str]:
        """Models that can be asked for, the default first."""
        return [model["name"] for model in _checked(self._http.get("/models")).json()]

    def health(self) -> dict[str, Any]:
        """Whether the service can do anything."""
        return _checked(self._http.get("/health")).json()


def _checked(response: httpx.Response) -> httpx.Response:
    if not response.is_error:
        return response
    try:
        sentence = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        sentence = f"The service answered {response.status_code} {response.reason_phrase}."
    raise RequestError(str(sentence), response.status_code)


def _job(response: httpx.Response) -> JobState:
    return JobState.model_validate(_checked(response).json())
