"""The settings that the page offers, and how they become `AnimateSettings` by name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import gradio as gr
from pydantic.fields import FieldInfo

from magicanimate.animation.settings import AnimateSettings
from magicanimate.animation.shown import Shown, literals, shown

OFFERED = sorted(
    ((name, about, note) for name, about, note in shown(AnimateSettings) if note.page), key=lambda each: each[2].place
)
"""Settings with a label for the page, in its order: name, field, and how it is shown."""


def add_controls(models: list[str]) -> list[Any]:
    """Add them to the page; returns the components in the order that `chosen_settings` expects.

    What is left empty is chosen by the model.
    """
    controls: list[Any] = [gr.Dropdown(models, value=models[0], label="Model", visible=len(models) > 1)]
    for _, together in groupby(OFFERED, key=lambda each: each[2].place[0]):
        row = list(together)
        if len(row) == 1:
            controls.append(_control(*row[0]))
            continue
        with gr.Row():
            controls += [_control(*each) for each in row]
    return controls


def _control(name: str, about: FieldInfo, note: Shown) -> Any:
    usual, info = _usual(about, note), _explained(about, note)
    if note.switch or about.annotation is bool:
        return gr.Checkbox(note.switch or usual, label=note.page, info=info)
    if len(note.choices) == 2:
        return gr.Radio(list(note.choices.items()), value=usual, label=note.page, info=info)
    if note.choices:
        more = not literals(about)
        choices = list(note.choices.items())
        return gr.Dropdown(
            choices, value=usual, label=note.page, info=info, allow_custom_value=more, min_width=110
        )  # fmt: skip
    # Text, since an empty number field counts as 0; `make_settings` reads it and says what is wrong with it
    return gr.Textbox(
        "", label=note.page, info=info, placeholder=note.hint, min_width=110, max_lines=1, elem_id=f"setting-{name}"
    )  # fmt: skip


def _explained(about: FieldInfo, note: Shown) -> str:
    """Return the setting's description as a sentence; what an empty field means."""
    text = about.description or ""
    if note.switch:
        text = text.removeprefix(f"{literals(about)[0]}: ")
    if note.default and note.hint:
        text += f"; empty: {note.default}"
    return f"{text[:1].upper()}{text[1:]}."


def _usual(about: FieldInfo, note: Shown) -> Any:
    """Return the value that means the same as none."""
    return note.default if about.default is None else about.default


def chosen_settings(values: Sequence[Any]) -> tuple[dict[str, Any], str]:
    """Values of the controls -> settings by name, without what is left to the model; and the model's name."""
    model, *given = values
    settings: dict[str, Any] = {}
    for (name, about, note), value in zip(OFFERED, given, strict=True):
        chosen = literals(about)[0 if value else 1] if note.switch else value
        if chosen not in (None, "", _usual(about, note)):
            settings[name] = chosen
    return settings, model
