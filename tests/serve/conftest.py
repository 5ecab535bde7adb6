"""A service with a small random model, in this process without workers, or as real processes."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from magicanimate.client import Client
from magicanimate.serve.app import create_app
from magicanimate.serve.options import ServeOptions


@pytest.fixture(scope="session")
def models_home(model_folder) -> Path:
    """A cache folder in which the random model lies under the name `parts`."""
    return model_folder.parent


@pytest.fixture
def app(tmp_path, monkeypatch) -> Callable[..., TestClient]:
    """Makes services whose workers are not started, so that a model's name is enough: `app(limits=..., tokens=...)`."""
    (tmp_path / "models" / "parts").mkdir(parents=True)
    (tmp_path / "models" / "parts" / "model.json").touch()
    monkeypatch.setenv("MAGICANIMATE_HOME", str(tmp_path / "models"))

    def make(**options: Any) -> TestClient:
        values = {"data": tmp_path / "data", "page": False, "models": ("parts",)} | options
        return TestClient(create_app(ServeOptions(**values)), base_url="http://127.0.0.1:8000")

    return make


@pytest.fixture
def send(picture_path, motion_path):
    """Posts a job to a client of the API."""

    def post(client, *, settings=None, headers=None, **form):
        files = {"picture": picture_path.read_bytes(), "motion": motion_path.read_bytes()}
        data = {"settings": json.dumps(settings or {})} | form
        return client.post("/api/v1/jobs", files=files, data=data, headers=headers)

    return post


def _end_with_parent() -> None:
    """End this new process when the tests end, even if they are killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_PR_SET_PDEATHSIG = 1


class Processes:
    """A service as its users start it."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.data, self.log = folder / "data", folder / "log.txt"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.token = "0123456789abcdef"  # used only by services that want one
        self.client = Client(f"http://127.0.0.1:{self.port}", self.token)
        self._environment = os.environ | {"MAGICANIMATE_HOME": str(home), "OMP_NUM_THREADS": "1"}
        self._running: list[subprocess.Popen[bytes]] = []

    def serve(self, *options: str, page: bool = False, **environment: str) -> None:
        base = ["--data", str(self.data), "--model", "parts", "--port", str(self.port)]
        arguments = [sys.executable, "-m", "magicanimate", "serve", *base, "--page" if page else "--no-page", *options]
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(
                arguments, env=self._environment | environment, stdout=log, stderr=log, preexec_fn=_end_with_parent
            )
        self._running.append(self.server)
        self.until(self._answers)

    def ready(self) -> None:
        """Wait for a worker that has its model."""
        self.until(lambda: self.client.health()["status"] == "ok")

    def worker_pid(self) -> int:
        """The process of the worker, once it has its model."""
        self.ready()
        return int(self.client.health()["workers"][0]["id"].rpartition("-")[2])

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.client.close()

    def _answers(self) -> bool:
        try:
            return bool(self.client.health())
        except httpx.TransportError:
            return False


@pytest.fixture
def processes(tmp_path, models_home) -> Iterator[Processes]:
    """Processes of one test."""
    running = Processes(tmp_path, models_home)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory, models_home) -> Iterator[Processes]:
    """A running service with a ready worker, shared by the tests of a module."""
    running = Processes(tmp_path_factory.mktemp("service"), models_home)
    running.serve()
    running.ready()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def page_service(tmp_path_factory, models_home) -> Iterator[Processes]:
    """The same with the page, whose worker may still be loading."""
    running = Processes(tmp_path_factory.mktemp("page"), models_home)
    running.serve(page=True)
    yield running
    running.stop()
