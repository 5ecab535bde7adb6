"""The service's tools for programs that speak the Model Context Protocol."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator

import anyio
import pytest
from typer.testing import CliRunner

from magicanimate.cli.main import app as command
from magicanimate.errors import InputError
from magicanimate.models.locations import SHIPPED
from magicanimate.serve import options as service_options
from magicanimate.serve.options import ServeOptions

TOKEN = "0123456789abcdef"


@pytest.fixture
def address(tmp_path, monkeypatch) -> Iterator[str]:
    """A service without workers, with a token, and a folder of inputs."""
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    import uvicorn

    from magicanimate.serve.app import create_app

    (tmp_path / "inputs").mkdir()
    for name in ("picture.png", "motion.mp4"):
        shutil.copy(SHIPPED / "demo" / name, tmp_path / "inputs")
    options = ServeOptions(
        data=tmp_path / "data", devices=(), models=("tiny",), mcp=True, paths=tmp_path / "inputs",
        tokens={"someone": TOKEN},
    )  # fmt: skip
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(options), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/gradio_api/mcp/"
        server.should_exit = True
        thread.join()


def ask(address: str, calls: list[tuple[str, dict]], token: str = TOKEN) -> tuple[list[str], list]:
    """Names of the tools, and what calls of them answer."""
    from mcp import ClientSession
    from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

    async def talk() -> tuple[list[str], list]:
        client = create_mcp_http_client(headers={"Authorization": f"Bearer {token}"})
        opened = streamable_http_client(address, http_client=client)
        async with client, opened as (read, write, _), ClientSession(read, write) as own:
            await own.initialize()
            tools = [tool.name for tool in (await own.list_tools()).tools]
            return tools, [await own.call_tool(name, arguments) for name, arguments in calls]

    return anyio.run(talk)


def content(answer) -> dict:
    return json.loads(answer.content[0].text)


def test_an_assistant_begins_a_job_and_asks_for_it(address):
    given = {"picture": "picture.png", "motion": "motion.mp4", "settings": '{"seed": 3, "max_frames": 2}'}
    tools, (begun,) = ask(address, [("animate", given)])
    assert sorted(tools) == ["animate", "job"]
    state = content(begun)
    assert (state["state"], state["settings"]) == ("queued", {"seed": 3, "max_frames": 2})
    _, (later, unknown) = ask(address, [("job", {"job": state["id"]}), ("job", {"job": "0" * 32})])
    assert content(later)["position"] == 0
    assert unknown.isError


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"picture": "../data/x.png"}, "no such file"),
        ({"settings": "[]"}, "send a JSON object"),
        ({"settings": '{"steps": -1}'}, "steps"),
    ],
)
def test_refusals_are_sentences(address, change, said):
    _, (answer,) = ask(address, [("animate", {"picture": "picture.png", "motion": "motion.mp4"} | change)])
    assert answer.isError
    assert said in answer.content[0].text


def test_nobody_without_a_token(address):
    with pytest.raises(BaseExceptionGroup, match="TaskGroup"):
        ask(address, [], token="wrong")


def test_the_switch_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(service_options, "find_spec", lambda name: None)
    result = CliRunner().invoke(command, ["serve", "--mcp", "--data", str(tmp_path / "data")])
    assert result.exit_code == 2
    assert "pip install 'magicanimate[mcp]'" in result.stderr
    with pytest.raises(InputError, match="part of the page"):
        ServeOptions(data=tmp_path, mcp=True, page=False).checked()
