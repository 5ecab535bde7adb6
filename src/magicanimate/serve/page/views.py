"""A session as HTML: one function per panel, from what is known to what is seen. Everything from outside is escaped."""

from __future__ import annotations

import base64
import io
import json
import re
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicanimate.serve.backend import JobState
from magicanimate.serve.page.examples import SHELF, thumbnail
from magicanimate.serve.page.session import Input, Session
from magicanimate.serve.page.time_left import Pace

if TYPE_CHECKING:
    import numpy as np

    from magicanimate.check.examine import Finding

STAGES = {
    "loading": "Loading the model",
    "extracting": "Finding the body",
    "looking": "Looking for the person",
    "fitting": "Fitting a body to the motion",
    "reading": "Reading the motion",
    "layers": "Cutting out the person",
    "control": "Preparing the motion",
    "denoise": "Making the video",
    "decode": "Finishing the video",
}
_LONGEST = 120  # characters of a setting's value
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_VIDEOS = (".mp4", ".webm", ".mov", ".m4v", ".avi")
_LEVELS = {"error": "Problem", "warning": "Caution", "note": "Note"}
_HINT = re.compile(r" \(--[^)]*\)")
_OPTION = re.compile(r"--([a-z][a-z-]*(?: (?:contain|cover|none|\d+))?)")


def status(session: Session) -> str:
    """Describe the service's readiness in a few words."""
    states = {worker.state for worker in session.workers}
    if not states:
        kind, text = "waiting", "Starting …"
    elif states == {"loading"}:
        kind, text = "waiting", "Loading the model …"
    elif "ready" in states:
        kind, text = "ready", "Ready"
    else:
        kind, text = "busy", "At work"
    return f'<p class="status {kind}" role="status"><span class="dot" aria-hidden="true"></span>{text}</p>'


def drop_zone(what: str, chosen: Input | None, url: str) -> str:
    """Draw the zone where a `picture` or a `motion` is dropped, and sent to `url`; or the chosen file."""
    accept = "image/*" if what == "picture" else "video/*,image/gif,image/webp"
    hint = "a picture of one person" if what == "picture" else "a video of someone moving"
    title = what.capitalize()
    field = f'<input type="file" accept="{accept}" aria-label="{title}: {hint}">'
    if chosen is None:
        inner = f"{_ICONS[what]}<strong>{title}</strong><span>Drop {hint} here, or <u>choose a file</u></span>"
    else:
        inner = f'{_shown_input(what, chosen)}<span class="drop-name">{escape(chosen.name)}</span>'
    clear = f'<button type="button" class="drop-clear" aria-label="Remove the {what}" title="Remove">×</button>'
    state = "filled" if chosen else "empty"
    return (
        f'<div class="drop {state}" data-upload="{escape(url)}">{field}{inner}{clear if chosen else ""}'
        f'<p class="drop-message" role="alert"></p></div>'
    )


def _shown_input(what: str, chosen: Input) -> str:
    suffix = Path(chosen.name).suffix.lower()
    if suffix in _PICTURES:
        return f'<img src="{escape(chosen.url)}" alt="The chosen {what}">'
    if suffix in _VIDEOS:
        return (
            f'<video src="{escape(chosen.url)}" aria-label="The chosen {what}" muted loop autoplay playsinline></video>'
        )
    return _ICONS["motion"]


def trim(motion: Input | None) -> str:
    """Draw the part of the motion that is used: two handles and the position; unseen until the browser plays it."""
    if motion is None or Path(motion.name).suffix.lower() not in _VIDEOS:
        return ""
    handles = "".join(
        f'<input type="range" class="trim-{name}" min="0" max="1" step="0.01" value="{value}" '
        f'aria-label="{name.capitalize()} of the motion, in seconds">'
        for name, value in (("start", 0), ("end", 1))
    )
    return (
        f'<section class="trim" aria-label="Trim the motion" hidden><div class="trim-track">{handles}</div>'
        '<div class="trim-buttons"><button type="button" data-trim="play">Pause</button>'
        '<button type="button" data-trim="start">Start here</button>'
        '<button type="button" data-trim="end">End here</button><span class="facts trim-now"></span></div></section>'
    )


def examples() -> str:
    """Draw the shipped examples: one click runs one."""
    cards = "".join(
        f'<button type="button" class="card" data-key="{example.key}" aria-label="Run the example {example.title}: '
        f'{example.person}"><img src="{thumbnail(example.picture)}" alt=""><span>{example.title}</span></button>'
        for example in SHELF.values()
    )
    return _shelf("Examples", f'<h2>Run an example</h2><div class="strip">{cards}</div>')


def motions() -> str:
    """Draw the shipped motions."""
    cards = "".join(
        f'<button type="button" class="card chip" data-key="{example.key}" aria-label="Use the motion {example.dance}">'
        f'<img src="{thumbnail(example.motion)}" alt=""><span>{example.dance}</span></button>'
        for example in SHELF.values()
    )
    return _shelf("Motions", f'<h3>No video at hand? Use one of these motions</h3><div class="strip">{cards}</div>')


def notice(session: Session) -> str:
    """Draw the error, if there is one."""
    job = session.job
    if session.error:
        return f'<p class="alert" role="alert">{escape(session.error)}</p>'
    if job is not None and job.state == "failed":
        return f'<p class="alert" role="alert">{escape(job.error or "The video could not be made.")}</p>'
    return f'<p class="note" role="status">{escape(session.note)}</p>' if session.note else ""


def check(session: Session) -> str:
    """Draw the check's findings."""
    if session.picture is None or session.motion is None:
        return ""
    found = session.examination
    if isinstance(found, str):
        return _card("Check", f'<p class="alert" role="alert">{escape(found)}</p>')
    if found is None:
        return ""
    facts = f"{found.frames} frames, {found.frames / found.fps:.1f} s of video"
    if found.seconds:
        facts += f" · takes about {duration(found.seconds)}"
    return _card("Check", f'{_sheet(found.sheet_HWC)}<p class="facts">{facts}</p>{_findings(found.findings)}')


def _sheet(sheet_HWC: np.ndarray) -> str:
    url = _picture_url(sheet_HWC.tobytes(), sheet_HWC.shape)
    seen = "Your picture with the person that was found, frames of the motion, and the figure over the picture"
    return (
        '<div class="sheet" tabindex="0" role="group" aria-label="The check in pictures">'
        f'<img src="{url}" alt="{seen}"></div>'
    )


def _findings(findings: list[Finding]) -> str:
    """Draw what needs attention first; what is well is folded away."""
    ranked = sorted((f for f in findings if f.level != "ok"), key=lambda finding: list(_LEVELS).index(finding.level))
    attention = "".join(
        f'<li class="{finding.level}"><strong>{_LEVELS[finding.level]}</strong> {escape(_plainly(finding.text))} '
        f"<em>{escape(_plainly(finding.advice or ''))}</em></li>"
        for finding in ranked
    )
    well = "".join(f"<li>{escape(_plainly(finding.text))}</li>" for finding in findings if finding.level == "ok")
    return (f'<ul class="findings">{attention}</ul>' if attention else "") + (
        f"<details><summary>{len(findings) - len(ranked)} things are well</summary><ul>{well}</ul></details>"
        if well
        else ""
    )


def _plainly(text: str) -> str:
    """Remove the command line's options, which the check names: `--max-frames` -> “max frames”."""
    return _OPTION.sub(lambda option: f"“{option[1].replace('-', ' ')}”", _HINT.sub("", text))


def preview(session: Session, url: str | None) -> str:
    """Draw the rough preview; `url` is that of its finished video."""
    job = session.preview
    if job is None or not job.ended:
        return ""
    if url:
        inner = (
            f'<video class="rough" src="{escape(url)}" muted loop autoplay playsinline aria-label="Rough preview">'
            "</video>"
            '<p class="facts">Few frames, few steps: the full video is longer and finer.</p>'
        )
    else:
        inner = f'<p class="alert" role="alert">{escape(job.error or "The preview failed.")}</p>'
    return _card("Rough preview", inner)


def progress(session: Session) -> str:
    """Draw the full run under way."""
    waits = _others(session.ahead) or "Starting …"
    if session.job is not None and session.job.state == "paused":
        waits = "Paused: other videos may be made."
    return _progress("Your video", session.job, session.pace, waits)


def preview_progress(session: Session) -> str:
    """Draw the rough preview under way."""
    loaded = any(worker.state in ("ready", "busy") for worker in session.workers)
    waits = "Waiting until the model is free …" if loaded else "Waiting for the model to be loaded …"
    return _progress("Rough preview", session.preview, session.preview_pace, waits)


def check_progress(session: Session) -> str:
    """Draw the check under way."""
    check = session.checking
    return _progress("Check", check.state, check.pace, "Looking at your picture and motion …") if check else ""


def _progress(title: str, job: JobState | None, pace: Pace, waits: str) -> str:
    """Draw a bar, the stage and the time of a job under way; `waits` is said before it begins."""
    if job is None or job.ended:
        return ""
    percent = round(100 * pace.fraction)
    told = waits if job.state in ("queued", "paused") else _pace_text(job, pace)
    return (
        f'<h2 data-job="{job.id}">{title}</h2>'
        f'<div class="bar" role="progressbar" aria-label="Progress: {title}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"><div style="width:{percent}%"></div></div>'
        f'<p class="facts" role="status">{escape(told)}</p>'
    )


def _others(ahead: int) -> str:
    return f"Waiting for {ahead} other{'s' if ahead != 1 else ''}" if ahead else ""


def _pace_text(job: JobState, pace: Pace) -> str:
    words = [STAGES.get(job.stage or "", "Starting …")]
    if pace.frames_per_second:
        words.append(f"{pace.frames_per_second:.1f} frames per second")
    if pace.seconds_so_far is not None:
        words.append(f"{duration(pace.seconds_so_far)} so far")
    if pace.seconds_left is not None:
        words.append(f"{duration(pace.seconds_left)} left")
    return " · ".join(words)


def player(job: JobState | None, urls: dict[str, str], about: dict[str, Any]) -> str:
    """Draw a finished video.

    urls: `result` and a file `name`; where there are such, `motion` and `picture`.
    about: the settings that made it.
    """
    if job is None or "result" not in urls:
        return ""
    again = '<button type="button" data-action="again">Again with another seed</button>' if "picture" in urls else ""
    return _card(
        "Result",
        f'<div class="player" data-mode="alone">{_modes(job) if "motion" in urls else ""}{_screen(urls)}</div>'
        f'<p class="facts">{escape((job.summary or "").partition(";")[0])}</p>{_warnings(job)}<div class="actions">'
        f'<a class="button primary" href="{escape(urls["result"])}" download="{escape(urls["name"])}">Download</a>'
        f'{again}<button type="button" data-action="delete">Delete</button></div>{_made_with(about)}',
    )


def _modes(job: JobState) -> str:
    choices = "".join(
        f'<label><input type="radio" name="view-{job.id}" value="{mode}"{" checked" if mode == "alone" else ""}>'
        f"<span>{text}</span></label>"
        for mode, text in (("alone", "Result"), ("beside", "Side by side"), ("slider", "Slider"))
    )
    return f'<fieldset class="modes"><legend class="hidden">View</legend>{choices}</fieldset>'


def _screen(urls: dict[str, str]) -> str:
    picture = f'<img class="picture" src="{escape(urls["picture"])}" alt="The picture">' if "picture" in urls else ""
    motion = (
        f'<video class="motion" src="{escape(urls["motion"])}" aria-label="The motion" muted loop playsinline></video>'
        if "motion" in urls
        else ""
    )
    wipe = (
        '<input class="wipe" type="range" min="0" max="100" value="50" aria-label="Where the result ends and the '
        'motion begins, in percent of the width">'
    )
    return (
        f'<div class="screen">{picture}<video class="result" src="{escape(urls["result"])}" controls loop autoplay '
        f'muted playsinline aria-label="The finished video"></video>{motion}</div>{wipe if motion else ""}'
    )


def _warnings(job: JobState) -> str:
    return "".join(f'<p class="facts">{escape(warning)}</p>' for warning in job.warnings)


def _made_with(about: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name.replace("_", " "))}</th><td>{escape(_plain(value))}</td></tr>'
        for name, value in about.items()
        if value not in (None, "", [], {})
    )
    return f'<details class="settings"><summary>Settings</summary><table>{rows}</table></details>' if rows else ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def gallery(session: Session, urls: dict[str, str]) -> str:
    """Draw this visitor's finished videos; `urls` by job."""
    numbered = reversed(list(enumerate(reversed(session.results), 1)))
    cards = "".join(
        f'<button type="button" class="card{" current" if session.shown and session.shown.id == job.id else ""}" '
        f'data-key="{job.id}" aria-label="Show video {number}, seed {_seed(job)}">'
        f'<video src="{escape(urls[job.id])}#t=0.1" muted playsinline preload="metadata" tabindex="-1"></video>'
        f"<span>Seed {_seed(job)}</span></button>"
        for number, job in numbered
        if job.id in urls
    )
    inner = (
        f'<div class="strip">{cards}</div>' if cards else '<p class="facts">Finished videos stay here for a while.</p>'
    )
    return _shelf("Your videos", f"<h2>Your videos</h2>{inner}", "gallery")


def _seed(job: JobState) -> str:
    return escape(str(job.settings.get("seed", 1)))


def duration(seconds: float) -> str:
    """Write seconds as people say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@lru_cache(maxsize=8)
def _picture_url(pixels: bytes, shape: tuple[int, ...]) -> str:
    from PIL import Image

    data = io.BytesIO()
    Image.frombytes("RGB", (shape[1], shape[0]), pixels).save(data, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


def _card(title: str, inner: str) -> str:
    return f'<section class="panel" aria-label="{escape(title)}"><h2>{escape(title)}</h2>{inner}</section>'


def _shelf(name: str, inner: str, kind: str = "") -> str:
    return f'<section class="shelf {kind}" aria-label="{name}">{inner}</section>'


_SVG = (
    '<svg class="icon" aria-hidden="true" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.5" '
    'stroke-linecap="round">{}</svg>'
)
_ICONS = {
    "picture": _SVG.format(
        '<rect x="3" y="3" width="18" height="18" rx="3"/><circle cx="12" cy="9.5" r="2.8"/>'
        '<path d="M5.5 20c.8-3.6 3.3-5.4 6.5-5.4s5.7 1.8 6.5 5.4"/>'
    ),
    "motion": _SVG.format('<rect x="3" y="5" width="18" height="14" rx="3"/><path d="M10.5 9.3v5.4l4.5-2.7z"/>'),
}
