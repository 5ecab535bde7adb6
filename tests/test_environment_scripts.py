"""The decisions that the Makefile's scripts take: which Python, which build of torch. No network, no installation."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CPU, PLAIN, INDEX = "torch==2.13.0+cpu", "torch==2.13.0", "https://example.invalid/cpu"


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return path


def run(name: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "scripts" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def install_torch(folder: Path, available: str, gpu: bool = False) -> tuple[int, list[str]]:
    """Exit code and pip's arguments, call by call, where only requests containing `available` succeed."""
    log = folder / "log"
    python = script(
        folder / "python", f'shift 2; echo "$*" >> {log}; case "$*" in *"{available}"*) exit 0;; esac; exit 1'
    )
    driver = folder / "driver"
    if gpu:
        driver.mkdir()
    nvidia_smi = script(folder / "nvidia-smi", f"exit {0 if gpu else 9}")
    result = run(
        "install_torch.sh",
        python,
        "2.13.0",
        INDEX,
        NVIDIA_DRIVER_FOLDER=str(driver),
        PATH=f"{nvidia_smi.parent}:{os.environ['PATH']}",
    )
    return result.returncode, log.read_text().splitlines()


def test_cpu_build_from_the_configured_indexes_first(tmp_path):
    code, calls = install_torch(tmp_path, available=CPU)
    assert code == 0
    assert len(calls) == 1
    assert CPU in calls[0]
    assert "--index-url" not in calls[0]


def test_cpu_build_from_the_public_index_second(tmp_path):
    code, calls = install_torch(tmp_path, available=f"--index-url {INDEX} {CPU}")
    assert code == 0
    assert len(calls) == 2


def test_plain_build_last(tmp_path):
    code, calls = install_torch(tmp_path, available=f"-qq {PLAIN}")
    assert code == 0
    assert [PLAIN in call and CPU not in call for call in calls] == [False, False, True]


def test_a_gpu_gets_the_plain_build_at_once(tmp_path):
    code, calls = install_torch(tmp_path, available=PLAIN, gpu=True)
    assert code == 0
    assert len(calls) == 1
    assert CPU not in calls[0]


def test_nothing_available_is_a_failure(tmp_path):
    code, calls = install_torch(tmp_path, available="no such request")
    assert code != 0
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("version", "ensurepip", "message"),
    [
        ("3.12", True, None),
        ("3.13", True, None),
        ("3.11", False, "python3-venv"),
        ("3.14", True, "No Python 3.11, 3.12 or 3.13 found"),
    ],
)
def test_find_python(tmp_path, version, ensurepip, message):
    # A stand-in that answers the script's two questions: the version, then whether venv and ensurepip are there.
    supported = version in ("3.11", "3.12", "3.13")
    python = script(
        tmp_path / "python",
        f'case "$2" in *version_info*) exit {0 if supported else 1};; *) exit {0 if ensurepip else 1};; esac',
    )
    result = run("find_python.sh", python)
    if message is None:
        assert (result.returncode, result.stdout.strip()) == (0, str(python))
    else:
        assert result.returncode == 1
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_find_python_takes_the_first_that_runs(tmp_path):
    refuses = script(tmp_path / "refuses", "exit 127")
    works = script(tmp_path / "works", "exit 0")
    assert run("find_python.sh", refuses, works).stdout.strip() == str(works)
