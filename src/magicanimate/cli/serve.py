"""`magicanimate serve`."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from magicanimate import provenance
from magicanimate.cli.commands import Command
from magicanimate.errors import InputError
from magicanimate.serve.options import Limits, ServeOptions, read_tokens

app = typer.Typer(add_completion=False)

_GRACE = 1  # seconds for answers under way when the service ends
_HEADER_BYTES, _CONNECTIONS = 32 * 1024, 500


Data = Annotated[Path, typer.Option(envvar="MAGICANIMATE_DATA", help="Folder for jobs and their files.")]
AllowHost = Annotated[list[str] | None, typer.Option(help="A name under which browsers reach the service; repeat it.")]
Tokens = Annotated[
    Path | None, typer.Option(help="File of clients, a line each: name token. Or set MAGICANIMATE_TOKEN.")
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model that jobs may ask for; repeat it. Default: all that have a name."),
]
Devices = Annotated[
    list[str] | None, typer.Option(help="auto, cpu, cuda:0 ...: a worker process each; repeat it. Default: auto.")
]
RayAddress = Annotated[
    str | None, typer.Option(help="Address of a Ray cluster that does the work, as ray://HOST:10001.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="With --ray: so many at once. Default: one per GPU, or per machine.")
]
AllowPaths = Annotated[Path | None, typer.Option(help="Folder whose files API clients may name instead of uploading.")]
Mcp = Annotated[
    bool, typer.Option("--mcp", help="Tools for assistants (MCP) beside the page; inputs from --allow-paths.")
]
Label = Annotated[
    bool, typer.Option("--label", help="Write 'AI-generated' into every video, whether it is asked for or not.")
]


@app.command(cls=Command)
def serve(
    data: Data = Path("magicanimate-data"),
    host: Annotated[str, typer.Option(help="Address to listen on; all but 127.0.0.1 need a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    allow_host: AllowHost = None,
    tokens: Tokens = None,
    model: Models = None,
    device: Devices = None,
    ray: RayAddress = None,
    workers: Workers = None,
    allow_paths: AllowPaths = None,
    page: Annotated[bool, typer.Option(help="The web page beside the API.")] = True,
    mcp: Mcp = False,
    label: Label = False,
    limit: Annotated[
        list[str] | None, typer.Option("--limit", help="NAME=VALUE, such as keep_seconds=3600; repeat it.")
    ] = None,
) -> None:
    """Serve the web page and the HTTP API, with workers that compute the jobs."""
    if ray and device:
        raise InputError("--ray takes the devices of its cluster; leave --device out.")
    if workers and not ray:
        raise InputError("--workers is for --ray; without it, repeat --device.")
    options = ServeOptions(
        data=data, host=host, port=port, hosts=tuple(allow_host or ()), tokens=read_tokens(tokens), ray=ray,
        workers=workers, paths=allow_paths, models=tuple(model or ()), devices=tuple(device or ("auto",)),
        page=page, mcp=mcp, label=label, limits=read_limits(limit),
    ).checked()  # fmt: skip
    provenance.configured()  # a certificate that cannot be used is said now
    import uvicorn

    from magicanimate.serve.app import create_app

    log_to_stderr()
    with listen(host, port) as listener, only_service(options):
        config = uvicorn.Config(
            create_app(options), log_level="warning", access_log=False, proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=_GRACE, timeout_keep_alive=75, ws="none", http="h11",
            h11_max_incomplete_event_size=_HEADER_BYTES, limit_concurrency=_CONNECTIONS,
        )  # fmt: skip
        typer.echo(f"http://{host}:{port}", err=True)
        with suppress(KeyboardInterrupt):  # the usual way to end it
            uvicorn.Server(config).run(sockets=[listener])
    if threading.active_count() > 1:  # a check that somebody waits for no more; nothing that it does is kept
        sys.stderr.flush()
        os._exit(0)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; InputError if the address is not this machine's or the port is taken."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(f"Nothing can listen on {host}:{port}: {error.strerror}; choose another --port.") from error


@contextmanager
def only_service(options: ServeOptions) -> Iterator[None]:
    """Keep the data folder from other services. What a killed one left is free."""
    from magicanimate.media.claim import claimed

    options.make_folders()
    with ExitStack() as held:
        try:
            held.enter_context(claimed(options.data / "service"))
        except InputError as error:
            raise InputError(f"Another service uses the folder {options.data}; choose another --data.") from error
        yield


def read_limits(given: list[str] | None) -> Limits:
    """Return limits from NAME=VALUE; InputError names what is wrong and what there is."""
    values = dict(pair.partition("=")[::2] for pair in given or ())
    if unknown := set(values) - set(Limits.model_fields):
        raise InputError(f"There is no limit {min(unknown)!r}: choose from {', '.join(Limits.model_fields)}.")
    try:
        return Limits.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(f"The limit {problem['loc'][0]} cannot be {problem['input']!r}: give a number.") from error


def log_to_stderr() -> None:
    """Log the service to stderr, by job ids: nothing that a user sent is ever logged."""
    logging.basicConfig(format="%(asctime)s %(process)d %(message)s", level=logging.WARNING)
    logging.getLogger("magicanimate").setLevel(logging.INFO)
