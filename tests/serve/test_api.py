"""The HTTP API in this process: who may ask what, and what is said."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse
from typer.testing import CliRunner

from api_clients import TOKENS, bearer, done
from magicanimate.batch.worker import Outcome
from magicanimate.cli.main import app as cli
from magicanimate.errors import InputError
from magicanimate.serve.dispatcher import Dispatcher
from magicanimate.serve.job_states import begun, ended, lost
from magicanimate.serve.middleware import Guard
from magicanimate.serve.options import Limits, ServeOptions, read_tokens


def test_a_job_is_queued_told_and_deleted(app, send):
    client = app()
    answer = send(client, settings={"steps": 2, "size": "64x48"})
    assert answer.status_code == 201, answer.text
    state = answer.json()
    assert (state["state"], state["model"], state["position"]) == ("queued", "parts", 0)
    assert state["settings"] == {"steps": 2, "size": [48, 64]}
    assert client.get(answer.headers["location"]).json() == state
    assert client.get("/api/v1/jobs").json() == [state]
    assert client.get(f"{answer.headers['location']}/result").status_code == 409
    assert client.delete(answer.headers["location"]).status_code == 204
    assert client.get(answer.headers["location"]).status_code == 404
    assert list(client.app.state.service.options.jobs.iterdir()) == []


@pytest.mark.parametrize("label", [True, False])
def test_a_service_may_label_every_video(app, send, label):
    client = app(label=label)
    job = send(client, settings={"steps": 1}).json()
    assert job["settings"] == {"steps": 1} | ({"label": True} if label else {})


def test_results_are_sent_whole_and_in_ranges(app, send):
    client = app()
    job = send(client).json()["id"]
    done(client.app.state.service, job)
    assert client.get(f"/api/v1/jobs/{job}/result").content == b"video"
    part = client.get(f"/api/v1/jobs/{job}/result", headers={"Range": "bytes=1-2"})  # players ask so
    assert (part.status_code, part.content) == (206, b"id")
    assert client.get(f"/api/v1/jobs/{job}/result/settings").status_code == 404


def test_events_end_with_the_job(app, send):
    client = app()
    job = send(client).json()["id"]
    client.post(f"/api/v1/jobs/{job}/cancel")
    with client.stream("GET", f"/api/v1/jobs/{job}/events") as events:
        lines = [json.loads(line.removeprefix("data: ")) for line in events.iter_lines() if line.startswith("data")]
    assert [line["state"] for line in lines] == ["cancelled"]
    assert client.get("/api/v1/jobs/" + 32 * "0" + "/events").status_code == 404


def test_cancelling_what_waits_is_at_once(app, send):
    client = app()
    job = send(client).json()["id"]
    assert client.post(f"/api/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/api/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert list(client.app.state.service.options.jobs.iterdir()) == []


def test_nobody_sees_the_jobs_of_others(app, send):
    client = app(tokens=TOKENS)
    job = send(client, headers=bearer("ann")).json()["id"]
    assert client.get(f"/api/v1/jobs/{job}", headers=bearer("ann")).status_code == 200
    for method, path in (
        ("GET", ""), ("GET", "/result"), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", ""),
    ):  # fmt: skip
        assert client.request(method, f"/api/v1/jobs/{job}{path}", headers=bearer("bob")).status_code == 404
    assert client.get("/api/v1/jobs", headers=bearer("bob")).json() == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + "a" * 16}, {"Cookie": 'a"b; ;;'},
     {"Cookie": "magicanimate_token=wrong"}, {"Authorization": "Bearer \u00e9".encode("latin-1")}],
)  # fmt: skip
def test_a_wrong_token_gets_nothing(app, send, headers):
    client = app(tokens=TOKENS)
    for path in ("/api/v1/jobs", "/api/v1/metrics", "/api/v1/openapi.json", "/"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["detail"].startswith("A valid token is needed")
    assert send(client, headers=headers).status_code == 401
    assert list(client.app.state.service.options.jobs.iterdir()) == []
    assert client.get("/api/v1/health", headers=headers).json() == {
        "status": "no worker", "jobs": None, "workers": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:9"},
     {"Sec-Fetch-Site": "cross-site"}],
)  # fmt: skip
def test_other_pages_change_nothing(app, send, headers):
    client = app()
    assert send(client, headers=headers).status_code == 403
    answer = client.get("/api/v1/jobs", headers=headers)
    assert "access-control-allow-origin" not in answer.headers
    assert send(client, headers={"Origin": "http://127.0.0.1:8000"}).status_code == 201


def test_other_names_are_refused(app):
    client = app(hosts=("studio.example",))
    for host, status in (
        ("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("studio.example:80", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421),
    ):  # fmt: skip
        assert client.get("/api/v1/jobs", headers={"Host": host}).status_code == status, host


def test_what_other_libraries_grant_to_foreign_pages_is_taken_back():
    async def open_to_all(scope, receive, send):
        await PlainTextResponse("", headers={"Access-Control-Allow-Origin": "*", "X-Kept": "1"})(scope, receive, send)

    def headers(application):
        return (
            TestClient(application, base_url="http://127.0.0.1")
            .get("/", headers={"Origin": "http://a.example"})
            .headers
        )

    assert "access-control-allow-origin" in headers(open_to_all)
    guarded = headers(Guard(open_to_all, ServeOptions(data=Path("unused"))))
    assert "access-control-allow-origin" not in guarded
    assert guarded["x-kept"] == "1"


def test_a_queue_out_of_reach_is_said(app, send):
    client = app()
    assert send(client).status_code == 201
    with sqlite3.connect(client.app.state.service.options.data / "jobs.sqlite") as database:
        database.execute("ALTER TABLE records RENAME TO elsewhere")
    answer = send(client)
    assert answer.status_code == 503
    assert answer.json()["detail"] == "The queue cannot be reached; try again later."


def test_limits_of_clients_queue_and_disk(app, send):
    client = app(tokens=TOKENS, limits=Limits(client_jobs=2, jobs=3))
    for status in (201, 201, 429):
        answer = send(client, headers=bearer("ann"))
        assert answer.status_code == status
    assert "unfinished jobs" in answer.json()["detail"]
    assert [send(client, headers=bearer("bob")).status_code for _ in range(2)] == [201, 503]
    full = app(tokens=TOKENS, limits=Limits(disk_bytes=10))
    answer = send(full, headers=bearer("bob"))
    assert answer.status_code == 507
    assert answer.json()["detail"].endswith(".")
    assert len(list(full.app.state.service.options.jobs.iterdir())) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 101}, "at most 100"),
        ({"max_frames": 5000}, "at most 3000"),
        ({"size": [4000, 4000]}, "pixels per frame"),
        ({"steps": "many"}, "steps"),
        ({"nonsense": 1}, "no such setting"),
        ({"pad_frames": 10**9}, "pad_frames"),
        ({"extractor": "densepose=/tmp/program.ts"}, "extractor"),
        ({"background": "/etc/passwd"}, "background"),
        ({"person_edit": "/etc/passwd"}, "not a path"),
        ({"person_edit": '{"size": [64, 64], "joints": {"tail": [1, 2]}}'}, "no joint 'tail'"),
        ({"background": "#12"}, "not a color"),
        ({"scheduler": "\ud800"}, "settings"),
    ],
)
def test_settings_out_of_bounds(app, send, settings, said):
    answer = send(app(), settings=settings)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 60000, '{"steps": NaN}', '{"seed": 1' + "0" * 5000 + "}"])
def test_settings_that_are_no_object(app, send, text):
    assert send(app(), **{"settings": text} if text else {"settings": "null"}).status_code == 422


def test_paths_only_where_allowed_and_never_outside(app, tmp_path, picture_path, motion_path):
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "p.png").write_bytes(picture_path.read_bytes())
    (folder / "m.mp4").write_bytes(motion_path.read_bytes())
    (folder / "out.png").symlink_to(picture_path)

    def ask(client, picture: str):
        return client.post("/api/v1/jobs", data={"picture_path": picture, "motion_path": "m.mp4"})

    assert ask(app(), "p.png").status_code == 403
    client = app(paths=folder)
    assert ask(client, "p.png").status_code == 201
    for path in ("../inputs-not", str(picture_path), "out.png", "/etc/passwd", "..", "no.png", "a\0b", "x" * 5000):
        answer = ask(client, path)
        assert answer.status_code == 404, path
        assert answer.json()["detail"] == "There is no such file in the folder for inputs."


def test_metrics_count_routes_not_jobs(app, send):
    client = app()
    job = send(client).json()["id"]
    client.get(f"/api/v1/jobs/{job}")
    text = client.get("/api/v1/metrics").text
    assert 'magicanimate_requests_total{method="GET",route="/api/v1/jobs/{job}",status="200"} 1.0' in text
    assert 'magicanimate_jobs{state="queued"} 1.0' in text
    assert job not in text
    metrics, service = client.app.state.metrics, client.app.state.service
    metrics.job_begun(begun(service.store.get(job), "w", 1.0))
    metrics.job_ended(ended(service.store.get(job), "done", 2.0), Outcome(seconds=3.0, frames=10))
    text = client.get("/api/v1/metrics").text
    assert "magicanimate_waiting_seconds_count 1.0" in text
    assert "magicanimate_frame_seconds_sum 0.3" in text


def test_the_page_of_plots_shows_metrics_that_there_are(app, send):
    client = app()
    send(client)
    page = client.get("/metrics")
    assert page.headers["content-type"].startswith("text/html")
    plotted = re.findall(r'metric: "(\w+)"', page.text)
    assert len(plotted) == 5
    names = {
        line.split("{")[0].split()[0] for line in client.get("/api/v1/metrics").text.splitlines() if line[0] != "#"
    }
    for name in plotted:
        assert {name, f"{name}_sum"} & names, name
    assert app(tokens=TOKENS).get("/metrics").status_code == 401


def test_health_says_whether_anybody_works(app):
    assert app().get("/api/v1/health").json()["status"] == "no worker"


def test_every_route_and_refusal_is_described(app):
    paths = app().get("/api/v1/openapi.json").json()["paths"]
    assert len(paths) >= 9
    for methods in paths.values():
        for route in methods.values():
            assert route["description"]
            assert "HTTPValidationError" not in json.dumps(route)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "a token is needed"),
        (["--host", "example.org"], "a token is needed"),
        (["--limit", "pixels=many"], "The limit pixels cannot be 'many'"),
        (["--limit", "pixels=-1"], "pixels"),
        (["--limit", "speed=1"], "There is no limit 'speed'"),
        (["--tokens", "no-such-file"], "cannot be read"),
        (["--workers", "2"], "--workers is for --ray"),
        (["--ray", "auto", "--device", "cpu"], "leave --device out"),
    ],
)
def test_a_service_that_cannot_start_says_why(tmp_path, arguments, said):
    result = CliRunner().invoke(cli, ["serve", "--data", str(tmp_path / "data"), *arguments])
    assert result.exit_code == 2, result.stderr
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr


def test_a_taken_port_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(cli, ["serve", "--data", str(tmp_path / "data"), "--port", port])
    assert result.exit_code == 2
    assert "choose another --port" in result.stderr
    assert not (tmp_path / "data").exists()


def test_token_files(tmp_path, monkeypatch):
    file = tmp_path / "tokens"
    file.write_text(f"ann {TOKENS['ann']}\n\nbob {TOKENS['bob']}\n")
    monkeypatch.setenv("MAGICANIMATE_TOKEN", "c" * 16)
    assert read_tokens(file) == TOKENS | {"default": "c" * 16}
    for content, said in (("ann short\n", "shorter than 16"), ("ann\n", "Line 1 "), ("\xff", "cannot be read")):
        file.write_bytes(content.encode("latin-1"))
        with pytest.raises(InputError, match=said):
            read_tokens(file)


def test_old_jobs_lost_workers_and_stray_folders_are_cleaned_up(app, send):
    client = app(limits=Limits(keep_seconds=100))
    service = client.app.state.service
    dispatcher = Dispatcher(service, client.app.state.metrics)
    old, new, running = (send(client).json()["id"] for _ in range(3))
    service.store.change(old, lambda job: ended(job, "done", job.created - 101))
    service.store.change(new, lambda job: ended(job, "done", job.created - 50))
    dispatcher.remove_old()
    assert service.store.get(old) is None
    assert not service.folder(old).exists()
    assert service.store.get(new) is not None
    for state in ("queued", "failed"):  # its second worker is lost too
        service.store.change(running, lambda job: begun(job, "w", 1000.0))
        dispatcher.take_back([running], lost)
        assert service.store.get(running).state == state
    assert not service.folder(running).exists()
    waiting = send(client).json()["id"]
    for name in ("e" * 32, "f" * 32):
        service.folder(name).mkdir()
    service.arriving.add("f" * 32)
    dispatcher.sweep()
    assert {folder.name for folder in service.options.jobs.iterdir()} == {new, waiting, "f" * 32}
    text = client.get("/api/v1/metrics").text
    assert 'magicanimate_failures_total{kind="lost"} 1.0' in text


def test_the_documentation_names_every_limit_and_route(app):
    page = (Path(__file__).resolve().parents[2] / "docs" / "service.md").read_text()
    for name, field in Limits.model_fields.items():
        assert f"| `{name}` | {field.default} |" in page
    for path, methods in app().get("/api/v1/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"| `{method.upper()} {path.replace('{job}', 'ID')}` |" in page


def test_a_field_with_a_slip_in_its_name_is_refused(app, picture_path, motion_path):
    client = app()
    files = {"picture": picture_path.read_bytes(), "motion": motion_path.read_bytes()}
    for field, said in (("setings", "did you mean settings?"), ("seed", "send picture, motion")):
        answer = client.post("/api/v1/jobs", data={field: "{}"}, files=files)
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
    assert client.post("/api/v1/jobs", data={"settings": "{}"}, files=files).status_code == 201
    answer = client.post("/api/v1/jobs", data={"settings": '{"scheduler": "eular"}'}, files=files)
    assert answer.status_code == 422
    assert "did you mean euler?" in answer.json()["detail"]


@pytest.mark.parametrize("job", ["nope", "0" * 32, "..%2f..", "0" * 31 + "g"])
def test_a_job_that_is_not_there_is_404_whatever_it_is_called(app, job):
    client = app()
    for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
        assert client.request(method, f"/api/v1/jobs/{job}{path}").status_code in (404, 405), (method, path)
    assert client.get(f"/api/v1/jobs/{job}").status_code == 404


def test_the_client_has_errors_of_its_own(tmp_path):
    from magicanimate.client import Client, MissingFile, RequestError, Unreachable

    with Client("http://127.0.0.1:9") as client:  # the port of "discard", where nobody listens
        with pytest.raises(Unreachable, match=r"No service answers at http://127\.0\.0\.1:9"):
            client.health()
        with pytest.raises(MissingFile, match=r"picture .*nothing\.png cannot be read"):
            client.submit(tmp_path / "nothing.png", tmp_path / "nothing.mp4")
        with pytest.raises(RequestError):
            list(client.watch("0" * 32))


def test_an_origin_that_is_no_address_is_foreign(app, send):
    assert send(app(), headers={"Origin": "http://[bad"}).status_code == 403
    assert send(app(), headers={"Origin": "http://127.0.0.1:8000"}).status_code == 201


def test_folders_and_database_are_for_their_owner_only(app, send, tmp_path):
    client = app()
    job = send(client).json()["id"]
    service = client.app.state.service
    for path in (service.options.data, service.options.jobs, service.folder(job)):
        assert path.stat().st_mode & 0o777 == 0o700, path
    databases = [path for path in service.options.data.iterdir() if path.is_file()]
    assert databases
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in databases)


@pytest.mark.parametrize("size", ["auto", "motion", "64x64", [64, 64]])
def test_every_kind_of_size_is_taken(app, send, size):
    assert send(app(), settings={"size": size}).status_code == 201
