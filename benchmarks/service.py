"""The service under load, with a small random model: many clients at once, and a worker that is killed.

    python benchmarks/service.py --clients 200 --out service.json
    python benchmarks/service.py --clients 200 --ray

Starts `magicanimate serve` as a user would; with --ray beside a cluster of two nodes on this machine. Exit code 1 if a
job is lost or done twice, if the state calls' 95th percentile reaches 100 ms, or if the page needs 10 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]
SMALL = json.dumps({"steps": 1, "max_frames": 2})
POLL = 1.0  # seconds between two state calls of a client


@dataclass
class Run:
    """A service, and what was seen of it."""

    folder: Path
    port: int
    tokens: list[str]
    ray: str | None = None
    process: subprocess.Popen[bytes] | None = None
    latencies: list[float] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def start(self) -> float:
        """Seconds until the page answers."""
        environment = os.environ | {"MAGICANIMATE_HOME": str(self.folder / "models"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "magicanimate", "serve", "--data", str(self.folder / "data")]
        command += ["--model", "small", "--port", str(self.port), "--tokens", str(self.folder / "tokens")]
        command += ["--ray", self.ray] if self.ray else ["--device", "cpu"]
        began = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        header = {"Authorization": f"Bearer {self.tokens[0]}"}
        while time.perf_counter() - began < 120:
            try:
                if httpx.get(self.url + "/", headers=header).status_code == 200:
                    return time.perf_counter() - began
            except httpx.TransportError:
                time.sleep(0.05)
        raise SystemExit(self.log.read_text())

    def workers(self) -> list[dict[str, Any]]:
        header = {"Authorization": f"Bearer {self.tokens[0]}"}
        return httpx.get(self.url + "/api/v1/health", headers=header).json()["workers"]

    def worker(self) -> int:
        """Process id of a worker that computes."""
        busy = [worker for worker in self.workers() if worker["state"] == "busy"]
        return int((busy or self.workers())[0]["id"].rpartition("-")[2])


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """The address of a Ray cluster of this machine: a head that does no work, and two nodes for a worker each."""
    from ray.cluster_utils import Cluster

    os.environ |= {"MAGICANIMATE_HOME": str(folder / "models"), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made.address
    finally:
        made.shutdown()


def prepare(folder: Path, clients: int) -> tuple[bytes, bytes, list[str]]:
    """A random model, a token for each client, and both inputs."""
    from figures import walking_parts
    from magicanimate.media.video import save_frames
    from magicanimate.models.model import save_model
    from magicanimate.parts.densepose import render_parts
    from random_models import random_model

    (folder / "models").mkdir()
    save_model(random_model("parts"), folder / "models" / "small")
    tokens = [secrets.token_hex(16) for _ in range(clients)]
    (folder / "tokens").write_text("".join(f"client{n} {token}\n" for n, token in enumerate(tokens)))
    motion = save_frames(iter(render_parts(walking_parts(12))), folder / "walk.mp4", 25, {})
    picture = folder / "person.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 80, 3), dtype=np.uint8)).save(picture)
    return picture.read_bytes(), motion.read_bytes(), tokens


async def one_client(http: httpx.AsyncClient, run: Run, token: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Submit a job, ask until it has ended, fetch the result; the last state."""
    header = {"Authorization": f"Bearer {token}"}
    answer = await http.post("/api/v1/jobs", files=files, data={"settings": SMALL}, headers=header)
    answer.raise_for_status()
    place = answer.headers["location"]
    while True:
        began = time.perf_counter()
        state = (await http.get(place, headers=header)).json()
        run.latencies.append(time.perf_counter() - began)
        if state["state"] not in ("queued", "running"):
            break
        await asyncio.sleep(POLL)
    video = await http.get(f"{place}/result", headers=header)
    return state | {"bytes": len(video.content) if video.status_code == 200 else 0}


async def many(
    run: Run, tokens: list[str], files: dict[str, bytes], kill_after: float | None = None
) -> list[dict[str, Any]]:
    async with AsyncExitStack() as opened:
        # A client each, as they would be on machines of their own; TLS is not used, so nothing is loaded for it.
        each = [
            await opened.enter_async_context(httpx.AsyncClient(base_url=run.url, timeout=600, verify=False))
            for _ in tokens
        ]
        clients = [
            asyncio.create_task(one_client(http, run, token, files)) for http, token in zip(each, tokens, strict=True)
        ]
        if kill_after is not None:
            await asyncio.sleep(kill_after)
            os.kill(run.worker(), signal.SIGKILL)
        return await asyncio.gather(*clients)


def alone(run: Run, files: dict[str, bytes]) -> float:
    """Seconds from submission to the end of a small job with nothing else to do, median of ten."""

    def seconds(state: dict[str, Any]) -> float:
        return state["finished"] - state["created"]

    states = [asyncio.run(many(run, run.tokens[:1], files))[0] for _ in range(11)]
    run.latencies.clear()
    return round(float(np.median([seconds(state) for state in states[1:]])), 2)


def answered_in_time(run: Run) -> float:
    """Share of state calls that the server itself answered within 100 ms, by its own figures."""
    header = {"Authorization": f"Bearer {run.tokens[0]}"}
    text = httpx.get(run.url + "/api/v1/metrics", headers=header).text
    labels = r'method="GET",route="/api/v1/jobs/{job}"'
    within = re.search(rf'request_seconds_bucket{{le="0.1",{labels}}} (\S+)', text)
    total = re.search(rf"request_seconds_count{{{labels}}} (\S+)", text)
    return round(float(within[1]) / float(total[1]), 4) if within and total else 0.0


def told(run: Run, states: list[dict[str, Any]]) -> dict[str, Any]:
    """Report whether every job was done once. The log has a line for every end of a job."""
    ends = Counter(re.findall(r"job ([0-9a-f]{32}) is done", run.log.read_text()))
    return {
        "jobs": len(states),
        "done": sum(state["state"] == "done" and state["bytes"] > 0 for state in states),
        "done twice": sum(ends[state["id"]] > 1 for state in states),
        "second attempts": sum(state["attempts"] > 1 for state in states),
        "state calls": len(run.latencies),
        "state p50 ms": round(float(np.percentile(run.latencies, 50)) * 1000, 1),
        "state p95 ms": round(float(np.percentile(run.latencies, 95)) * 1000, 1),
        "state max ms": round(max(run.latencies) * 1000, 1),
    }


def measure(clients: int, port: int, ray: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        picture, motion, tokens = prepare(Path(name), max(clients, 20))
        address = opened.enter_context(cluster(Path(name))) if ray else None
        run, files = Run(Path(name), port, tokens, address), {"picture": picture, "motion": motion}
        results: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
        try:
            results["page answers after s"] = round(run.start(), 2)
            while sum(worker["state"] == "ready" for worker in run.workers()) < (2 if ray else 1):
                time.sleep(0.2)
            results["seconds a job, one after the other"] = alone(run, files)
            began = time.perf_counter()
            states = asyncio.run(many(run, tokens[:clients], files))
            results["many clients"] = told(run, states) | {"seconds": round(time.perf_counter() - began, 1)}
            results["many clients"]["server answered states under 100 ms"] = answered_in_time(run)
            run.latencies.clear()
            states = asyncio.run(many(run, tokens[:20], files, kill_after=1.0))
            results["killed worker"] = told(run, states)
        finally:
            if run.process:
                run.process.terminate()
                run.process.wait(20)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--ray", action="store_true", help="with the work on two nodes of a Ray cluster")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = measure(arguments.clients, arguments.port, arguments.ray)
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    cases = [results["many clients"], results["killed worker"]]
    good = all(case["done"] == case["jobs"] and case["done twice"] == 0 for case in cases)
    quick = results["many clients"]["state p95 ms"] < 100 and results["page answers after s"] < 10
    return 0 if good and quick else 1


if __name__ == "__main__":
    sys.exit(main())
