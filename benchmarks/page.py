"""Measure a visitor's waiting times: from `magicanimate serve` to a usable page, a preview, and a video; and pictures.

python benchmarks/page.py --out docs/page/waiting.json --shots docs/page
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magicanimate.serve.page.examples import SHELF

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def service(data: Path) -> Iterator[str]:
    """A fresh service with the shipped model; yields its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "magicanimate", "serve", "--data", str(data), "--port", str(port)]
    with (data / "log.txt").open("wb") as log:
        process = subprocess.Popen([*command, "--model", "tiny"], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        while not answers(address):
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/api/v1/health", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def visit(page: Any, address: str, started: float, shots: Path | None) -> dict[str, float]:
    """Seconds until each thing is seen; since `serve` was started (monotonic clock), or since it was asked for."""
    seconds = {}
    page.set_default_timeout(180_000)
    page.goto(address)
    page.wait_for_selector(".status")
    seconds["page usable, since start"] = time.monotonic() - started
    shoot(page, shots, "start")
    page.wait_for_selector(".status.ready")
    seconds["model ready, since start"] = time.monotonic() - started
    asked = time.monotonic()
    page.get_by_label("Picture: ").set_input_files(SHELF["studio"].picture)
    page.wait_for_selector(".drop-name")
    page.get_by_label("Motion: ").set_input_files(SHELF["studio"].motion)
    page.wait_for_selector("video.rough")
    seconds["rough preview, since both files"] = time.monotonic() - asked
    page.wait_for_selector(".sheet")
    seconds["check, since both files"] = time.monotonic() - asked
    page.wait_for_timeout(500)
    shoot(page, shots, "check")
    asked = time.monotonic()
    page.locator("#run").click()
    page.get_by_text("frames per second").filter(visible=True).last.wait_for()
    shoot(page, shots, "running")
    page.wait_for_selector("video.result")
    seconds["finished video of 32 frames, since Animate"] = time.monotonic() - asked
    page.get_by_text("Side by side").click()
    page.wait_for_timeout(1500)
    shoot(page, shots, "result")
    page.set_viewport_size(PHONE)
    page.locator(".modes").get_by_text("Slider").click()
    page.wait_for_timeout(1000)
    shoot(page, shots, "phone")
    return {name: round(value, 1) for name, value in seconds.items()}


def shoot(page: Any, shots: Path | None, name: str) -> None:
    if shots:
        page.screenshot(path=shots / f"{name}.jpg", full_page=True, type="jpeg", quality=80)


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--shots", type=Path, help="folder for pictures of the page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        started = time.monotonic()
        with service(Path(data)) as address:
            seconds = visit(browser.new_page(viewport=DESKTOP), address, started, arguments.shots)
        browser.close()
    about = {"machine": platform.machine(), "cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d")}
    print(json.dumps(about | {"seconds": seconds}, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(about | {"seconds": seconds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
