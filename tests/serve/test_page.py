"""The page, driven in a real browser against a real service with a small random model."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from magicanimate.person.edit import parse_person_edit
from magicanimate.serve.page.examples import SHELF

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PICTURE, MOTION = SHELF["studio"].picture, SHELF["studio"].motion
PLAYS = "selector => { const v = document.querySelector(selector); return v && v.currentTime > 0.05 && !v.error }"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here; Debian's package chromium brings it, or set CHROMIUM"
    ),
]


RELOADED = ("aborted", "connection errored out")
"""Messages that Chromium or the page sometimes logs when a reload ends the page's event stream."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser, page_service) -> Iterator[Callable[..., Any]]:
    """Opens the page as a new visitor, at a size. At the end: no error was logged, and nothing was asked elsewhere."""
    address = f"http://127.0.0.1:{page_service.port}"
    contexts, visits, errors, elsewhere = [], [], [], []

    def open_page(width: int = 1280, height: int = 900) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(240_000)  # the machine may be busy with other tests
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("framenavigated", lambda frame: None if frame.parent_frame else visits.append(frame.url))
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(address)
        page.wait_for_selector(".status")
        return page

    yield open_page
    for context in contexts:
        context.close()
    reloaded = RELOADED if len(visits) > len(contexts) else ()
    assert [error for error in errors if not any(text in error.lower() for text in reloaded)] == []
    assert [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))] == []
    assert any(url.startswith(address) for url in elsewhere)


def fill(page: Any, picture: Any = PICTURE, motion: Any = MOTION) -> None:
    page.get_by_label("Picture: ").set_input_files(picture)
    page.wait_for_selector(".drop-name")
    page.get_by_label("Motion: ").set_input_files(motion)
    page.wait_for_function("document.querySelectorAll('.drop-name').length == 2")


def finish(page: Any) -> None:
    """Wait for a finished video that plays."""
    page.locator("video.result").scroll_into_view_if_needed()  # browsers play silent videos while they are seen
    page.wait_for_function(PLAYS, arg="video.result")


def test_an_example_runs_with_one_click_to_a_video_that_plays(visit):
    page = visit()
    page.get_by_role("button", name="Run the example Studio").click()
    finish(page)
    page.get_by_text("Side by side").click()
    page.wait_for_function(PLAYS, arg="video.motion")
    assert page.locator(".screen img.picture").is_visible()
    page.locator(".modes").get_by_text("Slider").click()
    page.get_by_role("slider", name="Where the result ends").fill("20")
    assert page.eval_on_selector(".player", "e => e.style.getPropertyValue('--wipe')") == "20%"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.endswith(".mp4")
    page.wait_for_selector(".gallery .card")

    other = visit()  # somebody else
    other.get_by_role("button", name="Run the example Studio").click()
    other.get_by_text("Made before, from the same picture and motion").wait_for()
    finish(other)
    assert other.get_by_role("progressbar", name="Progress: Your video").count() == 0

    page.get_by_role("button", name="Again with another seed").click()
    page.wait_for_function("document.querySelectorAll('.gallery .card').length == 2")
    finish(page)
    page.locator(".player").locator("..").get_by_text("Settings").click()
    assert page.get_by_role("row", name="seed").inner_text().split() != ["seed", "1"]

    page.reload()
    page.wait_for_function("document.querySelectorAll('.gallery .card').length == 2")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    page.wait_for_function("document.querySelectorAll('.gallery .card').length == 1")


def test_own_files_are_checked_previewed_and_animated_with_settings(visit):
    page = visit()
    assert page.locator("#run").is_disabled()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("End (s").fill("0.6")
    fill(page)
    page.get_by_role("region", name="Check").get_by_text("frames").first.wait_for()
    page.wait_for_function(PLAYS, arg="video.rough")
    before = page.get_attribute("video.rough", "src")
    page.get_by_label("End (s").fill("0.4")
    page.wait_for_function(
        "before => { const v = document.querySelector('video.rough'); return v && v.getAttribute('src') != before }",
        arg=before,
    )
    page.locator("#run").click()
    finish(page)
    assert "5 frames" in page.get_by_role("region", name="Result").inner_text()

    page.reload()
    page.get_by_role("button", name="Again with another seed").wait_for()
    assert page.locator(".drop-name").all_inner_texts() == [PICTURE.name, MOTION.name]
    assert page.get_by_label("End (s").input_value() == "0.4"
    page.wait_for_function("document.querySelector('.drop.filled img').naturalWidth > 0")
    assert page.locator("#run").is_enabled()


def test_the_settings_are_there_before_they_are_opened(visit):
    """gradio sets what it makes on opening once more to its first value a frame later, and loses what was typed."""
    page = visit()
    end = page.get_by_label("End (s")
    assert end.count() == 1
    assert not end.is_visible()
    end.evaluate("field => { field.marked = 1 }")
    page.get_by_role("button", name="Settings").click()
    end.fill("0.4")
    assert end.evaluate("field => field.marked") == 1
    page.get_by_role("button", name="Settings").click()
    end.wait_for(state="hidden")
    page.get_by_role("button", name="Settings").click()
    assert end.input_value() == "0.4"


def test_cancelling(visit):
    page = visit()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Steps").fill("100")
    fill(page)
    page.wait_for_selector("#run:not([disabled])")
    page.locator("#run").click()
    page.get_by_role("progressbar", name="Progress: Your video").wait_for()
    late = page.locator("#running .bar").evaluate("bar => bar.parentElement.innerHTML")
    page.get_by_role("button", name="Cancel").click()
    note = page.get_by_text("Cancelled; nothing was kept.")
    note.wait_for()
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', `<div class=running>${html}</div>`)", late)
    assert not page.locator("body > .running").is_visible(), "an older answer that comes late"
    page.wait_for_timeout(4000)  # longer than the heartbeat
    assert note.is_visible()
    assert page.get_by_role("progressbar", name="Progress: Your video").count() == 0
    assert page.locator("video.result").count() == 0
    assert page.locator("#run").is_enabled()
    for what, seed in (("check", "2"), ("preview", "3")):
        job = f"document.querySelector('#{what}ing [data-job]')?.dataset.job"
        before = page.evaluate(job)
        page.get_by_label("Seed").fill(seed)
        page.wait_for_function(f"before => {job} && {job} != before", arg=before)  # begun anew
        page.get_by_role("button", name=f"Stop the {what}").click()
        page.get_by_text(f"The {what} was stopped").wait_for()
        assert page.get_by_role("button", name=f"Stop the {what}").count() == 0
    page.get_by_label("Remove the picture").click()
    page.get_by_text("was stopped").wait_for(state="detached")


def test_a_bad_upload_is_one_sentence_and_the_next_one_works(visit, tmp_path):
    program = tmp_path / "portrait.png"
    program.write_bytes(b"MZ" + bytes(500))
    page = visit()
    page.get_by_label("Picture: ").set_input_files(program)
    page.locator(".drop-message").get_by_text("not a PNG, JPEG or WebP file").wait_for()  # in its slot, at once
    assert "Traceback" not in page.content()
    assert page.locator(".drop-name").count() == 0
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("End (s").fill("0.4")  # a short preview
    fill(page)
    page.wait_for_function(PLAYS, arg="video.rough")
    assert page.locator(".alert").count() == 0


def test_files_dropped_beside_their_places_are_taken(visit):
    page = visit()
    address = page.url
    drop = """([name, type, bytes]) => {
        const files = new DataTransfer();
        files.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], name, { type }));
        const event = new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
        document.querySelector("h1").dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    for path, kind in ((PICTURE, "image/png"), (MOTION, "video/mp4")):
        assert page.evaluate(drop, [path.name, kind, base64.b64encode(path.read_bytes()).decode()])
    page.wait_for_function("document.querySelectorAll('.drop-name').length == 2")
    assert page.url == address
    assert page.locator(".drop.filled img").count() == 1
    assert page.locator(".drop.filled video").count() == 1


def test_the_motion_is_trimmed_beside_its_player(visit):
    page = visit()
    page.get_by_label("Motion: ").set_input_files(MOTION)
    handles = [page.get_by_label(f"{name} of the motion, in seconds") for name in ("Start", "End")]
    start, end = (page.get_by_label(f"{name} (s") for name in ("Start", "End"))
    handles[1].fill("2")
    assert (start.input_value(), end.input_value()) == ("", "2")
    assert page.eval_on_selector(".drop.filled video", "video => [video.paused, video.currentTime]") == [True, 2]
    page.eval_on_selector(".drop.filled video", "video => { video.currentTime = 0.5 }")
    page.get_by_role("button", name="Start here").click()
    assert start.input_value() == "0.5"
    handles[0].fill("2.4")  # not beyond the other
    assert start.input_value() == "1.9"
    page.get_by_role("button", name="Settings").click()
    end.fill("never")
    page.get_by_role("alert").get_by_text("end: ").wait_for()
    end.fill("0:02.2")
    assert handles[1].input_value() == "2.2"
    page.get_by_text("end: ").wait_for(state="detached")  # so that the service knows what is to outlive the reload
    page.reload()
    page.wait_for_function("document.querySelector('.trim-start')?.value == 1.9")
    assert end.input_value() == "0:02.2"


def test_a_phone(visit):
    page = visit(390, 844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    title, status = page.locator("h1").bounding_box(), page.locator(".status").bounding_box()
    assert title["y"] + title["height"] <= status["y"], "the status covers the title"
    page.get_by_role("button", name="Run the example Hills").click()
    finish(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("video.result").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_by_keyboard_and_with_names_for_everything(visit):
    page = visit()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, video, img, a')]
        .filter(e => e.checkVisibility() && !(e.getAttribute('aria-label') || e.innerText || e.labels?.length
          || e.getAttribute('alt') !== null || e.closest('label') || e.title || e.closest('button')))
        .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")
        )
        if (seen[-1] or "").startswith("Run the example Stripes"):
            break
    reached = " | ".join(filter(None, seen))
    for name in ("Picture: ", "Motion: ", "Use the motion", "Settings", "Run the example Studio"):
        assert name in reached, reached
    page.keyboard.press("Enter")
    page.get_by_role("progressbar", name="Progress: Your video").wait_for()
    page.get_by_role("button", name="Cancel").press("Enter")
    page.get_by_text("Cancelled; nothing was kept.").wait_for()


def test_looking_again_draws_nothing_anew(visit):
    """The heartbeat sends what the page has already; a video that plays is not started over by it."""
    page = visit()
    page.get_by_role("button", name="Run the example Studio").click()
    finish(page)
    marked = "() => [...document.querySelectorAll('video, .card, .drop, .status')].map(e => e.marked)"
    page.evaluate("() => document.querySelectorAll('video, .card, .drop, .status').forEach(e => { e.marked = 1 })")
    page.wait_for_timeout(7000)
    found = page.evaluate(marked)
    assert found
    assert set(found) == {1}


def test_the_person_is_corrected_and_the_preview_follows(visit):
    page = visit()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("End (s").fill("0.2")
    fill(page)
    panel = page.get_by_role("region", name="Correct the person")
    panel.get_by_text("Correct the person").click()
    page.wait_for_selector("video.rough")
    before, told = page.get_attribute("video.rough", "src"), page.locator(".edit-told")
    wrist = panel.get_by_role("button", name="left wrist;")
    wrist.scroll_into_view_if_needed()
    start = wrist.bounding_box()
    page.mouse.move(start["x"] + 7, start["y"] + 7)
    page.mouse.down()
    page.mouse.move(start["x"] + 37, start["y"] - 23, steps=3)
    page.mouse.up()
    assert wrist.bounding_box()["x"] == pytest.approx(start["x"] + 30, abs=2)
    page.keyboard.press("Shift+ArrowUp")
    assert told.inner_text() == "1 joint moved; not applied yet."
    panel.get_by_text("Cut from mask").click()
    canvas = panel.locator("canvas").bounding_box()
    page.mouse.move(canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    page.mouse.down()
    page.mouse.move(canvas["x"] + canvas["width"] / 2, canvas["y"] + 20, steps=3)
    page.mouse.up()
    panel.get_by_role("button", name="Apply").click()
    page.wait_for_function(
        "before => { const v = document.querySelector('video.rough'); return v && v.getAttribute('src') != before }",
        arg=before,
    )
    page.wait_for_function("document.querySelector('.edit').open")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download JSON").click()
    edit = parse_person_edit(download.value.path().read_text())
    assert set(edit.joints) == {"left_wrist"}
    assert (edit.mask_HW[: edit.size[0] // 2, edit.size[1] // 2] < 128).all()
    assert (edit.mask_HW > 250).any()

    page.reload()
    panel.get_by_text("Correct the person").click()
    page.wait_for_function("document.querySelector('.edit-told').textContent == '1 joint moved, mask brushed.'")
    panel.get_by_role("button", name="Reset").click()
    page.wait_for_function("document.querySelector('.edit-told').textContent == 'As it was found.'")
