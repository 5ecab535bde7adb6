"""`magicanimate worker`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from magicanimate.cli.commands import Command
from magicanimate.cli.serve import DEFAULT_DATA, Data, LimitOptions, Models, Redis, log_to_stderr, read_limits
from magicanimate.errors import InputError
from magicanimate.serve.options import ServeOptions

app = typer.Typer(add_completion=False)
_NICE = 5  # on a processor that both share, the web process goes first: it needs little and somebody waits for it


@app.command(cls=Command)
def worker(
    data: Data = DEFAULT_DATA,
    redis: Redis = None,
    model: Models = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    limit: LimitOptions = None,
    name: Annotated[str | None, typer.Option(hidden=True)] = None,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Compute the jobs of a service, one after the other, on one device."""
    options = ServeOptions(data=data, redis=redis, models=tuple(model or ()), devices=(), limits=read_limits(limit))
    from magicanimate.serve.open_store import open_store
    from magicanimate.serve.service import Service
    from magicanimate.serve.supervisor import worker_name
    from magicanimate.serve.worker import Worker

    log_to_stderr()
    if not options.jobs.is_dir():
        raise InputError(f"{data} is not the data folder of a service: start `magicanimate serve` first.")
    if supervised and hasattr(os, "nice"):
        os.nice(_NICE)
    service = Service(options, open_store(options.data, options.redis))
    Worker(service, name or worker_name(device), device, supervised=supervised).run()
