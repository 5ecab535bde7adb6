"""Dockerfile and compose files: what they name exists, what they run parses, and their promises about safety hold."""

from __future__ import annotations

import json
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from magicanimate.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {"ARG", "FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and rest of every line of a Dockerfile, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined]


@pytest.fixture(scope="module")
def docker() -> list[tuple[str, str]]:
    return instructions((ROOT / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def parses(command: list[str]) -> None:
    """The command line takes it, without running it."""
    assert command[0] in ("magicanimate", "ray")
    if command[0] == "ray":
        group: Any = pytest.importorskip("ray.scripts.scripts").cli
    else:
        group = typer.main.get_command(app)
    context = group.make_context(command[0], list(command[1:]))
    _, chosen, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    chosen.make_context(chosen.name, rest, parent=context)


def ignored(path: str) -> bool:
    """Return True if .dockerignore, whose last matching line counts, leaves the path out."""
    hidden = False
    for line in (ROOT / ".dockerignore").read_text().split():
        if fnmatch(path, line.removeprefix("!")):
            hidden = not line.startswith("!")
    return hidden


def test_the_dockerfile_is_one(docker):
    assert {name for name, _ in docker} <= KNOWN
    stages = [rest.split() for name, rest in docker if name == "FROM"]
    assert len(stages) == 2
    assert all(":" in stage[0] and not stage[0].endswith(":latest") for stage in stages)
    arguments = {rest.split("=")[0] for name, rest in docker if name == "ARG"}
    used = set(re.findall(r"\$\{?([A-Z_]+)", " ".join(rest for name, rest in docker if name in ("FROM", "RUN"))))
    assert used == arguments == {"PYTHON", "TORCH_INDEX"}


def test_what_is_copied_is_there(docker):
    copied = [path for name, rest in docker if name == "COPY" and "--from" not in rest for path in rest.split()[:-1]]
    assert set(copied) == {"constraints.txt", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "src"}
    assert all((ROOT / path).exists() and not ignored(path) for path in copied)
    assert ignored("tests")
    assert ignored("data")


def test_shell_lines_are_sound(docker):
    for name, rest in docker:
        if name == "RUN":
            assert shlex.split(rest)
            if "apt-get install" in rest:
                assert {"--no-install-recommends", "-y"} <= set(rest.split())
                assert "rm -rf /var/lib/apt/lists/*" in rest
    installed = " ".join(rest for name, rest in docker if name == "RUN")
    extras = re.search(r'"\.\[([a-z,]+)\]"', installed)[1].split(",")
    project = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)


def test_the_image_runs_without_rights(docker):
    names = [name for name, _ in docker]
    assert dict(docker)["USER"] == "magicanimate"
    assert names.index("USER") > max(index for index, name in enumerate(names) if name == "RUN")
    assert names.index("USER") < names.index("CMD")
    check = dict(docker)["HEALTHCHECK"]
    compile(json.loads(check[check.index("CMD") + 3 :])[-1], "healthcheck", "exec")


def test_commands_parse(docker, compose):
    parses(json.loads(dict(docker)["CMD"]))
    cuda = yaml.safe_load((ROOT / "compose.cuda.yaml").read_text())
    for services in (compose["services"], cuda["services"]):
        for service in services.values():
            if "command" in service:
                parses(service["command"])
    for command in (["magicanimate", "serve"], ["ray", "start"]):
        with pytest.raises((typer.BadParameter.__base__, click.UsageError)):
            parses([*command, "--no-such-option"])


def test_compose_is_closed_by_default(compose):
    services = compose["services"]
    assert set(services) == {"server", "head", "worker"}
    assert {name: service.get("ports") for name, service in services.items()} == {
        "server": ["127.0.0.1:8000:8000"], "head": None, "worker": None,
    }  # fmt: skip
    assert ":?" in services["server"]["environment"]["MAGICANIMATE_TOKEN"]
    for name in services:
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert ":?" in services[name]["environment"]["RAY_AUTH_TOKEN"]
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert {volume.split(":")[0] for volume in services[name]["volumes"]} <= set(compose["volumes"])


def test_variables_are_read(docker, compose):
    """Every variable of ours that the files set is one that the program reads."""
    text = "".join(path.read_text() for path in (ROOT / "src" / "magicanimate").rglob("*.py"))
    names = set(re.findall(r"MAGICANIMATE_[A-Z]+", (ROOT / "Dockerfile").read_text() + json.dumps(compose)))
    assert names == {name for name in names if f'"{name}"' in text}
    assert len(names) >= 3
