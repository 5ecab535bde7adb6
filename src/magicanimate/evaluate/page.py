"""The report as one HTML file that needs nothing else: tables, plots and players side by side.

Shape legend: F frames, H W pixels.
"""

from __future__ import annotations

import base64
import html
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magicanimate.evaluate import catalog as names
from magicanimate.evaluate.catalog import BLOCKS
from magicanimate.evaluate.plots import plot_parts, plot_videos
from magicanimate.evaluate.report import (
    BLOCK_HEAD,
    NETWORK_HEAD,
    Report,
    block_rows,
    number,
    summary,
    used_networks,
    video_table,
)  # fmt: skip
from magicanimate.evaluate.result import Result
from magicanimate.media import open_writer, side_by_side

LARGEST = 24 * 2**20
"""Bytes of all players of a page together."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; } .plot { background: #fff; border-radius: .4rem; padding: .3rem; overflow-x: auto; }
.plot svg { max-width: 100%; height: auto; }
.players { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
figure { margin: 0; } video { width: 100%; border-radius: .4rem; } figcaption { font-size: .85rem; }
.verdict { border-left: .25rem solid #c2572b; padding: .3rem .8rem; } .verdict.yes { border-color: #3a8a4d; }
pre { overflow-x: auto; padding: .6rem; background: #8881; border-radius: .4rem; }
"""


@dataclass(frozen=True)
class Player:
    """An encoded video of output and target next to each other."""

    name: str
    data: bytes
    caption: str


def chosen_for_players(result: Result, count: int) -> list[str]:
    """Return names of the videos that are shown: all if there are few, else the worst and the best by SSIM."""
    rows = sorted(result.rows, key=lambda row: (row.values.get(names.SSIM) or 0.0, row.name))
    ordered = [row.name for row in rows]
    if len(ordered) <= count:
        return ordered
    worst = (count + 1) // 2
    return ordered[:worst] + ordered[len(ordered) - (count - worst) :]


def make_player(name: str, output_FHWC: np.ndarray, target_FHWC: np.ndarray, fps: float, result: Result) -> Player:
    """Encode output and target side by side."""
    row = next(row for row in result.rows if row.name == name)
    figures = result.figures()
    shown = (key for key in (names.PSNR, names.SSIM, names.POSE) if row.values.get(key) is not None)
    caption = ", ".join(f"{key} {number(row.values[key], figures[key].digits)}" for key in shown)
    with tempfile.TemporaryDirectory(prefix="magicanimate-report-") as folder:
        path = Path(folder) / "player.mp4"
        with open_writer(path, fps) as sink:
            for output_HWC, target_HWC in zip(output_FHWC, target_FHWC, strict=True):
                sink.write(side_by_side(output_HWC, target_HWC))
        return Player(name, path.read_bytes(), caption)


def to_html(report: Report, players: Sequence[Player], left_out: int = 0) -> str:
    """Return the page. `left_out` players did not fit into LARGEST."""
    result = report.result
    kind = "verdict yes" if report.comparable_with_tiktok else "verdict"
    body = [
        "<h1>Evaluation</h1>", _paragraph(summary(result)), f'<p class="{kind}">{_e(report.comparable_sentence)}</p>',
    ]  # fmt: skip
    for block, figures in result.blocks.items():
        if figures:
            body += [f"<h2>{_e(block)}</h2>", _paragraph(BLOCKS[block]), _table(BLOCK_HEAD, block_rows(figures))]
            how = sorted({figure.interval for figure in figures.values() if figure.interval})
            body += [_paragraph(f"Intervals: {'; '.join(how)}.")] if how else []
    body += ["<h2>Videos</h2>", _paragraph("Each point is a video; line and band are the mean and its interval.")]
    body.append(f'<div class="plot">{plot_videos(result)}</div>')
    if result.part_errors:
        body += ["<h2>Color error of body parts</h2>", f'<div class="plot">{plot_parts(result)}</div>']
    body += _players(players, len(result.rows), left_out)
    body += ["<h2>Remarks</h2>", "<ul>", *(f"<li>{_e(n)}</li>" for n in (report.parts, *result.notes) if n), "</ul>"]
    if result.networks:
        body += ["<h2>Networks</h2>", _table(NETWORK_HEAD, used_networks(result))]
    for block, figures in result.blocks.items():
        if figures:
            body += [f"<details><summary>Every video: {_e(block)}</summary>"]
            body += [_table(*video_table(result.rows, figures)), "</details>"]
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    body += ["<h2>How</h2>", _paragraph(f"Versions: {versions}."), f"<pre>{_e(report.command)}</pre>"]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Evaluation of {_e(Path(report.outputs).name)}</title><style>{_STYLE}</style>'  # noqa: E501
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def _players(players: Sequence[Player], videos: int, left_out: int) -> list[str]:
    if not players:
        return []
    which = "All videos" if len(players) == videos else "The worst and the best by SSIM"
    smaller = f" {left_out} more would make this file too large." if left_out else ""
    figures = [
        f'<figure><video controls loop muted preload="metadata" src="data:video/mp4;base64,'
        f'{base64.b64encode(player.data).decode()}"></video>'
        f"<figcaption>{_e(player.name)}: {_e(player.caption)}</figcaption></figure>"
        for player in players
    ]
    return [
        "<h2>Side by side</h2>", _paragraph(f"{which}. Left the output, right the target.{smaller}"),
        '<div class="players">', *figures, "</div>",
    ]  # fmt: skip


def _e(text: str) -> str:
    return html.escape(text)


def _paragraph(text: str) -> str:
    return f"<p>{_e(text)}</p>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'
