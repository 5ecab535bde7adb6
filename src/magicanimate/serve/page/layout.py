"""The page's layout, and which action follows which event.

Every event does one thing to the visitor's `Session` and then shows all of it anew; panels that stay as they are, are
not sent. A timer asks how far things are while something is under way. Answers may overtake each other on their way to
the browser, and an old one that arrives last would stay: so a slow second timer never stops, and sends everything
again. What is the same in the browser already is not drawn anew there.
"""

from __future__ import annotations

import functools
import json
import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from magicanimate.media import settings_path
from magicanimate.serve.backend import JobState, ServiceError
from magicanimate.serve.page import actions, views
from magicanimate.serve.page.controls import add_controls
from magicanimate.serve.page.editor import editor
from magicanimate.serve.page.files import VISITOR, job_url, router, upload_url
from magicanimate.serve.page.session import Session
from magicanimate.serve.page.tools import add_tools
from magicanimate.serve.page.visitors import Desk, Visitors

if TYPE_CHECKING:
    from fastapi import FastAPI

    from magicanimate.serve.kept_uploads import KeptUploads
    from magicanimate.serve.service import Service

HERE = Path(__file__).parent
_EVERY = 0.5  # seconds between looks while something is under way
_HEARTBEAT = 3.0  # seconds between looks at any time
_AT_ONCE = 16  # events of one kind that are handled at once, for all visitors
_EXAMINERS = 2  # doctors at work at once, for all visitors

_INTRO = """<header class="intro"><h1>MagicAnimate</h1>
<p>A picture of a person and a motion become a video of that person moving.</p></header>"""
_CONSENT = """<p class="consent">Use pictures of people only with their consent.
Every video is marked as AI-generated in its file.</p>"""
_EMPTY = """<section class="panel empty-stage"><h2>How it works</h2><ol>
<li>Choose a picture of one person, seen well.</li><li>Choose a motion: a video of someone moving.</li>
<li>Look at the check and the rough preview, then animate.</li></ol>
</section>"""

_LOADING = '<p class="begins" role="status"><span class="dot" aria-hidden="true"></span>Loading …</p>'
_FOLD = '<button type="button" class="fold" aria-expanded="false" aria-controls="settings">Settings</button>'
_PAUSE = "Pause"
_LOST = '<p class="alert" role="alert">The service was started anew; reload this page to go on.</p>'


@dataclass
class _Visit:
    """One open page: its visitor's desk, and what the page shows now, so that only news is sent."""

    desk: Desk
    sent: dict[str, Any] = field(default_factory=dict)


def build_page(backend: Service, kept: KeptUploads, *, tokens: bool = False) -> gr.Blocks:
    """Return the page. Mount it with `mount_page`, which also brings its style."""
    return _Page(backend, kept, tokens).blocks


def mount_page(app: FastAPI, service: Service, *, tokens: bool) -> None:
    """Put the page at "/" of a web application.

    Args:
        app: the application.
        service: what the page talks to.
        tokens: whether a visitor is the client of a token, not anybody.
    """
    app.include_router(router)
    blocks = build_page(service, service.kept, tokens=tokens)
    if service.options.mcp:
        with blocks:
            add_tools(service)
    gr.mount_gradio_app(
        app, blocks, path="/", allowed_paths=[], max_file_size=1, mcp_server=service.options.mcp,
        theme=_theme(), css_paths=[HERE / "page.css"], footer_links=[], run_history=False,
        ssr_mode=False, show_error=False,
    )  # fmt: skip


def _theme() -> gr.themes.Base:
    """Fonts of the visitor's own system: nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue="indigo", neutral_hue="slate", radius_size="lg",
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip


class _Page:
    """Builds the components once; the visits are in gradio's session state."""

    def __init__(self, backend: Service, kept: KeptUploads, tokens: bool) -> None:
        self._backend, self._kept, self._tokens = backend, kept, tokens
        self._visitors = Visitors(kept.keep_seconds)
        self._examiners = ThreadPoolExecutor(_EXAMINERS, thread_name_prefix="examine")
        with gr.Blocks(title="MagicAnimate", analytics_enabled=False) as self.blocks:
            self._browser = gr.BrowserState(storage_key="magicanimate", secret="visitor")
            self._visit = gr.State()
            self._panels = self._lay_out()
            self._timer = gr.Timer(_EVERY, active=False)
            self._heartbeat = gr.Timer(_HEARTBEAT)
            self._wire()

    def _lay_out(self) -> dict[str, Any]:
        """Put all components in their places; return those that `_show` fills, by name."""
        panels: dict[str, Any] = {}
        with gr.Row(elem_classes="top"):
            _html(_INTRO)
            panels["status"] = _html(_LOADING)
        with gr.Row(elem_classes="columns"):
            with gr.Column(scale=4, min_width=320):
                self._lay_out_inputs(panels)
            with gr.Column(scale=5, min_width=320, elem_id="stage"):
                self._lay_out_stage(panels)
        panels["gallery"] = _html(script="pick")
        return panels

    def _lay_out_inputs(self, panels: dict[str, Any]) -> None:
        with gr.Column(elem_classes="inputs"):
            with gr.Row(elem_classes="zones"):
                panels["picture"] = _html(views.drop_zone("picture", None, ""), script="drop")
                panels["motion"] = _html(views.drop_zone("motion", None, ""), script="drop")
            panels["trim"] = _html(script="trim")
            self._motions = _html(views.motions(), script="pick")
            self._lay_out_settings()
            panels["run"] = gr.Button("Animate", variant="primary", size="lg", elem_id="run", interactive=False)
            _html(_CONSENT)
        self._stop_check = _lay_out_running(panels, "checking", "Stop the check")
        panels["check"] = _html()
        panels["editor"] = _html(script="edit")

    def _lay_out_settings(self) -> None:
        """Folded away, but there from the beginning.

        gradio's accordion makes its fields when it is opened, and sets them to their first values once more a moment
        later: what was typed by then was lost.
        """
        with gr.Column(elem_classes="controls"):
            _html(_FOLD, script="fold")
            with gr.Column(elem_id="settings"):
                self._controls = add_controls(self._backend.models())

    def _lay_out_stage(self, panels: dict[str, Any]) -> None:
        panels["notice"] = _html()
        panels["empty"] = _html(_EMPTY)
        self._cancel = _lay_out_running(panels, "running", "Cancel", pause=True)
        self._stop_preview = _lay_out_running(panels, "previewing", "Stop the preview")
        panels["preview"] = _html()
        panels["player"] = _html(script="player")
        self._examples = _html(views.examples(), script="pick")

    def _wire(self) -> None:
        silent: dict[str, Any] = {
            "show_progress": "hidden", "api_visibility": "private", "concurrency_limit": _AT_ONCE,
        }  # fmt: skip
        shown = [*self._panels.values(), self._timer]
        entered = [self._browser, self._visit, *self._controls, *shown]
        self.blocks.load(self._enter, [self._browser], entered, **silent)

        def on(listener: Any, handler: actions.Handler, **options: Any) -> None:
            inputs, again = [self._visit, *options.pop("inputs", ())], options.pop("again", False)
            listener(self._shown_after(handler, again), inputs=inputs, outputs=shown, **silent, **options)

        for what in ("picture", "motion"):
            on(self._panels[what].chosen, functools.partial(actions.choose, self._kept, what))
            on(self._panels[what].cleared, actions.only(functools.partial(Session.drop, what=what)))
        on(self._panels["editor"].applied, actions.correct)
        on(self._motions.picked, actions.choose_motion)
        on(self._examples.picked, actions.run_example, js=_SCROLL)
        on(self._panels["run"].click, actions.run, inputs=self._controls, js=_SCROLL)
        for button, name, stop in (
            (self._cancel, "running", Session.cancel),
            (self._stop_check, "checking", Session.stop_check),
            (self._stop_preview, "previewing", Session.stop_preview),
        ):
            on(button.click, actions.only(stop), js=_HIDE.replace("NAME", name))
        on(self._panels["pause"].click, actions.only(Session.pause_or_resume))
        on(self._panels["player"].again, actions.only(Session.again), js=_SCROLL)
        on(self._panels["player"].delete, actions.only(Session.delete))
        on(self._panels["gallery"].picked, actions.show_result, js=_SCROLL)
        on(self._timer.tick, actions.only(Session.look))
        on(self._heartbeat.tick, actions.only(Session.look), again=True)
        any_control = functools.partial(gr.on, [control.change for control in self._controls])
        on(any_control, actions.adjust, inputs=self._controls, trigger_mode="always_last")

    def _enter(self, browser: Any, request: gr.Request) -> list[Any]:
        """A page was opened: `browser` is what this browser was called before, if it ever was here.

        With tokens, jobs belong to the token's client, as those of the API do; without, to the browser. Inputs and
        settings are the browser's in any case.
        """
        if not (isinstance(browser, str) and re.fullmatch(VISITOR, browser)):
            browser = f"page-{uuid.uuid4().hex}"
        client = browser
        if self._tokens:
            assert request.request is not None
            client = request.request.state.client
        visit = _Visit(self._visitors.desk_of((client, browser), lambda: self._begin(client)))
        with visit.desk.lock:
            visit.desk.session.begin()
            typed = visit.desk.session.values or [gr.skip()] * len(self._controls)
            return [browser, visit, *typed, *self._show(visit)]

    def _begin(self, client: str) -> Session:
        return Session(
            self._backend, self._examiners.submit, client, model=self._backend.models()[0],
            release=lambda chosen: self._kept.forget(chosen.path),
        )  # fmt: skip

    def _shown_after(self, handler: actions.Handler, again: bool = False) -> Callable[..., list[Any]]:
        """Do something to the session, and show it; with `again` also what is as it was."""

        def do(visit: _Visit | None, event: gr.EventData, *values: Any) -> list[Any]:
            if visit is None:  # the service was started anew since the page was opened
                lost = {"notice": _LOST, "timer": gr.Timer(active=False)}
                return [lost.get(name, gr.skip()) for name in [*self._panels, "timer"]]
            with visit.desk.lock:
                visit.desk.seen = time.monotonic()
                handler(visit.desk.session, event, *values)
                if again:
                    visit.sent.clear()
                return self._show(visit)

        return do

    def _show(self, visit: _Visit) -> list[Any]:
        """One value for every panel and the timer; those that would not change are left alone."""
        session = visit.desk.session
        wanted = self._panels_of(session) | {"timer": session.busy}
        news = {name: value for name, value in wanted.items() if visit.sent.get(name, ...) != value}
        visit.sent |= news
        return [_update(name, news[name]) if name in news else gr.skip() for name in [*self._panels, "timer"]]

    def _panels_of(self, session: Session) -> dict[str, Any]:
        running = session.job is not None and not session.job.ended
        ready = session.picture is not None and session.motion is not None
        return {
            "status": views.status(session),
            "picture": views.drop_zone("picture", session.picture, upload_url(session.client, "picture")),
            "motion": views.drop_zone("motion", session.motion, upload_url(session.client, "motion")),
            "trim": views.trim(session.motion),
            "run": ready and not running,
            "notice": views.notice(session),
            **_running("running", views.progress(session)),
            "pause": "Go on" if session.job is not None and session.job.state == "paused" else _PAUSE,
            **_running("checking", views.check_progress(session)),
            **_running("previewing", views.preview_progress(session)),
            "player": "" if running else views.player(session.shown, self._urls(session), self._settings_of(session)),
            "empty": _EMPTY if not (ready or running or session.shown) else "",
            "preview": views.preview(session, self._preview_url(session)),
            "check": views.check(session),
            "editor": editor(session),
            "gallery": views.gallery(session, self._results(session)),
        }

    def _urls(self, session: Session) -> dict[str, str]:
        """Return the addresses that the player needs of the shown result."""
        result = self._file(session, session.shown)
        if session.shown is None or result is None:
            return {}
        shown = session.shown
        urls = {"result": job_url(session.client, shown.id, "result"), "name": session.download_name(shown)}
        if self._backend.driver(shown.id, session.client) is not None:
            urls["motion"] = job_url(session.client, shown.id, "driver")
        made_from = session.inputs.get(shown.id, ())
        if made_from and all(chosen.path.is_file() for chosen in made_from):
            urls["picture"] = made_from[0].url
        return urls

    def _file(self, session: Session, job: JobState | None) -> Path | None:
        """Return the video of a finished job; None once it is deleted, by the visitor or by time."""
        if job is None or job.state != "done":
            return None
        try:
            return self._backend.result(job.id, session.client)
        except ServiceError:
            return None

    def _preview_url(self, session: Session) -> str | None:
        preview = session.preview
        return job_url(session.client, preview.id, "result") if preview and self._file(session, preview) else None

    def _results(self, session: Session) -> dict[str, str]:
        there = [job.id for job in session.results if self._file(session, job)]
        return {job: job_url(session.client, job, "result") for job in there}

    def _settings_of(self, session: Session) -> dict[str, Any]:
        result = self._file(session, session.shown)
        if result is None or not settings_path(result).is_file():
            return {}
        about = json.loads(settings_path(result).read_text(encoding="utf-8"))
        model = about.get("model", {})
        return {"model": f"{model.get('name')} {model.get('version')}"} | about.get("settings", {})


def _lay_out_running(panels: dict[str, Any], name: str, stop: str, pause: bool = False) -> gr.Button:
    """Something under way: its progress, drawn anew every moment, and buttons to stop or pause it, which are not."""
    with gr.Column(visible=False, elem_classes="panel running", elem_id=name) as panels[name]:
        panels[f"{name}-progress"] = _html()
        if pause:
            panels["pause"] = gr.Button(_PAUSE, size="sm", elem_classes="cancel")
        return gr.Button(stop, size="sm", elem_classes="cancel")


def _running(name: str, progress: str) -> dict[str, Any]:
    return {name: progress != "", f"{name}-progress": progress}


def _html(value: str = "", script: str | None = None) -> gr.HTML:
    """A piece of the page that is ours, with its behavior in a file of its own."""
    code = (HERE / f"{script}.js").read_text(encoding="utf-8") if script else None
    return gr.HTML(value, js_on_load=code, apply_default_css=False)


_HIDE = """(...given) => {
  const job = document.querySelector("#NAME [data-job]")?.dataset.job;
  const style = document.createElement("style");
  style.textContent = `.running:has([data-job="${job}"]) { display: none !important; }`;
  if (job) document.head.append(style);
  return given;
}"""
"""Script that hides a stopped job for good, since an older answer of the server may come after the last one."""

_SCROLL = """(...given) => {
  const stage = document.getElementById("stage");
  const top = stage.getBoundingClientRect().top;
  if (top < 0 || top > window.innerHeight * 0.6) stage.scrollIntoView({ behavior: "smooth" });
  return given;
}"""


def _update(name: str, value: Any) -> Any:
    if name == "timer":
        return gr.Timer(active=value)
    if name == "pause":
        return gr.Button(value)
    if name == "run":
        return gr.Button(interactive=value)
    if name in ("running", "checking", "previewing"):
        return gr.update(visible=value)
    return value
