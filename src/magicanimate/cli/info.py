"""`magicanimate info`: versions, devices, models and extras of this installation, for oneself and for reports."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Any

import typer

from magicanimate.cli.commands import Command

PACKAGES = (
    "torch", "diffusers", "transformers", "accelerate", "huggingface-hub", "safetensors", "numpy", "scipy", "numba",
    "pillow", "av", "ai-edge-litert", "pydantic", "typer",
)  # fmt: skip
_OF_EXTRA = re.compile(r"""([\w.-]+).*;.*extra\s*==\s*["']([\w-]+)["']""")

app = typer.Typer(add_completion=False)


@app.command(cls=Command)
def info(as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False) -> None:
    """Print versions, devices, models and extras of this installation."""
    from magicanimate.cli.models import readable

    facts = installation()
    typer.echo(json.dumps(facts, indent=2) if as_json else "\n".join(readable(facts)))


def installation() -> dict[str, Any]:
    """Describe the installation and the devices. Paths below the user's home folder begin with ~."""
    from magicanimate.models.locations import named_models
    from magicanimate.version import version as own

    return {
        "magicanimate": own(),
        "python": f"{platform.python_version()} ({sys.implementation.name})",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores",
        "packages": {name: installed(name) or "not installed" for name in PACKAGES},
        "devices": devices(),
        "models": {name: without_home(folder) for name, folder in named_models().items()},
        "extras": {
            extra: f"without {', '.join(absent)}" if (absent := [n for n in names if not installed(n)]) else "installed"
            for extra, names in extras().items()
        },
    }


def installed(name: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def extras() -> dict[str, list[str]]:
    """Extra -> packages that it brings; nothing in a source folder that is not installed."""
    try:
        lines = requires("magicanimate") or []
    except PackageNotFoundError:
        lines = []
    found: dict[str, list[str]] = {}
    for match in filter(None, map(_OF_EXTRA.match, lines)):
        found.setdefault(match[2], []).append(match[1])
    return found


def devices() -> dict[str, str]:
    """Device -> what it is and can do."""
    import torch

    from magicanimate.engine.device import DTYPES, fast_on_cpu

    fast = [name for name, dtype in DTYPES.items() if fast_on_cpu(dtype)]
    found = {"cpu": f"{torch.get_num_threads()} threads, computes in {', '.join(fast)}"}
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{about.name}, {about.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def without_home(folder: Path) -> str:
    """Return a path in which the user's name does not stand."""
    home = Path.home()
    return str(Path("~") / folder.relative_to(home)) if folder.is_relative_to(home) else str(folder)
