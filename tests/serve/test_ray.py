"""Work on a cluster of two nodes on this machine: the service, with a node killed in the middle, and one video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from magicanimate.batch.carried import work_folder
from magicanimate.cli.main import app
from magicanimate.media import open_clip

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(models_home, monkeypatch) -> Iterator[Any]:
    """A head that does no work, and two nodes for a worker each."""
    from ray.cluster_utils import Cluster

    for name, value in (
        ("MAGICANIMATE_HOME", str(models_home)), ("OMP_NUM_THREADS", "1"), ("RAY_USAGE_STATS_ENABLED", "0"),
        ("RAY_worker_niceness", "0"),  # else they starve beside the other tests
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    yield made
    made.shutdown()


def test_a_node_is_killed_and_the_server_too(cluster, processes, picture_path, motion_path, tmp_path):
    options = ("--ray", cluster.address)
    processes.serve(*options)
    client = processes.client
    processes.until(lambda: sum(worker["state"] == "ready" for worker in client.health()["workers"]) == 2)
    settings = {"max_frames": 2, "steps": 60}
    jobs = [client.submit(picture_path, motion_path, seed=seed, **settings) for seed in range(4)]
    processes.until(lambda: sum(state.state == "running" and state.done > 0 for state in client.jobs()) == 2)

    cluster.remove_node(cluster.nodes[0], allow_graceful=False)
    processes.until(lambda: any(state.attempts == 2 for state in client.jobs()))

    processes.server.kill()
    processes.server.wait()
    processes.serve(*options)
    cancelled = client.cancel(jobs[3].id)
    states = [client.wait(job.id, every=0.1) for job in jobs[:3]]
    assert {state.state for state in states} == {"done"}
    assert max(state.attempts for state in states) == 2
    assert client.state(cancelled.id).state == "cancelled"
    for job in jobs[:3]:
        assert len(list(open_clip(client.save(job.id, tmp_path / f"{job.id}.mp4")))) == 2
        names = {path.suffix for path in (processes.data / "jobs" / job.id).iterdir()}
        assert names == {".mp4", ".json"}
    log = processes.log.read_text()
    assert all(log.count(f"job {job.id} is done") == 1 for job in jobs[:3])


def test_one_video_on_two_nodes_is_the_same(cluster, picture_path, motion_path, model_folder, tmp_path):
    def animate(name: str, *more: str) -> np.ndarray:
        arguments = [
            "animate", str(picture_path), str(motion_path), "--model", str(model_folder), "--device", "cpu",
            "--steps", "2", "--window", "4", "--overlap", "2", "-o", str(tmp_path / name), *more,
        ]  # fmt: skip
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert f"Wrote {tmp_path / name}" in result.output
        return np.stack(list(open_clip(tmp_path / name)))

    shared = animate("shared", "--ray", cluster.address)
    assert np.array_equal(shared, animate("alone"))
    assert not np.array_equal(shared, animate("other", "--seed", "2", "--ray", cluster.address))
    assert not list(tmp_path.glob(".*"))


def test_what_one_video_on_a_cluster_cannot_do(cluster, picture_path, motion_path, model_folder, tmp_path):
    command = ["animate", str(picture_path), str(motion_path), "--model", str(model_folder), "-o", str(tmp_path / "v")]
    for more, sentence in (
        (["--workers", "2"], "--workers is for --ray"),
        (["--ray", cluster.address, "--resume"], "without --compare, --resume, --redo and --dry-run"),
        (["--ray", cluster.address, "--workers", "3"], "3 workers need 3 CPUs and the cluster has 2"),
        (["--ray", cluster.address, "--window", "100"], "2 processes cannot share 1 window"),
    ):
        result = CliRunner().invoke(app, [*command, *more])
        assert result.exit_code == 2
        assert sentence in result.output
    assert not list(tmp_path.iterdir())


def test_what_killed_processes_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "magicanimate-work-killed").mkdir()
    with work_folder() as first:
        with work_folder() as second:
            assert sorted(tmp_path.iterdir()) == sorted([first, second])  # the one in use stays
        assert list(tmp_path.iterdir()) == [first]
    assert list(tmp_path.iterdir()) == []
