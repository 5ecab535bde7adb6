"""Files that the page keeps for its visitors."""

from __future__ import annotations

import io
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.testclient import TestClient
from PIL import Image

from magicanimate.serve.backend import ServiceError
from magicanimate.serve.kept_uploads import KeptUploads
from magicanimate.serve.options import Limits
from magicanimate.serve.page.actions import uploaded
from magicanimate.serve.sent_file import SentFile


@pytest.fixture
def kept(tmp_path) -> KeptUploads:
    uploads = KeptUploads(tmp_path / "uploads", Limits(upload_bytes=10_000, disk_bytes=60_000), lambda: 0)
    uploads.clear()
    return uploads


def png(side: int = 16) -> io.BytesIO:
    content = io.BytesIO()
    Image.effect_noise((side, side), 90).save(content, "PNG")
    content.seek(0)
    return content


def test_only_own_uploads_are_taken_from_the_browser(kept):
    sent = kept.add("page-a", "picture", png())
    assert uploaded(kept, "page-a", sent.id, "../../a.png").name == "a.png"
    for owner, upload in (("page-b", sent.id), ("page-a", "/etc/passwd"), ("page-a", "../" + sent.id)):
        with pytest.raises(gr.Error):
            uploaded(kept, owner, upload, "a.png")


def test_uploads_are_checked_counted_and_forgotten(kept, tmp_path):
    with pytest.raises(ServiceError, match="not a PNG") as refused:
        kept.add("page-a", "picture", io.BytesIO(b"MZ" + bytes(500)))
    assert refused.value.status == 415
    assert list((tmp_path / "uploads").iterdir()) == []
    first = kept.add("page-a", "picture", png())
    assert kept.bytes == first.bytes == first.path.stat().st_size
    assert (first.path.parent.stat().st_mode & 0o777) == 0o700
    other = kept.add("page-b", "picture", png())
    for _ in range(10):  # 5 kB each: the owner's oldest go when they take more than four uploads may
        kept.add("page-a", "picture", png(70))
    assert not first.path.exists()
    assert other.path.exists()
    assert kept.bytes <= 4 * 10_000 + other.bytes
    kept.forget(other.path)
    assert not other.path.exists()
    full = KeptUploads(tmp_path / "full", Limits(disk_bytes=1000), lambda: 990)
    full.clear()
    with pytest.raises(ServiceError, match="no space left"):
        full.add("page-a", "picture", png())
    assert list((tmp_path / "full").iterdir()) == []


def test_a_file_that_is_deleted_meanwhile_is_sent_to_its_end(tmp_path):
    app, content = FastAPI(), bytes(range(256)) * 1000

    @app.get("/{kind}")
    def send(kind: str) -> Any:
        path = tmp_path / "video.mp4"
        path.write_bytes(content)
        response = SentFile(path) if kind == "sent" else FileResponse(path)
        path.unlink()
        return response

    with TestClient(app) as client:
        whole = client.get("/sent")
        assert (whole.content, whole.headers["content-type"]) == (content, "video/mp4")
        part = client.get("/sent", headers={"Range": "bytes=300-1299"})
        assert (part.status_code, part.content) == (206, content[300:1300])
        assert client.get("/sent", headers={"Range": "bytes=999999-"}).status_code == 416
        with pytest.raises(RuntimeError, match="does not exist"):
            client.get("/plain")
    with pytest.raises(FileNotFoundError):
        SentFile(tmp_path / "video.mp4")
