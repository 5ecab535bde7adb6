"""The report as data, and as Markdown: every figure with what it was measured on."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import BaseModel

from magicanimate import files
from magicanimate.errors import InputError
from magicanimate.evaluate.catalog import BLOCKS
from magicanimate.evaluate.result import Figure, Result, VideoRow

ARROWS = {"lower": "↓", "higher": "↑", "none": ""}
_KEPT_HASH = 12  # characters shown of a hash; the JSON has all


class Report(BaseModel):
    """A result with where it came from."""

    outputs: str
    targets: str
    command: str
    comparable_with_tiktok: bool
    comparable_sentence: str
    parts: str
    """Source of the part maps, in a sentence."""
    result: Result


def number(value: float | None, digits: int) -> str:
    """Return a figure for people; a dash where it is not defined."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}"


def interval(figure: Figure) -> str:
    """Return the interval for people."""
    if figure.low is None or figure.high is None:
        return "–"
    return f"{number(figure.low, figure.digits)} to {number(figure.high, figure.digits)}"


def label(name: str, figure: Figure) -> str:
    """Name, direction and unit."""
    unit = f" ({figure.unit})" if figure.unit else ""
    return f"{name} {ARROWS[figure.better]}".rstrip() + unit


def summary(result: Result) -> str:
    """Summarize a result in one line."""
    height, width = result.size
    people = f" of {result.groups} people" if result.groups < result.videos else ""
    first = result.settings["reference"] == "first"
    reference = "the first frame is the reference and not counted" if first else "all frames are counted"
    return f"{_several(result.videos, 'video')}{people}, {result.frames} target frames, {width}x{height}; {reference}."


def _several(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def used_networks(result: Result) -> list[list[str]]:
    """Return table rows: figure, network, dimensions, window, hash."""
    return [
        [
            note.metric, note.name + (f" ({note.recognized})" if note.recognized else ""),
            "–" if note.dimensions is None else str(note.dimensions),
            "–" if note.window is None else _several(note.window, "frame"), note.sha256[:_KEPT_HASH],
        ]
        for note in result.networks
    ]  # fmt: skip


def block_rows(block: dict[str, Figure]) -> list[list[str]]:
    """Return table rows: figure, value, interval, videos, frames, windows."""
    return [
        [
            label(name, figure), number(figure.value, figure.digits), interval(figure), str(figure.videos),
            str(figure.frames), "–" if figure.windows is None else str(figure.windows),
        ]
        for name, figure in block.items()
    ]  # fmt: skip


BLOCK_HEAD = ["figure", "value", "95% interval", "videos", "frames", "windows"]
NETWORK_HEAD = ["figure", "network", "dimensions", "window", "sha256"]


def video_table(rows: list[VideoRow], block: dict[str, Figure]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the videos' own figures in a block; distances exist only for all videos together."""
    named = [name for name in block if any(name in row.values for row in rows)]
    head = ["video", "frames", *named]
    body = [
        [row.name, str(row.frames), *(number(row.values.get(name), block[name].digits) for name in named)]
        for row in sorted(rows, key=lambda row: row.name)
    ]
    return head, body


def to_markdown(report: Report) -> str:
    """Return the report for reading in a terminal or a repository."""
    result = report.result
    lines = ["# Evaluation", "", summary(result), "", report.comparable_sentence, ""]
    for block, figures in result.blocks.items():
        if figures:
            lines += [f"## {block}", "", BLOCKS[block], "", *_table(BLOCK_HEAD, block_rows(figures)), ""]
            lines += [
                f"Intervals: {'; '.join(sorted({f.interval for f in figures.values() if f.interval})) or 'none'}.",
                "",
            ]
    if result.part_errors:
        lines += ["## Color error of body parts", "", "Gray levels.", ""]
        errors = sorted(result.part_errors.items(), key=lambda item: -item[1])
        lines += [*_table(["part", "error"], [[name, number(error, 2)] for name, error in errors]), ""]
    notes = [report.parts, *result.notes]
    lines += ["## Remarks", "", *(f"- {note}" for note in notes if note), ""]
    if result.networks:
        lines += ["## Networks", "", *_table(NETWORK_HEAD, used_networks(result)), ""]
    for block, figures in result.blocks.items():
        if figures:
            lines += [f"## Videos: {block}", "", *_table(*video_table(result.rows, figures)), ""]
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    lines += ["## How", "", f"Versions: {versions}.", "", "```", report.command, "```"]
    return "\n".join(lines) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), "|---" + "|---:" * (len(head) - 1) + "|", *map(line, rows)]


def write_text(path: Path, text: str) -> None:
    """Write a file that appears complete or not at all.

    Raises:
        InputError: it cannot be written.
    """
    try:
        files.write_text(path, text)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror or error}.") from error
