"""Write docs/settings.md from the settings models: python scripts/settings_page.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from magicanimate.animation.settings import AnimateSettings, ModelOptions
from magicanimate.animation.shown import kinds, shown
from magicanimate.data.prepare.settings import PrepareSettings
from magicanimate.models.config import ModelConfig
from magicanimate.train.config import TrainSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """# Settings

**Reference.** Every setting with its default, generated from the code by `python scripts/settings_page.py`.
"""
OPTIONS = {
    "`animate`: the video": (
        AnimateSettings,
        "Options of the command line; in Python, CSV lists, and the API the names without dashes and with `_`. "
        "`check` and `motion` have those about reading inputs.",
    ),
    "`animate`: the model": (ModelOptions, "Arguments of `MagicAnimatePipeline.from_pretrained` too."),
    "`train prepare`": (PrepareSettings, "Options of the command line."),
}
FILES = {
    "`train`": (TrainSettings, "Entries of a configuration, and of `--set`."),
    "`model.json`": (ModelConfig, "Entries of a model's description."),
}
Row = tuple[str, str, str]


def page() -> str:
    """The page in Markdown."""
    options = [section(title, text, option_rows(model)) for title, (model, text) in OPTIONS.items()]
    files = [section(title, text, entry_rows(model)) for title, (model, text) in FILES.items()]
    return "\n".join([HEAD, *options, *files])


def section(title: str, text: str, rows: Iterator[Row]) -> str:
    """A heading, a sentence, and a table of name, default, and meaning."""
    lines = ["| setting | default | meaning |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([f"## {title}", "", text, "", *lines, ""])


def option_rows(model: type[BaseModel]) -> Iterator[Row]:
    """Rows of the settings that become options of the command line."""
    for name, about, note in shown(model):
        yield f"`--{name.replace('_', '-')}`", note.default or written(about.default), meaning(about)


def entry_rows(model: type[BaseModel], prefix: str = "") -> Iterator[Row]:
    """Rows of a file's entries; those of nested models are named like `loop.steps`."""
    for name, about in model.model_fields.items():
        (first, *others) = kinds(about)
        if isinstance(first, type) and issubclass(first, BaseModel) and not others and first is not ModelConfig:
            yield from entry_rows(first, f"{prefix}{name}.")
        else:
            default = "required" if about.is_required() else written(about.get_default(call_default_factory=True))
            yield f"`{prefix}{name}`", default, meaning(about)


def meaning(about: FieldInfo) -> str:
    """A setting's description, safe inside a table."""
    return (about.description or "").replace("|", "\\|")


def written(default: Any) -> str:
    """A default in words; empty where there is none."""
    if default is None or default == "" or (isinstance(default, (dict, list, tuple)) and not default):
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
