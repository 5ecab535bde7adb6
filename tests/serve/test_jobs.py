"""Jobs through real processes: done, cancelled, deleted; and that none is lost when processes are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from magicanimate.media import open_clip
from magicanimate.serve.client import RequestError
from magicanimate.serve.store import Store

ROOT = Path(__file__).resolve().parents[2]
LONG = {"steps": 100, "max_frames": 4}
KILLED = {"steps": 50, "max_frames": 4}  # long enough to be met running; it is computed twice


def submit(service, picture_path, motion_path, **settings):
    return service.client.submit(picture_path, motion_path, **({"steps": 1, "max_frames": 2} | settings))


def test_a_job_from_upload_to_video(service, picture_path, motion_path, tmp_path):
    client = service.client
    assert client.models() == ["parts"]
    job = submit(service, picture_path, motion_path, seed=7)
    states = list(client.watch(job.id))
    assert states[-1].state == "done"
    assert states[-1].summary.startswith("2 frames of 64x64")
    assert len(list(open_clip(client.save(job.id, tmp_path / "out.mp4")))) == 2
    about = client.result_settings(job.id)
    assert about["settings"]["seed"] == 7
    assert str(service.data) not in str(about)
    assert [state.id for state in client.jobs()] == [job.id]
    names = {path.name for path in (service.data / "jobs" / job.id).iterdir()}
    assert names == {"result-1.mp4", "result-1.mp4.json", "driver-1.mp4"}  # the inputs are gone
    client.delete(job.id)
    assert list((service.data / "jobs").iterdir()) == []
    with pytest.raises(RequestError, match="no such job"):
        client.state(job.id)


def test_the_same_settings_give_the_same_video(service, picture_path, motion_path, tmp_path):
    files = []
    for seed in (1, 1, 2):
        job = submit(service, picture_path, motion_path, seed=seed)
        service.client.wait(job.id, every=0.05)
        files.append(service.client.save(job.id, tmp_path / f"{job.id}.mp4").read_bytes())
    frames = [file.split(b"mdat")[-1] for file in files]
    assert frames[0] == frames[1]
    assert frames[0] != frames[2]


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_running_job_stops(service, picture_path, motion_path, end):
    client = service.client
    job = submit(service, picture_path, motion_path, **LONG)
    service.until(lambda: client.state(job.id).state == "running")
    getattr(client, end)(job.id)
    if end == "cancel":
        service.until(lambda: client.state(job.id).state == "cancelled")
    service.until(lambda: not (service.data / "jobs" / job.id).exists())
    quick = submit(service, picture_path, motion_path)
    client.wait(quick.id, every=0.05)


def test_a_paused_job_makes_room_and_goes_on(service, picture_path, motion_path):
    client = service.client
    long = submit(service, picture_path, motion_path, steps=60)
    service.until(lambda: client.state(long.id).state == "running")
    client.pause(long.id)
    other = submit(service, picture_path, motion_path, steps=1)
    assert client.wait(other.id, every=0.1).state == "done"
    assert client.state(long.id).state == "paused"
    assert client.resume(long.id).state == "queued"
    ended = client.wait(long.id, every=0.1)
    assert (ended.state, ended.attempts) == ("done", 1)


def test_what_only_the_worker_sees_fails_in_a_sentence(service, motion_path, picture_path, tmp_path):
    cut = tmp_path / "cut.jpg"
    from PIL import Image

    with Image.open(picture_path) as image:
        image.resize((300, 300)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-2000])
    job = submit(service, cut, motion_path)
    with pytest.raises(RequestError, match=r"damaged.*\.$") as refusal:
        service.client.wait(job.id, every=0.05)
    assert str(service.data) not in str(refusal.value)
    assert not (service.data / "jobs" / job.id).exists()


def test_a_killed_worker_loses_no_job(service, picture_path, motion_path):
    client = service.client
    jobs = [submit(service, picture_path, motion_path, seed=n, **({} if n else KILLED)) for n in range(5)]
    service.until(lambda: client.state(jobs[0].id).state == "running")
    os.kill(service.worker_pid(), signal.SIGKILL)
    states = [client.wait(job.id, every=0.05) for job in jobs]
    assert [state.attempts for state in states] == [2, 1, 1, 1, 1]


def test_a_killed_server_loses_no_job(service, picture_path, motion_path):
    jobs = [submit(service, picture_path, motion_path, **(KILLED if n == 0 else {})) for n in range(3)]
    service.until(lambda: service.client.state(jobs[0].id).state == "running")
    service.server.kill()
    service.server.wait()
    service.serve()
    assert {service.client.wait(job.id, every=0.05).state for job in jobs} == {"done"}


def test_a_folder_has_one_service(service):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    command = [sys.executable, "-m", "magicanimate", "serve", "--data", str(service.data), "--port", port]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 2
    assert "Another service uses the folder" in second.stderr


@pytest.mark.parametrize("frozen", [False, True])
def test_ctrl_c_ends_the_service_and_gives_its_job_back(processes, picture_path, motion_path, frozen):
    """Also where the worker hears nothing, as within a long computation: it is killed, and that does not count."""
    processes.serve()
    job = submit(processes, picture_path, motion_path, **LONG)
    processes.until(lambda: processes.client.state(job.id).state == "running")
    worker = processes.worker_pid()
    if frozen:
        os.kill(worker, signal.SIGSTOP)
    processes.server.send_signal(signal.SIGINT)
    assert processes.server.wait(30) == 0
    assert not Path(f"/proc/{worker}").exists()
    record = Store(processes.data / "jobs.sqlite").get(job.id)
    assert record is not None
    assert (record.state, record.attempts) == ("queued", 0)


KILLED_TESTS = """
import os, signal, sys
from pathlib import Path
from serve.conftest import Processes
running = Processes(Path(sys.argv[1]), Path(sys.argv[2]))
running.serve()
print(running.server.pid, running.worker_pid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_no_server_outlives_tests_that_are_killed(tmp_path, models_home):
    tests = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])}
    ran = subprocess.run(
        [sys.executable, "-c", KILLED_TESTS, tmp_path, models_home],
        env=tests,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    processes = [int(word) for word in ran.stdout.split()]
    assert len(processes) == 2
    for _ in range(300):
        if not any(is_running(process) for process in processes):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {processes}")


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
