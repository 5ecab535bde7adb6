"""The settings that the page offers, and how they become `AnimateSettings` by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

_SIZES = ["auto", "256x256", "384x384", "512x512", "384x512", "512x768"]
_FITS = [("Crop", "cover"), ("Pad", "contain"), ("Stretch", "stretch")]


def add_controls(models: list[str]) -> list[Any]:
    """Add them to the page; returns the components in the order that `chosen_settings` expects.

    What is left empty is chosen by the model.
    """
    model = gr.Dropdown(models, value=models[0], label="Model", visible=len(models) > 1)
    preset = gr.Radio([("Best quality", "quality"), ("Faster", "fast")], value="quality", label="Speed")
    with gr.Row():
        start, end = _field("Start (s or m:ss)", "0"), _field("End (s or m:ss)", "end")
    with gr.Row():
        size = gr.Dropdown(_SIZES, value="auto", label="Size", allow_custom_value=True, min_width=110)
        seed = _field("Seed", "1")
    with gr.Row():
        fps = _field("Frames per second", "auto")
        fit = gr.Dropdown(_FITS, value="cover", label="Other shapes", min_width=110)
    with gr.Row():
        steps, guidance = _field("Steps", "auto"), _field("Guidance", "auto")
    align = gr.Checkbox(True, label="Fit the motion to the person in the picture")
    loop = gr.Checkbox(False, label="Make the end run into the beginning")
    label = gr.Checkbox(False, label="Write “AI-generated” into the video")
    return [model, preset, start, end, size, seed, fps, fit, steps, guidance, align, loop, label]


def _field(label: str, placeholder: str) -> gr.Textbox:
    """Text, since an empty number field counts as 0; `make_settings` reads it and says what is wrong with it."""
    return gr.Textbox("", label=label, placeholder=placeholder, min_width=110, max_lines=1)


def chosen_settings(values: Sequence[Any]) -> tuple[dict[str, Any], str]:
    """Values of the controls -> settings by name, without what is left to the model; and the model's name."""
    model, preset, start, end, size, seed, fps, fit, steps, guidance, align, loop, label = values
    settings = {
        "preset": preset if preset != "quality" else None, "start": start, "end": end,
        "size": size if size != "auto" else None, "seed": seed, "fps": fps,
        "fit": fit if fit != "cover" else None, "steps": steps, "guidance": guidance,
        "align": None if align else "none", "loop": loop or None, "label": label or None,
    }  # fmt: skip
    return {name: value for name, value in settings.items() if value not in (None, "")}, model
