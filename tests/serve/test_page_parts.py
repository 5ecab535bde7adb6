"""Parts behind the page: a visitor's session, its pace, and its HTML, without a browser."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import pytest

from magicanimate.serve.page import views
from magicanimate.serve.page.controls import add_controls, chosen_settings
from magicanimate.serve.page.editor import editor
from magicanimate.serve.page.examples import SHELF
from magicanimate.serve.page.session import Input, Session
from magicanimate.serve.page.time_left import Pace
from magicanimate.serve.page.visitors import Visitors
from page_queue import Queue, at_once, job

ATTACK = '<img src=x onerror="alert(1)">'


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def session(queue) -> Session:
    visitor = Session(queue, at_once, "page-1")
    visitor.begin()
    return visitor


def files(session: Session) -> Session:
    picture, motion = (Input(Path(name), name, f"/{name}") for name in ("a.png", "b.mp4"))
    session.choose(picture=picture)
    session.choose(motion=motion)
    return session


def test_a_preview_is_small_and_follows_the_settings(session, queue):
    files(session)
    session.adjust({"seed": "7", "steps": "25", "end": "0:30"}, "tiny")
    given = list(queue.given.values())
    assert [preview for *_, preview in given] == [True, True]
    assert given[1][2] == {
        "seed": 7, "steps": 25, "end": 30.0, "preset": "preview", "max_frames": 24, "audio": False,
    }  # fmt: skip
    assert len(queue.states) == 1, "the preview that nobody waits for any more is deleted"
    session.adjust({"seed": "7", "steps": "25", "end": "0:30"}, "tiny")
    assert len(queue.given) == 2, "the same settings again are no news"


def test_a_correction_goes_with_the_picture(session, queue, monkeypatch):
    monkeypatch.setattr(queue, "examine", lambda *_, **__: "fine")
    moved = '{"size": [64, 64], "joints": {"nose": [31, 20]}}'
    assert editor(session) == ""
    files(session).look()
    assert '<"' not in editor(session)
    assert "&quot;nose&quot;" in editor(session)
    session.correct(moved)
    assert list(queue.given.values())[-1][2]["person_edit"] == moved
    assert "31" in editor(session)
    session.adjust({"seed": "7"}, "tiny")
    session.run()
    assert list(queue.given.values())[-1][2] == {"seed": 7, "person_edit": moved}
    session.correct('{"size": [64, 64], "joints": {"tail": [31, 20]}}')
    assert "tail" in session.error
    assert session.edit == moved
    session.correct(None)
    assert "person_edit" not in list(queue.given.values())[-1][2]
    session.correct(moved)
    session.choose(picture=Input(Path("c.png"), "c.png", "/c.png"))
    assert session.edit is None
    assert "person_edit" not in list(queue.given.values())[-1][2]


def test_bad_settings_are_one_sentence(session):
    files(session).adjust({"steps": "many"}, "tiny")
    assert session.error.startswith("steps: ")
    session.adjust({"steps": "3"}, "tiny")
    assert session.error is None


def test_a_run_ends_in_the_gallery_and_starts_again_with_another_seed(session, queue):
    files(session).run()
    assert session.job is not None
    session.run()
    assert "wait for it" in session.error
    full = session.job.id
    queue.end(full, "done")
    session.look()
    assert (session.job, session.shown.id, [done.id for done in session.results]) == (None, full, [full])
    session.again()
    assert queue.given[session.job.id][2]["seed"] != 1
    session.cancel()
    assert session.job is None
    session.delete()
    assert session.shown is None
    assert session.results == []


def test_without_both_files_nothing_runs(session, queue):
    session.run()
    assert session.error == "Choose a picture first."
    session.choose(picture=Input(Path("a.png"), "a.png", "/a.png"))
    session.run()
    assert session.error == "Choose a motion first."
    assert queue.given == {}


def test_a_refusal_is_shown_and_a_doctor_who_fails_is_no_end(session, queue):
    queue.refusal = "The picture is not a PNG, JPEG or WebP file."
    files(session)
    assert session.error == queue.refusal
    assert session.checking is None, "what the service refuses is not opened for the check either"
    queue.refusal = None
    files(session)
    assert session.checking is not None
    session.look()
    assert session.examination == "The motion is empty."
    assert session.error is None


def test_a_check_that_is_stopped_ends_and_its_thread_is_free(queue):
    began, ended = threading.Event(), threading.Event()

    def examine(*_inputs, model=None, progress) -> None:
        try:
            while True:
                progress("fitting", 1, 4)
                began.set()
                time.sleep(0.01)
        finally:
            ended.set()

    queue.examine = examine
    with ThreadPoolExecutor(1) as threads:
        session = Session(queue, threads.submit, "page-1")
        files(session)
        assert began.wait(10)
        session.look()
        assert "Fitting a body" in views.check_progress(session)
        session.stop_check()
        assert ended.wait(10)
        assert (session.checking, views.check_progress(session)) == (None, "")
        assert "stopped" in views.notice(session)
        session.run()
        assert session.checking is None, "not begun again by what needs no check"
        began.clear()
        session.choose(picture=Input(Path("c.png"), "c.png", "/c.png"))
        assert began.wait(10), "the next one begins"
        ended.clear()
        session.drop("picture")
        assert ended.wait(10), "a check of what is chosen no more"


def test_a_preview_tells_its_progress_and_can_be_stopped(session, queue):
    files(session)
    rough = session.preview.id
    queue.states[rough] = queue.states[rough].model_copy(
        update={"state": "running", "stage": "decode", "done": 1, "total": 2, "started": time.time() - 8}
    )
    session.look()
    progress = views.preview_progress(session)
    assert "Finishing the video" in progress
    assert "8 s so far" in progress
    assert 'aria-valuenow="92"' in progress
    session.stop_preview()
    assert (session.preview, views.preview_progress(session), list(queue.states)) == (None, "", [])


def test_a_reloaded_page_finds_its_running_job(session, queue):
    files(session).run()
    again = Session(queue, at_once, "page-1")
    again.begin()
    assert again.job.id == session.job.id
    assert again.busy


def test_a_cancelled_job_stays_cancelled_until_the_next_action(session, queue):
    files(session).run()
    session.cancel()
    assert "Cancelled" in views.notice(session)
    for _ in range(2):
        session.look()
        assert (session.job, views.progress(session)) == (None, "")
        assert "Cancelled" in views.notice(session)
    again = Session(queue, at_once, "page-1")
    again.begin()
    assert again.job is None, "a reloaded page does not find it either, though its worker may not have heard yet"
    assert session.inputs == {}
    session.run()
    assert views.notice(session) == ""
    queue.end(session.job.id, "cancelled")  # elsewhere: through the API
    session.look()
    assert session.job is None
    assert "Cancelled" in views.notice(session)


def test_a_run_is_paused_and_goes_on(session, queue):
    files(session).run()
    assert session.job.state == "queued"
    session.pause_or_resume()
    assert session.job.state == "paused"
    assert "Paused" in views.progress(session)
    session.pause_or_resume()
    assert session.job.state == "queued"
    assert "Paused" not in views.progress(session)


def test_nobody_waits_for_themselves(session, queue):
    files(session).run()  # the visitor's own preview comes first
    full = session.job.id
    queue.states[full] = queue.states[full].model_copy(update={"position": 1, "created": 2.0})
    session.look()
    assert "Starting" in views.progress(session)
    queue.states[full] = queue.states[full].model_copy(update={"position": 3})
    session.look()
    assert "Waiting for 2 others" in views.progress(session)


def test_a_visitor_is_kept_for_a_while_and_then_everything_is_let_go(queue):
    released: list[str] = []

    def begin() -> Session:
        return Session(queue, at_once, "page-1", release=lambda chosen: released.append(chosen.name))

    visitors = Visitors(keep_seconds=100, most=2)
    desk = visitors.desk_of("a", begin)
    files(desk.session).run()
    desk.session.choose(picture=Input(Path("c.png"), "c.png", "/c.png"))
    assert visitors.desk_of("a", begin) is desk
    other = visitors.desk_of("b", begin)
    assert other is not desk
    assert released == []
    visitors.desk_of("c", begin)  # one too many: the one unseen for longest goes
    assert set(released) == {"a.png", "b.mp4", "c.png"}
    assert visitors.desk_of("b", begin) is other
    other.seen -= 101
    visitors.desk_of("c", begin)
    assert visitors.desk_of("b", begin) is not other


def test_every_setting_is_explained_by_its_declaration():
    with gr.Blocks():
        controls = add_controls(["tiny"])[1:]
    told = {control.label: control.info for control in controls}
    assert told["Steps"] == "Denoising steps; empty: the preset's."
    assert told["Fit the motion to the person in the picture"].startswith("Give the motion the place")
    assert all(len(info) > 10 for info in told.values())


def test_an_example_is_made_once_with_the_usual_settings(queue):
    both = Input(Path("a.png"), "a.png", "/a.png"), Input(Path("b.mp4"), "b.mp4", "/b.mp4")

    def visit() -> Session:
        queue.states.clear()
        visitor = Session(queue, at_once, "page-1", model="tiny")
        visitor.run_example(*both)
        return visitor

    first = visit()
    queue.end(first.job.id, "done")
    first.look()
    second = visit()
    assert (second.job, second.shown.state, len(second.results)) == (None, "done", 1)
    second.run_example(*both)
    assert len(second.results) == 1, "the visitor's own is shown again"
    assert "made before" in second.note
    second.settings = {"seed": 2}
    second.run_example(*both)
    assert second.job.state == "queued"


def test_inputs_go_with_their_jobs(session, queue):
    released: list[str] = []
    session.release = lambda chosen: released.append(chosen.name)
    files(session).run()
    full = session.job.id
    queue.end(full, "done")
    session.look()
    session.drop("picture")
    session.drop("motion")
    session.begin()
    assert (list(session.inputs), released) == ([full], [])
    del queue.states[full]  # by time
    session.begin()
    assert (session.inputs, session.shown) == ({}, None)
    assert set(released) == {"a.png", "b.mp4"}


def test_pace_counts_frames_and_time_left():
    pace = Pace()
    begun = time.time()
    pace.see(job(stage="reading", done=40, total=40, started=begun), begun)
    assert pace.seconds_left is not None
    for second, done in ((1, 0), (2, 10), (3, 20)):
        pace.see(job(stage="denoise", done=done, total=40, started=begun), begun + second)
    assert pace.frames_per_second == pytest.approx(10)
    assert pace.fraction == pytest.approx(0.6)
    assert pace.seconds_left == pytest.approx(2)
    assert pace.seconds_so_far == pytest.approx(3)
    pace.see(job(stage="something else"), begun + 4)
    assert pace.fraction == 0


def test_files_that_are_needed_no_more_are_released(session):
    released: list[str] = []
    session.release = lambda chosen: released.append(chosen.name)
    one, two, motion = (Input(Path(name), name, f"/{name}") for name in ("1.png", "2.png", "m.mp4"))
    session.choose(picture=one, motion=motion)
    session.choose(picture=two)
    assert released == ["1.png"]
    session.run()  # its picture and motion may be asked for again
    session.choose(picture=one)
    session.drop("motion")
    assert released == ["1.png"]


def test_a_download_is_named_after_picture_motion_and_seed(session):
    session.choose(picture=Input(Path("p"), "My photo (1).png", "/p"), motion=Input(Path("m"), "dance.mp4", "/m"))
    session.settings = {"seed": 7}
    session.run()
    assert session.job is not None
    assert session.download_name(session.job) == "My-photo-1_dance_seed7.mp4"
    assert session.download_name(job(settings={})).endswith("_seed1.mp4")


def test_what_comes_from_outside_is_escaped(session):
    session.choose(picture=Input(Path("a.png"), ATTACK, 'x" onerror="alert(1)'))
    session.error = ATTACK
    shown = job(state="done", summary=ATTACK, warnings=[ATTACK], settings={"seed": ATTACK})
    session.results = [shown]
    pieces = [
        views.drop_zone("picture", session.picture, 'x" onerror="alert(1)'),
        views.notice(session),
        views.player(shown, {"result": "/v", "name": ATTACK}, {ATTACK: ATTACK}),
        views.gallery(session, {shown.id: "/v"}),
    ]
    assert all("<img src=x" not in piece and 'x" onerror' not in piece for piece in pieces)
    assert "&lt;img src=x" in pieces[0]


def test_controls_become_settings():
    empty = ["tiny", "quality", "", "", "auto", "", "picture", "cover", "", "", "", "", True, False, False]
    assert chosen_settings(empty) == ({}, "tiny")
    chosen = [
        "tiny",
        "fast",
        "1",
        "0:05",
        "256x256",
        "0.4",
        "#00ff00",
        "contain",
        "3",
        "8",
        "4",
        "2",
        False,
        True,
        True,
    ]
    settings, _ = chosen_settings(chosen)
    assert settings == {
        "preset": "fast", "start": "1", "end": "0:05", "size": "256x256", "seed": "3", "fps": "8", "fit": "contain",
        "steps": "4", "guidance": "2", "align": "none", "loop": True, "label": True,
        "background": "#00ff00", "expression": "0.4",
    }  # fmt: skip


def test_the_examples_are_there_and_small():
    files = [path for example in SHELF.values() for path in (example.picture, example.motion)]
    assert len(files) == 6
    assert sum(path.stat().st_size for path in files) <= 600_000
