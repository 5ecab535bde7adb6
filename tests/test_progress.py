"""The terminal's display while a video is made."""

from __future__ import annotations

import io
import re

from rich.console import Console

from magicanimate.cli.progress import ProgressDisplay, memory_text


def shown(terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    with ProgressDisplay(console) as progress:
        progress("reading", 0, None)
        progress("reading", 12, 12)
        progress.expect(frames=12, steps=5)
        for done in range(1, 11):
            progress("denoise", done, 10)
        progress("an unknown stage", 1, 2)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_gets_stage_step_and_memory():
    text = shown(terminal=True)
    assert "Reading the motion" in text
    assert "Denoising, step 5/5" in text
    assert "10/10" in text
    assert "an unknown stage" in text
    assert " GB" in text


def test_a_file_gets_one_line_per_stage():
    assert shown(terminal=False).splitlines() == ["Reading the motion ...", "Denoising ...", "an unknown stage ..."]


def test_memory_is_said_in_gigabytes():
    assert re.fullmatch(r"\d+\.\d\d GB", memory_text())
