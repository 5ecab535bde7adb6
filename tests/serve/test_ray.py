"""The service with its work on a cluster: two nodes on this machine, one of which is killed in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from magicanimate.batch.carried import work_folder
from magicanimate.media import open_clip

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(models_home, monkeypatch) -> Iterator[Any]:
    """A head that does no work, and two nodes for a worker each."""
    from ray.cluster_utils import Cluster

    for name, value in (
        ("MAGICANIMATE_HOME", str(models_home)), ("OMP_NUM_THREADS", "1"), ("RAY_USAGE_STATS_ENABLED", "0"),
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


def test_what_killed_processes_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "magicanimate-work-killed").mkdir()
    with work_folder() as first:
        with work_folder() as second:
            assert sorted(tmp_path.iterdir()) == sorted([first, second])  # the one in use stays
        assert list(tmp_path.iterdir()) == [first]
    assert list(tmp_path.iterdir()) == []
