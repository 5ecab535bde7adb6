"""Clients of the API with tokens, and the part of a worker."""

from __future__ import annotations

from magicanimate.serve.job_states import begun, ended
from magicanimate.serve.service import Service

TOKENS = {"ann": "a" * 16, "bob": "b" * 16}


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name]}"}


def done(service: Service, job: str) -> None:
    """Do the worker's part."""
    service.store.change(job, lambda old: begun(old, "w", 1.0))
    (service.folder(job) / "result-1.mp4").write_bytes(b"video")
    service.store.change(job, lambda old: ended(old, "done", 2.0, result="result-1.mp4", size=5))
