"""Lists of jobs: rows that are good and bad, results that survive, workers that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magicanimate.batch.jobs import read_jobs
from magicanimate.batch.results import FILE_NAME, Results
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.media import open_clip


@pytest.fixture
def rows(picture_path, motion_path) -> list[dict[str, object]]:
    common = {"image": str(picture_path), "motion": str(motion_path), "steps": 1, "max_frames": 2}
    return [common | {"out": "a.mp4"}, common | {"seed": 2}]


def listed(path: Path, rows: list[object]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def batch(*options: object):
    return CliRunner().invoke(app, ["batch", *map(str, options)])


def results(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines()]


def test_csv_and_jsonl_say_the_same(tmp_path, rows, picture_path, motion_path):
    (tmp_path / "jobs.csv").write_text(
        "image, motion,out,steps,max_frames,seed,size\n"
        f"{picture_path},{motion_path},a.mp4,1,2,,\n{picture_path},{motion_path},,1,2,2,\n"
    )
    from_csv, bad = read_jobs(tmp_path / "jobs.csv", tmp_path)
    from_jsonl, _ = read_jobs(listed(tmp_path / "jobs.jsonl", rows), tmp_path)
    assert bad == []
    assert [(job.settings, job.out, job.key) for job in from_csv] == [
        (job.settings, job.out, job.key) for job in from_jsonl
    ]
    assert len({job.key for job in from_csv}) == 2


def test_paths_are_relative_to_the_list(tmp_path, picture_path, motion_path):
    (tmp_path / "list").mkdir()
    (tmp_path / "person.png").write_bytes(picture_path.read_bytes())
    (tmp_path / "walk.mp4").write_bytes(motion_path.read_bytes())
    path = listed(tmp_path / "list" / "jobs.jsonl", [{"image": "../person.png", "motion": "../walk.mp4"}])
    (job,), bad = read_jobs(path, tmp_path / "videos")
    assert job.image == (tmp_path / "person.png").resolve()
    assert job.out.parent == tmp_path / "videos"
    assert bad == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": None}, "image is missing"),
        ({"motion": "no.mp4"}, "no.mp4 does not exist"),
        ({"steps": -1}, "steps: should be greater"),
        ({"color": "red"}, "color: there is no such setting"),
        ({"out": "a.avi"}, "out: a.avi should end in"),
        ({"out": "a.mp4"}, "also the output of line 1"),
        ('{"image": ', "is not JSON"),
        ("[1]", "not a JSON object"),
    ],
)
def test_bad_rows_are_named_and_the_others_stay(tmp_path, rows, row, message):
    second = row if isinstance(row, str) else rows[1] | row
    jobs, (bad,) = read_jobs(listed(tmp_path / "jobs.jsonl", [rows[0], second]), tmp_path)
    assert [job.line for job in jobs] == [1]
    assert bad.line == 2
    assert message in bad.sentence


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("jobs.txt", "", "give a .csv or .jsonl"), ("none.csv", None, "cannot be read"), ("jobs.jsonl", "", "no rows"),
        ("jobs.csv", "picture,motion\n", "no image"), ("jobs.csv", "image,motion,color\n", "no settings: 'color'"),
        ("jobs.csv", "image,motion\n", "no rows"), ("jobs.jsonl", b"\xff\xfe\x00", "cannot be read"),
    ],
)  # fmt: skip
def test_unusable_lists(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_jobs(tmp_path / name, tmp_path)


def test_a_row_with_too_many_cells(tmp_path, picture_path, motion_path):
    (tmp_path / "jobs.csv").write_text(f"image,motion\n{picture_path},{motion_path},1,2\n")
    _, (bad,) = read_jobs(tmp_path / "jobs.csv", tmp_path)
    assert (bad.line, "more cells" in bad.sentence) == (2, True)


def test_a_list_is_done_and_run_again_only_what_is_missing(tmp_path, rows, model_folder):
    path, folder = tmp_path / "jobs.jsonl", tmp_path / "videos"
    options = [path, "-o", folder, "--local", "--model", model_folder, "--device", "cpu"]
    listed(path, [*rows, rows[0] | {"out": "c.mp4", "start": 100}, {"image": "no.png"}])
    result = batch(*options)
    assert result.exit_code == 2, result.stderr
    assert "Line 4: image" in result.stderr
    assert "2 of 4 videos are in" in result.stderr
    states = {row["line"]: (row["state"], row.get("attempts")) for row in results(folder)}
    assert states == {1: ("done", 1), 2: ("done", 1), 3: ("failed", 1), 4: ("bad row", None)}
    assert len(list(open_clip(folder / "a.mp4"))) == 2
    before = {video: video.stat().st_mtime_ns for video in folder.glob("*.mp4")}
    assert len(before) == 2

    listed(path, [*rows, rows[0] | {"out": "c.mp4"}])
    again = batch(*options)
    assert again.exit_code == 0, again.stderr
    assert "3 of 3 videos are in" in again.stderr
    assert "(2 were there before)" in again.stderr
    assert {video: video.stat().st_mtime_ns for video in before} == before
    assert sorted(row["line"] for row in results(folder)) == [1, 2, 3]


def test_the_table_survives_a_killed_driver(tmp_path):
    (tmp_path / FILE_NAME).write_text(
        '{"key": "a", "state": "done"}\n{"key": "b", "state": "failed"}\n{"key": "c", "sta'
    )
    (tmp_path / "a.mp4").write_text("")
    (tmp_path / "c.mp4").write_text("")
    (tmp_path / "c.mp4.json").write_text('{"job": "c"}')  # written, but its row was not
    table = Results(tmp_path)
    assert results(tmp_path) == [{"key": "a", "state": "done"}]
    assert table.is_done("a", tmp_path / "a.mp4")
    assert table.is_done("c", tmp_path / "c.mp4")
    assert not table.is_done("b", tmp_path / "b.mp4")
    assert not table.is_done("a", tmp_path / "gone.mp4")
    assert not table.is_done("d", tmp_path / "c.mp4")


def test_somebody_elses_video_is_not_replaced(tmp_path, rows, model_folder):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_text("mine")
    path = listed(tmp_path / "jobs.jsonl", rows[:1])
    result = batch(path, "-o", tmp_path / "videos", "--local", "--model", model_folder, "--device", "cpu")
    assert (result.exit_code, "already exists" in result.stderr) == (2, True)
    assert (tmp_path / "videos" / "a.mp4").read_text() == "mine"


def test_without_ray_the_extra_is_named(tmp_path, rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = batch(listed(tmp_path / "jobs.jsonl", rows), "-o", tmp_path / "videos")
    assert (result.exit_code, "magicanimate[scale]" in result.stderr) == (2, True)


def worker(mark: str) -> int | None:
    """The process of a Ray worker that is in the middle of a job, among those with a mark in their environment."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            if b"ray::Animator.animate" in title and mark.encode() in environment:
                return int(process.name)
        except OSError:
            continue
    return None


@pytest.mark.slow
def test_ray_and_a_worker_killed_in_the_middle_of_a_job(tmp_path, rows, model_folder):
    mark, folder = uuid.uuid4().hex, tmp_path / "videos"
    path = listed(tmp_path / "jobs.jsonl", [rows[0] | {"steps": 20, "max_frames": None}, rows[1], {"image": "no.png"}])
    command = [sys.executable, "-m", "magicanimate", "batch", str(path), "-o", str(folder), "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--model", str(model_folder), "--device", "cpu"],
        stderr=subprocess.PIPE, text=True,
        env=os.environ | {"MARK": mark, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while (pid := worker(mark)) is None and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    assert pid is not None, process.communicate()
    os.kill(pid, signal.SIGKILL)
    _, told = process.communicate(timeout=180)
    assert process.returncode == 2, told
    assert told.count("Line 1: its worker ended in the middle of the job, which is tried once more.") == 1
    assert "2 of 3 videos are in" in told
    states = {row["line"]: (row["state"], row.get("attempts")) for row in results(folder)}
    assert states == {1: ("done", 2), 2: ("done", 1), 3: ("bad row", None)}
    assert "Traceback" not in told
