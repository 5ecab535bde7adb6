"""Actions of a visitor's session that follow the page's events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from magicanimate.serve.backend import ServiceError
from magicanimate.serve.kept_uploads import KeptUploads
from magicanimate.serve.page.controls import chosen_settings
from magicanimate.serve.page.examples import SHELF, Example
from magicanimate.serve.page.files import example_url, shown_upload_url
from magicanimate.serve.page.session import Input, Session

_LONGEST_NAME = 200  # characters of a file's name

Handler = Callable[..., None]
"""Does something to a session: handler(session, event, *values of inputs)."""


def only(action: Callable[[Session], None]) -> Handler:
    """Return a handler that needs nothing but the session."""
    return lambda session, _event: action(session)


def choose(kept: KeptUploads, what: str, session: Session, event: gr.EventData) -> None:
    """Take an uploaded picture or motion."""
    chosen = uploaded(kept, session.client, event.id, event.name)
    if what == "picture":
        session.choose(picture=chosen)
    else:
        session.choose(motion=chosen)


def choose_motion(session: Session, event: gr.EventData) -> None:
    """Take a shipped motion."""
    session.choose(motion=_shipped_motion(SHELF[event.key]))


def run_example(session: Session, event: gr.EventData) -> None:
    """Animate a shipped example."""
    example = SHELF[event.key]
    picture = Input(example.picture, f"{example.title}.png", example_url(example.key, "picture"))
    session.run_example(picture, _shipped_motion(example))


def correct(session: Session, event: gr.EventData) -> None:
    """Take a correction of the picture's person; an empty one takes it back."""
    session.correct(str(event.edit) or None)


def show_result(session: Session, event: gr.EventData) -> None:
    """Show a result of the gallery."""
    session.show(str(event.key))


def run(session: Session, _event: gr.EventData, *values: Any) -> None:
    """Run with the settings as they are now: the last one may have been typed this moment."""
    session.values = values
    session.adjust(*chosen_settings(values), preview=False)
    if session.error is None:
        session.run()


def adjust(session: Session, _event: gr.EventData, *values: Any) -> None:
    """Take the settings, and preview them."""
    session.values = values
    session.adjust(*chosen_settings(values))


def uploaded(kept: KeptUploads, owner: str, upload: str, name: str) -> Input:
    """Return a file that was sent through the page, checked to be this visitor's whatever the browser says."""
    try:
        found = kept.find(owner, str(upload))
    except ServiceError as error:
        raise gr.Error("The file was not sent through this page; choose it again.") from error
    return Input(found.path, Path(str(name)).name[:_LONGEST_NAME], shown_upload_url(found))


def _shipped_motion(example: Example) -> Input:
    return Input(example.motion, f"{example.dance}.mp4", example_url(example.key, "motion"))
