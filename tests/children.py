"""Real processes that run the command, forked from one that has imported everything and computed nothing.

Importing torch and diffusers takes longer than what most tests ask of a process. That `python -m magicanimate` and
torchrun start the command too is shown by the tests that do not use this.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOADED = ["pytest", "magicanimate.animation.pipeline", "magicanimate.train.run", "accelerate"]


def start(arguments: Sequence[str], log: Path, largest_file: int = 0, **environment: str) -> BaseProcess:
    """The command in a process of its own that prints into `log`; files may be cut off at so many bytes."""
    return start_function(become_the_command, list(arguments), largest_file, log=log, **environment)


def start_function(function: Callable[..., None], *arguments: object, log: Path, **environment: str) -> BaseProcess:
    """A function of a module in a process of its own that prints into `log`."""
    import torch

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    given = function, arguments, log, torch.get_num_threads(), environment
    process = context.Process(target=run_in_a_new_process, args=given)
    process.start()
    return process


def start_ranks(count: int, arguments: Sequence[str], log: Path) -> list[BaseProcess]:
    """Processes of the command that find each other as torchrun's do."""
    return [start(arguments, log, **place) for place in rank_environments(count)]


def rank_environments(count: int) -> list[dict[str, str]]:
    """Return the environment that torchrun sets in each of several processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def codes(processes: Sequence[BaseProcess], seconds: float = 300) -> list[int | None]:
    """Exit codes, once all have ended; minus a signal's number for one that ended by it, None for one that goes on."""
    for process in processes:
        process.join(seconds)
    return [process.exitcode for process in processes]


def run_in_a_new_process(
    function: Callable[..., None], arguments: tuple[object, ...], log: Path, threads: int, environment: dict[str, str]
) -> None:
    """Call the function inside the new process."""
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs, tests among them
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    function(*arguments)


def become_the_command(arguments: list[str], largest_file: int) -> None:
    """Run the command in this process."""
    from magicanimate.cli.main import main

    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = ["magicanimate", *arguments]
    main()
