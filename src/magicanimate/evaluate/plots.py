"""Plots of an evaluation as SVG text: the videos' figures beside their mean, and the body parts' color errors."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from magicanimate.errors import cannot_import
from magicanimate.evaluate.report import ARROWS
from magicanimate.evaluate.result import Result, values_of

_COLUMNS = 4
_POINT, _MEAN, _INK = "#3a6ea5", "#c2572b", "#555555"
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "magicanimate", "font.family": "sans-serif", "font.size": 8}


def plot_videos(result: Result) -> str:
    """Plot each figure small: one point a video from least to greatest, the mean and its interval behind."""
    named = {
        name: figure for name, figure in result.figures().items() if any(name in row.values for row in result.rows)
    }
    count = -(-len(named) // _COLUMNS)
    with _drawing() as plt:
        figure, axes = plt.subplots(count, _COLUMNS, figsize=(10, 1.9 * count), squeeze=False, layout="constrained")
        for axis in axes.flat[len(named) :]:
            axis.set_visible(False)
        for axis, (name, pooled) in zip(axes.flat, named.items(), strict=False):
            values = values_of(result.rows, name)
            values = np.sort(values[~np.isnan(values)])
            if pooled.low is not None and pooled.high is not None:
                axis.axhspan(pooled.low, pooled.high, color=_MEAN, alpha=0.2, linewidth=0)
            axis.axhline(pooled.value, color=_MEAN, linewidth=1)
            axis.plot(np.arange(len(values)), values, ".", color=_POINT, markersize=4)
            axis.set_title(f"{name} {ARROWS[pooled.better]}", fontsize=8)
            axis.set_ylabel(pooled.unit, fontsize=7, color=_INK)
            _plain(axis)
            axis.set_xticks([])
        return _svg(figure)


def plot_parts(result: Result) -> str:
    """Plot the color error of each body part as bars."""
    errors = sorted(result.part_errors.items(), key=lambda item: item[1])
    with _drawing() as plt:
        figure, axis = plt.subplots(figsize=(6, 0.4 + 0.2 * len(errors)), layout="constrained")
        axis.barh([name for name, _ in errors], [error for _, error in errors], color=_POINT, height=0.7)
        axis.set_xlabel("gray levels")
        _plain(axis)
        return _svg(figure)


class _drawing:
    """Matplotlib without a display, in our style, with every figure closed at the end."""

    def __enter__(self) -> Any:
        try:
            import matplotlib
        except ImportError as error:
            raise cannot_import("A plot", "matplotlib", "pip install 'magicanimate[eval]'", error) from error
        matplotlib.use("agg")
        import matplotlib.pyplot as plt

        self._plt = plt
        self._style = plt.rc_context(_STYLE)
        self._style.__enter__()
        return plt

    def __exit__(self, *about: object) -> None:
        self._plt.close("all")
        self._style.__exit__(None, None, None)


def _plain(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(colors=_INK, labelsize=7)


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :]
