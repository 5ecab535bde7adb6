"""Bad and hostile uploads: a clear status and one sentence, and nothing is left behind."""

from __future__ import annotations

import io
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from magicanimate.serve.options import Limits

URL = "/api/v1/jobs"


@pytest.fixture
def picture(picture_path) -> bytes:
    return picture_path.read_bytes()


@pytest.fixture
def motion(motion_path) -> bytes:
    return motion_path.read_bytes()


def refused(client, status: int, said: str, **request) -> None:
    answer = client.post(URL, **request)
    assert answer.status_code == status, answer.text
    sentence = answer.json()["detail"]
    assert said in sentence
    assert sentence.endswith(".")
    service = client.app.state.service
    assert list(service.options.jobs.iterdir()) == []
    assert sum(service.store.counts().values()) == 0


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is large, in 70 bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def long_video(path: Path, seconds: int) -> bytes:
    """Two frames, the second after hours."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for pts in (0, seconds):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts = pts
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def zip_bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frame_00000.png", bytes(50_000_000))
    return packed.getvalue()


def test_good_files_are_accepted(app, picture, motion):  # the negative control of all others
    assert app().post(URL, files={"picture": picture, "motion": motion}).status_code == 201


@pytest.mark.parametrize("content", [b"\x7fELF" + bytes(500), b"MZ" + bytes(500), b"#!/bin/sh\n", b"<svg/>", b"%PDF-1"])
def test_an_executable_named_png(app, motion, content):
    named = ("photo.png", content, "image/png")
    refused(app(), 415, "not a PNG, JPEG or WebP", files={"picture": named, "motion": motion})


def test_an_empty_file(app, motion, picture):
    refused(app(), 415, "not a PNG", files={"picture": b"", "motion": motion})
    refused(app(), 415, "not an mp4", files={"picture": picture, "motion": b""})


def test_a_picture_of_more_than_150_megapixels(app, motion):
    refused(app(), 413, "13000x13000", files={"picture": png_header(13000, 13000), "motion": motion})
    refused(app(), 413, "pixels", files={"picture": png_header(60000, 60000), "motion": motion})


def test_what_telephones_and_cameras_write_is_taken(app, motion):
    views = [Image.new("RGB", (64, 64), (200, 90, level)) for level in (0, 255)]
    mpo, large = io.BytesIO(), io.BytesIO()
    views[0].save(mpo, "MPO", save_all=True, append_images=views[1:])
    Image.new("L", (12000, 9000), 90).save(large, "JPEG")
    for content in (mpo, large):
        client = app()
        answer = client.post(URL, files={"picture": content.getvalue(), "motion": motion})
        assert answer.status_code == 201, answer.text
        folder = client.app.state.service.options.jobs / answer.json()["id"]
        assert (folder / "picture.jpg").read_bytes() == content.getvalue()


def test_heic_is_refused_by_its_name(app, motion, monkeypatch):
    from magicanimate.serve import uploads

    monkeypatch.setattr(uploads, "can_read_heic", lambda: False)
    heic = b"\0\0\0\x18ftypheic" + bytes(100)
    refused(
        app(),
        415,
        "HEIC file, which this service does not read; send it as JPEG",
        files={"picture": heic, "motion": motion},
    )


def test_a_video_without_a_known_codec(app, picture, motion):
    unknown = motion.replace(b"avc1", b"zzz9")
    assert unknown != motion
    refused(app(), 422, "of a kind that is not known", files={"picture": picture, "motion": unknown})


def test_a_damaged_picture(app, motion, picture):
    spoilt = bytearray(picture)
    spoilt[len(spoilt) // 2] ^= 0xFF
    refused(app(), 422, "damaged", files={"picture": bytes(spoilt), "motion": motion})


def test_a_video_of_two_hours(app, picture, tmp_path):
    clip = long_video(tmp_path / "long.mp4", 7200)
    assert len(clip) < 10_000
    refused(app(), 413, "more than 300 s", files={"picture": picture, "motion": clip})


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_of_many_frames(app, picture, kind):
    frames = [Image.new("RGB", (8, 8), (n, 0, 99 * n)) for n in (0, 1)]
    content = io.BytesIO()
    frames[0].save(content, kind, save_all=True, append_images=frames[1:], duration=100)
    files = {"picture": picture, "motion": content.getvalue()}
    refused(app(limits=Limits(frames=1)), 413, "2 frames, more than 1", files=files)
    assert app().post(URL, files=files).status_code == 201


def test_a_zip_bomb(app, picture, motion):
    bomb = zip_bomb()
    refused(app(), 415, "not an mp4", files={"picture": picture, "motion": ("walk.mp4", bomb, "video/mp4")})
    refused(app(), 415, "not a PNG", files={"picture": ("p.png", bomb), "motion": motion})
    refused(app(), 400, "", content=zlib.compress(bytes(10_000_000)), headers={"Content-Encoding": "deflate",
        "Content-Type": "multipart/form-data; boundary=x"})  # fmt: skip


@pytest.mark.parametrize(
    "playlist",
    [b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n",
     b"<MPD><Period/></MPD>", b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n"],
)  # fmt: skip
def test_playlists_that_would_open_other_files(app, picture, playlist):
    refused(app(), 415, "not an mp4", files={"picture": picture, "motion": ("a.mp4", playlist)})


def test_a_cut_off_video(app, picture, motion):
    refused(app(), 422, "video", files={"picture": picture, "motion": motion[:200]})


@pytest.mark.parametrize(
    "name", ["../../../tmp/evil.png", "/etc/cron.d/evil", "..\\evil.png", "a\0b.png", "x" * 3000, ""]
)
def test_names_lead_nowhere(app, picture, motion, name):
    client = app()
    answer = client.post(URL, files={"picture": (name or "p", picture), "motion": (name or "m", motion)})
    assert answer.status_code == 201
    folder = client.app.state.service.options.jobs / answer.json()["id"]
    assert {path.name for path in folder.iterdir()} == {"picture.png", "motion.mp4"}
    everything = {path.name for path in client.app.state.service.options.data.rglob("*")}
    assert everything <= {
        "jobs",
        "jobs.sqlite",
        "jobs.sqlite-wal",
        "jobs.sqlite-shm",
        folder.name,
        "picture.png",
        "motion.mp4",
    }


@pytest.mark.parametrize("job", ["..", "%2e%2e%2f%2e%2e", "../../etc/passwd", "0" * 31, "0" * 33, "0" * 31 + "G"])
def test_ids_lead_nowhere(app, job):
    client = app()
    for path in (f"{URL}/{job}", f"{URL}/{job}/result"):
        assert client.get(path).status_code in (404, 422)
        assert client.delete(path).status_code in (404, 405, 422)


def test_broken_multipart(app, picture):
    kind = {"Content-Type": "multipart/form-data; boundary=xyz"}
    refused(app(), 422, "picture", content=b"--xyz\r\nContent-Disposition: form-data", headers=kind)
    refused(app(), 400, "", content=b"no boundary here at all", headers=kind)
    refused(app(), 400, "", content=b"--xyz", headers={"Content-Type": "multipart/form-data"})
    refused(app(), 422, "picture", files={"motion": b"x"})
    refused(app(), 422, "", data={"picture": "text", "motion": "text"})
    many = [("picture", picture)] * 50
    refused(app(), 400, "", files=many)


def test_an_unknown_model(app, picture, motion):
    for model in ("magicanimate-99", "../parts", "/etc"):
        request = {"files": {"picture": picture, "motion": motion}, "data": {"model": model}}
        refused(app(), 422, "choose one of parts", **request)


def test_too_many_bytes(app, picture, motion):
    small = Limits(upload_bytes=1000)
    refused(app(limits=small), 413, "larger than", files={"picture": picture, "motion": motion})
    # What is larger still is not even read to the end, whether its length is told or not.
    refused(app(limits=small), 413, "", files={"picture": bytes(200_000), "motion": motion})
    refused(app(limits=small), 413, "", content=(bytes(70_000) for _ in range(9)),
        headers={"Content-Type": "multipart/form-data; boundary=x"})  # fmt: skip


@pytest.mark.parametrize("size", [60_000, 3_000_000])
def test_a_full_disk(app, picture, motion, size):
    """Files of this process cannot grow any more: one that is copied, and one that is buffered on arrival."""
    client = app()
    client.get(URL)
    padded = motion + struct.pack(">I4s", size, b"free") + bytes(size - 8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        answer = client.post(URL, files={"picture": picture, "motion": padded})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert answer.status_code == 507, answer.text
    assert answer.json()["detail"].startswith("The disk of the service is full")
    assert list(client.app.state.service.options.jobs.iterdir()) == []
    assert client.post(URL, files={"picture": picture, "motion": padded}).status_code == 201
