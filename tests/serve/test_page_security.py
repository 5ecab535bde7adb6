"""Security of the page: owners of files and results, and the login of browsers."""

from __future__ import annotations

from pathlib import Path

import pytest

from api_clients import TOKENS, bearer
from magicanimate.serve.job_states import ended
from magicanimate.serve.options import Limits


def page_app(app, **options):
    return app(page=True, tokens=TOKENS, **options)


def test_files_of_the_page_are_their_owner_s_only(app, picture_path):
    """Ann's token, Bob's token: uploads through the page belong to the one who sent them."""
    client = page_app(app)
    ann, bob = (bearer(name) for name in ("ann", "bob"))
    sent = client.post("/page/uploads/ann/picture", files={"file": picture_path.read_bytes()}, headers=ann)
    name = sent.json()["id"]
    assert client.get(f"/page/uploads/ann/{name}", headers=ann).content == picture_path.read_bytes()
    assert client.get(f"/page/uploads/ann/{name}", headers=bob).status_code == 404
    assert client.get(f"/page/uploads/bob/{name}", headers=bob).status_code == 404
    assert client.get(f"/page/uploads/ann/{name}").status_code == 401
    stored = client.app.state.service.kept.find("ann", name).path
    for path in (
        f"/gradio_api/file={stored}",
        f"/gradio_api/file={picture_path}",
        "/gradio_api/upload",
        "/openapi.json",
    ):
        assert client.get(path, headers=ann).status_code == 404, path
    wrong = client.post("/page/uploads/ann/picture", files={"file": b"MZ"}, headers=ann)
    assert "not a PNG" in wrong.json()["refused"]
    foreign = client.post("/page/uploads/bob/picture", files={"file": picture_path.read_bytes()}, headers=ann)
    assert foreign.status_code == 404


def test_results_are_shown_on_the_page_of_their_client_only(app, send):
    client = page_app(app)
    job = send(client, headers=bearer("ann")).json()["id"]
    service = client.app.state.service
    (service.folder(job) / "result-1.mp4").write_bytes(b"video")
    service.store.change(job, lambda record: ended(record, "done", 1.0, result="result-1.mp4"))
    shown = client.get(f"/page/jobs/ann/{job}/result", headers=bearer("ann"))
    assert shown.content == b"video"
    assert client.get(f"/page/jobs/ann/{job}/result", headers=bearer("bob")).status_code == 404
    assert client.get(f"/page/jobs/bob/{job}/result", headers=bearer("bob")).status_code == 404
    assert client.get("/page/examples/studio/picture", headers=bearer("bob")).status_code == 200
    assert client.get("/page/examples/..%2f/picture", headers=bearer("bob")).status_code == 404


def test_uploads_of_the_page_count_against_the_quota(app, send, picture_path):
    size = len(picture_path.read_bytes())
    client = page_app(app, limits=Limits(disk_bytes=3 * size))
    files = {"file": picture_path.read_bytes()}
    answers = [client.post("/page/uploads/ann/picture", files=files, headers=bearer("ann")).json() for _ in range(4)]
    assert [list(answer) for answer in answers] == [["id"], ["id"], ["id"], ["refused"]]
    assert send(client, headers=bearer("bob")).status_code == 507


def test_the_page_tells_no_path_of_the_server(app):
    client = page_app(app)
    page = client.get("/", headers=bearer("ann"))
    assert page.status_code == 200
    for path in (str(client.app.state.service.options.data), str(Path(__file__).resolve().parents[2] / "src")):
        assert path not in page.text


def test_browsers_log_in_with_a_form(app):
    client = app(tokens=TOKENS)
    assert client.get("/", headers={"Accept": "text/html"}, follow_redirects=False).headers["location"] == "/login"
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    answer = client.post("/login", data={"token": TOKENS["ann"]}, follow_redirects=False)
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    assert client.get("/api/v1/jobs").status_code == 200


def test_wrong_tokens_at_the_login_are_limited(app):
    client = app(tokens=TOKENS)
    answers = [
        client.post("/login", data={"token": f"wrong-{n}"}, follow_redirects=False).status_code for n in range(12)
    ]
    assert answers == [401] * 10 + [429] * 2
    refused = client.post("/login", data={"token": next(iter(TOKENS.values()))}, follow_redirects=False)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 200
    fresh = app(tokens=TOKENS)  # the negative control
    assert fresh.post("/login", data={"token": next(iter(TOKENS.values()))}, follow_redirects=False).status_code == 303


def test_wrong_tokens_are_forgotten_in_time():
    from magicanimate.serve.app import Trials

    trials = Trials()
    for moment in range(10):
        assert trials.wait("a", moment) == 0
        trials.wrong("a", moment)
    assert trials.wait("a", 10) == pytest.approx(290)
    assert trials.wait("b", 10) == 0
    assert trials.wait("a", 301) == 0


def test_every_answer_has_a_content_security_policy(app):
    for path in ("/api/v1/health", "/login", "/nothing"):
        policy = app().get(path).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "http" not in policy  # nothing from elsewhere
